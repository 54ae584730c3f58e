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

const weights = new Map<string, Promise<ArrayBuffer>>();

async function model(name: string): Promise<ArrayBuffer> {
  const loading =
    weights.get(name) ?? get(`v1/models/${name}/weights`).then((answer) => answer.arrayBuffer());
  weights.set(name, loading);
  try {
    return await loading;
  } catch (error) {
    weights.delete(name);
    throw error;
  }
}

/**
 * What sordino-web needs to know to run the chosen engine.
 *
 * @param voice profile of the voice to keep alone; null keeps everybody.
 */
export async function engineOptions(
  engine: EngineName,
  voice: string | null,
): Promise<EngineOptions> {
  if (engine === "server") return { server: { url: "v1/stream", token }, voice };
  return { model: await model(voice ? "default-voice" : "default"), voice };
}

/** The profile of the voice in a recording; the server keeps neither. */
export async function enrol(recording: ArrayBuffer): Promise<string> {
  const headers: Record<string, string> = token ? { Authorization: `Bearer ${token}` } : {};
  const answer = await fetch("v1/voices", { method: "POST", body: recording, headers });
  const said = (await answer.json()) as { voice: string; message?: string };
  if (!answer.ok) throw new Error(`Your voice is not enrolled: ${said.message ?? answer.status}.`);
  return said.voice;
}

/** The bundled recording to try. */
export async function example(): Promise<ArrayBuffer> {
  return (await get("examples/office_48k.flac")).arrayBuffer();
}
