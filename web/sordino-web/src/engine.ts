/** Opening an engine: in a worker of this page, or on a Sordino server. */
import { SordinoError } from "./errors.js";
import type { Engine, FromWorker, ToWorker } from "./messages.js";

export interface EngineOptions {
  /** Address or bytes of the ONNX model; the one that came with the package if left out. */
  model?: string | ArrayBuffer;
  /** Let a Sordino server do the work instead of this device. */
  server?: { url: string; model?: string; token?: string | null };
}

function describe({ model, server }: EngineOptions): Engine {
  if (server) {
    const url = new URL(server.url, location.href).href;
    return { ...server, url, kind: "server" };
  }
  // Written out, so that bundlers find the files.
  const wasm = new URL("./ort.wasm.gz", import.meta.url).href;
  if (model === undefined) model = new URL("./default.onnx", import.meta.url).href;
  else if (typeof model === "string") model = new URL(model, location.href).href;
  return { kind: "device", wasm, model };
}

/** A worker with an engine in it. */
export class EngineWorker {
  /** Algorithmic latency in seconds. */
  latency = 0;
  onmessage: (message: FromWorker) => void = () => {};
  private readonly worker: Worker;

  private constructor() {
    this.worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  }

  /** Load the engine for sound of a rate in Hz; throws SordinoError if that fails. */
  static async open(options: EngineOptions, rate: number): Promise<EngineWorker> {
    const engine = new EngineWorker();
    try {
      await engine.opened(describe(options), rate);
    } catch (error) {
      engine.close();
      throw error;
    }
    return engine;
  }

  send(message: ToWorker, transfer: Transferable[] = []): void {
    this.worker.postMessage(message, transfer);
  }

  close(): void {
    this.worker.terminate();
  }

  private opened(engine: Engine, rate: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.worker.onerror = (event) => {
        const message = event.message || "the worker cannot be loaded";
        reject(new SordinoError(message));
        this.onmessage({ type: "failed", message });
      };
      this.worker.onmessage = ({ data }: MessageEvent<FromWorker>) => {
        if (data.type === "opened") {
          this.latency = data.latency;
          resolve();
        } else if (data.type === "failed") reject(new SordinoError(data.message));
        this.onmessage(data);
      };
      this.send({ type: "open", engine, rate });
    });
  }
}
