/** The server behind the page: its models, and the token that opens it. */
import type { EngineOptions } from "sordino-web";

import type { Take } from "./sounds.js";
import { wav } from "./wav.js";

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

const authorized = (): Record<string, string> =>
  token ? { Authorization: `Bearer ${token}` } : {};

async function get(path: string): Promise<Response> {
  const headers = authorized();
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
  const headers = authorized();
  const answer = await fetch("v1/voices", { method: "POST", body: recording, headers });
  if (!answer.ok) throw new Error(`Your voice is not enrolled: ${await reason(answer)}.`);
  return ((await answer.json()) as { voice: string }).voice;
}

/** Why a request was refused, in the server's words if it has some. */
async function reason(answer: Response): Promise<string> {
  const said = (await answer.json().catch(() => ({}))) as { message?: string };
  return said.message ?? `the server answered ${answer.status}`;
}

/**
 * Denoise a recording on the server, with its model for recordings, which looks ahead.
 *
 * @param warmUp seconds of its beginning that the network processes once beforehand.
 * @param onprogress called with the share that has come back, 0..1.
 * @returns the channels of the clean recording.
 */
export async function denoiseOnServer(
  take: Take,
  voice: string | null,
  warmUp: number,
  signal: AbortSignal,
  onprogress: (share: number) => void,
): Promise<Float32Array[]> {
  const body = wav(
    take.noisy.map((samples) => samples.all()),
    take.rate,
    "float",
  );
  const headers = { ...authorized(), ...(voice ? { "Sordino-Voice": voice } : {}) };
  const path = `v1/denoise?format=wav&warm_up=${warmUp}`;
  const answer = await fetch(path, { method: "POST", body, headers, signal });
  if (!answer.ok) throw new Error(`The server does not denoise this: ${await reason(answer)}.`);
  const pieces: BlobPart[] = [];
  let size = 0;
  for (const reader = answer.body!.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    pieces.push(value);
    size += value.length;
    onprogress(Math.min(1, size / body.size));
  }
  const bytes = await new Blob(pieces).arrayBuffer();
  const clean = await new OfflineAudioContext(1, 1, take.rate).decodeAudioData(bytes);
  return take.noisy.map((_, channel) => clean.getChannelData(channel));
}

/** The bundled recording to try. */
export async function example(): Promise<ArrayBuffer> {
  return (await get("examples/office_48k.flac")).arrayBuffer();
}
