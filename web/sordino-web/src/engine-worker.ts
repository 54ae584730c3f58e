/** The worker that holds an engine: the network on this device, or a stream to a server. */
import { modelSource, startWorker, wasmSource, type AssetOptions } from "./assets.js";
import { explained, messageOf, SordinoError } from "./errors.js";
import type { Engine, FromWorker, ToWorker } from "./messages.js";
import { checkVoice, voiceTexts, type VoiceOptions } from "./voice.js";

export interface EngineOptions extends AssetOptions, VoiceOptions {
  /**
   * Address or bytes of the ONNX model; the one that came with the package if left out. A voice needs
   * one that keeps voices: dist/default-voice.onnx of the package, or a server's
   * /v1/models/default-voice/weights.
   */
  model?: string | URL | ArrayBuffer;
  /** Let a Sordino server do the work instead of this device. */
  server?: { url: string; model?: string; token?: string | null };
}

async function describe(options: EngineOptions): Promise<Engine> {
  const { model, server, wasmUrl, others, voiceFallback } = options;
  checkVoice(options);
  const voice = { voice: voiceTexts(options), others, voiceFallback };
  if (server) {
    return { ...server, url: new URL(server.url, location.href).href, kind: "server", voice };
  }
  return { kind: "device", wasm: await wasmSource(wasmUrl), model: await modelSource(model), voice };
}

export class EngineWorker {
  /** Algorithmic latency in seconds. */
  latency = 0;
  onmessage: (message: FromWorker) => void = () => {};

  private constructor(private readonly worker: Worker) {}

  /** Load the engine for sound of a rate in Hz; throws SordinoError if that fails. */
  static async open(options: EngineOptions, rate: number): Promise<EngineWorker> {
    const loading = describe(options).then(async (engine) => ({
      engine,
      worker: await startWorker(options.workerUrl),
    }));
    const { engine, worker } = await explained("the engine cannot be loaded", loading);
    const opened = new EngineWorker(worker);
    try {
      await opened.load(engine, rate);
    } catch (error) {
      opened.close();
      throw error;
    }
    return opened;
  }

  send(message: ToWorker, transfer: Transferable[] = []): void {
    this.worker.postMessage(message, transfer);
  }

  close(): void {
    this.worker.terminate();
  }

  private load(engine: Engine, rate: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.worker.onerror = (event) => {
        event.preventDefault(); // it is reported as a SordinoError
        const message = event.message || "the worker's script cannot be loaded";
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
      try {
        this.send({ type: "open", engine, rate });
      } catch (error) {
        reject(new SordinoError(`the model cannot be used: ${messageOf(error)}`));
      }
    });
  }
}
