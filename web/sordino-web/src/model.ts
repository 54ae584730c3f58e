/** The network, run by ONNX Runtime's WebAssembly build on the thread that calls it. */
import * as ort from "onnxruntime-web/wasm";

import { readModelInfo, type ModelInfo } from "./metadata.js";

/** Everything that the network keeps from one frame to the next, by input name. */
export type State = Record<string, ort.Tensor>;

export interface Step {
  /** Complex noise mask, `frames * bins` pairs; the noise is mask * spectrum. */
  mask: Float32Array;
  /** Probability of speech in each frame. */
  speech: Float32Array;
  state: State;
}

const SILENCE = 1e-6; // of full scale, in a bin: less than resamplers leave after a sound
const isHeard = (value: number): boolean => Math.abs(value) > SILENCE;

let started: Promise<void> | undefined;

/** Fetch the runtime, plain or gzipped, once. */
function startRuntime(wasm: string): Promise<void> {
  started ??= (async () => {
    const bytes = await fetchBytes(wasm);
    const gzipped = bytes[0] === 0x1f && bytes[1] === 0x8b;
    ort.env.wasm.wasmBinary = gzipped ? await gunzip(bytes) : (bytes.buffer as ArrayBuffer);
    ort.env.wasm.numThreads = 1; // a frame is too small to share out
    ort.env.wasm.proxy = false; // this is a worker already
    ort.env.logLevel = "error";
  })();
  return started;
}

async function gunzip(bytes: Uint8Array<ArrayBuffer>): Promise<ArrayBuffer> {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

/** Fetch a file, or say in words why not. */
export async function fetchBytes(
  url: string,
  headers: Record<string, string> = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const answer = await fetch(url, { headers });
  if (!answer.ok) throw new Error(`${url} answered ${answer.status}`);
  return new Uint8Array(await answer.arrayBuffer());
}

/** A loaded network of the kind "noise-mask"; it holds no state of a stream. */
export class Model {
  private readonly states: string[];
  private readonly voice: ort.Tensor;

  private constructor(
    readonly info: ModelInfo,
    private readonly session: ort.InferenceSession,
  ) {
    this.states = Object.keys(info.states);
    this.voice = new ort.Tensor(new Float32Array(info.voice_size), [1, info.voice_size]);
  }

  /**
   * @param onnx bytes of the model.
   * @param wasm address of ONNX Runtime's WebAssembly, plain or gzipped.
   */
  static async load(onnx: Uint8Array, wasm: string): Promise<Model> {
    const info = readModelInfo(onnx);
    await startRuntime(wasm);
    const session = await ort.InferenceSession.create(onnx, {
      executionProviders: ["wasm"],
      executionMode: "sequential",
      graphOptimizationLevel: "all",
    });
    return new Model(info, session);
  }

  /** The state before the first frame. */
  initialState(): State {
    return Object.fromEntries(
      this.states.map((name) => {
        const shape = [1, ...this.info.states[name]];
        const size = shape.reduce((a, b) => a * b, 1);
        return [`state.${name}`, new ort.Tensor(new Float32Array(size), shape)];
      }),
    );
  }

  /**
   * Estimate the noise in some frames: `frames * bins` pairs (real, imaginary).
   *
   * The network does not hear silence, as of a muted microphone (less than -120 dBFS in every bin):
   * it has no noise and no speech, and what is remembered of the sound before is still there after.
   */
  async run(spectra: Float32Array, frames: number, state: State): Promise<Step> {
    const size = spectra.length / frames;
    const heard: number[] = [];
    for (let t = 0; t < frames; t++) {
      if (spectra.subarray(t * size, (t + 1) * size).some(isHeard)) heard.push(t);
    }
    if (heard.length === frames) return this.estimate(spectra, frames, state);
    const mask = new Float32Array(spectra.length);
    const speech = new Float32Array(frames);
    if (!heard.length) return { mask, speech, state };
    const joined = new Float32Array(heard.length * size);
    heard.forEach((t, n) => joined.set(spectra.subarray(t * size, (t + 1) * size), n * size));
    const step = await this.estimate(joined, heard.length, state);
    heard.forEach((t, n) => {
      mask.set(step.mask.subarray(n * size, (n + 1) * size), t * size);
      speech[t] = step.speech[n];
    });
    return { mask, speech, state: step.state };
  }

  private async estimate(spectra: Float32Array, frames: number, state: State): Promise<Step> {
    const shape = [1, frames, spectra.length / frames / 2, 2];
    const results = await this.session.run({
      spectrum: new ort.Tensor(spectra, shape),
      voice: this.voice,
      ...state,
    });
    return {
      mask: results.mask.data as Float32Array,
      speech: results.speech.data as Float32Array,
      state: Object.fromEntries(
        this.states.map((name) => [`state.${name}`, results[`next.${name}`] as ort.Tensor]),
      ),
    };
  }
}
