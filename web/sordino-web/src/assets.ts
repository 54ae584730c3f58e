/**
 * Addresses of the files that the package loads: worker, audio worklet, runtime and model.
 *
 * They lie beside index.js. webpack, Parcel and Vite's build copy them when they see
 * `new URL("./worker.js", import.meta.url)`. esbuild, Rollup and Vite's development server leave
 * that expression alone and the files behind; then the copies in embedded.js are used.
 */
import { moduleUrl } from "./module-url.js";

export interface AssetOptions {
  /** Address of worker.js; it may be on another origin that allows it (CORS). */
  workerUrl?: string | URL;
  /** Address of worklet.js. */
  workletUrl?: string | URL;
  /** Address of ort.wasm.gz, or of the same file unpacked. */
  wasmUrl?: string | URL;
}

const here = import.meta.url;

/** The asset beside this module; undefined if a bundler has left it behind. */
function beside(name: string, locate: () => URL): string | undefined {
  if (here !== moduleUrl) return locate().href; // no bundler has joined the modules
  try {
    const { href } = locate();
    return href === new URL(`./${name}`, here).href ? undefined : href;
  } catch {
    return undefined; // scripts that are no modules have no address
  }
}

const embedded = () => import("./embedded.js");
const absolute = (url: string | URL): string => new URL(url, document.baseURI).href;
const script = (source: string): string =>
  URL.createObjectURL(new Blob([source], { type: "text/javascript" }));

async function download(url: string): Promise<string> {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url} answered ${answer.status}`);
  return answer.text();
}

function decoded(base64: string): ArrayBuffer {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0)).buffer;
}

/** Start the worker, wherever its script lies. */
export async function startWorker(given?: string | URL): Promise<Worker> {
  const url = given
    ? absolute(given)
    : beside("worker.js", () => new URL("./worker.js", import.meta.url));
  if (url && new URL(url).origin === location.origin) return new Worker(url, { type: "module" });
  // Browsers start workers of their own origin only, so the script becomes a local blob.
  const blob = script(url ? await download(url) : (await embedded()).worker);
  try {
    const worker = new Worker(blob, { type: "module" });
    worker.addEventListener("message", () => URL.revokeObjectURL(blob), { once: true });
    return worker;
  } catch (error) {
    URL.revokeObjectURL(blob);
    throw error;
  }
}

/** The address of the audio worklet. */
export async function workletUrl(given?: string | URL): Promise<string> {
  if (given) return absolute(given);
  const url = beside("worklet.js", () => new URL("./worklet.js", import.meta.url));
  return url ?? script((await embedded()).worklet);
}

/** ONNX Runtime's WebAssembly: its address or its bytes. */
export async function wasmSource(given?: string | URL): Promise<string | ArrayBuffer> {
  if (given) return absolute(given);
  const url = beside("ort.wasm.gz", () => new URL("./ort.wasm.gz", import.meta.url));
  return url ?? decoded((await embedded()).wasm);
}

/** The model: its address or its bytes. */
export async function modelSource(
  given?: string | URL | ArrayBuffer,
): Promise<string | ArrayBuffer> {
  if (given instanceof ArrayBuffer) return given;
  if (given) return absolute(given);
  const url = beside("default.onnx", () => new URL("./default.onnx", import.meta.url));
  return url ?? decoded((await embedded()).model);
}
