/** The network, run by ONNX Runtime's WebAssembly build on the thread that calls it. */
import * as ort from "onnxruntime-web/wasm";

import { messageOf, SordinoError } from "./errors.js";
import { readModelInfo, type ModelInfo } from "./metadata.js";

/** Everything that the network remembers from one frame to the next, by input name. */
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

async function startRuntime(wasm: string | ArrayBuffer): Promise<void> {
  ort.env.wasm.wasmBinary = (await fetchBytes(wasm)).buffer;
  ort.env.wasm.numThreads = 1; // a frame is too small to share out
  ort.env.wasm.proxy = false; // this is a worker already
  ort.env.logLevel = "error";
}

/** Fetch a file, unless these are its bytes, and unpack it if it is gzipped. */
export async function fetchBytes(
  source: string | ArrayBuffer,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(typeof source === "string" ? await download(source) : source);
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
  const unpacked = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(unpacked).arrayBuffer());
}

async function download(url: string): Promise<ArrayBuffer> {
  const answer = await fetch(url).catch((error: unknown) => {
    throw new SordinoError(`${url} cannot be fetched: ${messageOf(error)}`);
  });
  if (!answer.ok) throw new SordinoError(`${url} answered ${answer.status}`);
  return answer.arrayBuffer();
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
   * @param wasm address or bytes of ONNX Runtime's WebAssembly, plain or gzipped.
   */
  static async load(onnx: Uint8Array, wasm: string | ArrayBuffer): Promise<Model> {
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
   * Silent frames, as of a muted microphone (less than -120 dBFS in every bin), do not reach the
   * network: they have no noise and no speech, and the state stays as it was before them.
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
