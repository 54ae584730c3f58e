/** The server behind the page: its models, and the token that opens it. */
import type { EngineOptions } from "sordino-web";

export type EngineName = "device" | "server";

/** The server's token, from the address (`#token=...`); it is kept for this tab only. */
export const token = ((): string | null => {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem("sordino-token", given);
    history.replaceState(null, "", location.pathname + location.search);
  }
  return sessionStorage.getItem("sordino-token");
})();

async function get(path: string): Promise<Response> {
  const headers: Record<string, string> = token ? { Authorization: `Bearer ${token}` } : {};
  const answer = await fetch(path, { headers });
  if (answer.status === 401) {
    throw new Error("The server wants its token: open the address that it printed at its start.");
  }
  if (!answer.ok) throw new Error(`The server answered ${answer.status}.`);
  return answer;
}

let weights: Promise<ArrayBuffer> | undefined;

/** What sordino-web needs to know to run the chosen engine. */
export async function engineOptions(engine: EngineName): Promise<EngineOptions> {
  if (engine === "server") return { server: { url: "v1/stream", token } };
  weights ??= get("v1/models/default/weights").then((answer) => answer.arrayBuffer());
  try {
    return { model: await weights };
  } catch (error) {
    weights = undefined;
    throw error;
  }
}

/** The bundled recording to try. */
export async function example(): Promise<ArrayBuffer> {
  return (await get("examples/office_48k.flac")).arrayBuffer();
}
