/** The network, run by ONNX Runtime's WebAssembly build on the thread that calls it. */
import * as ort from "onnxruntime-web/wasm";

import { messageOf, SordinoError } from "./errors.js";
import { readEnrolment, readModelInfo, type ModelInfo } from "./metadata.js";

/** Everything that the network remembers from one frame to the next, by input name. */
export type State = Record<string, ort.Tensor>;

export interface Step {
  /** Complex noise mask, `frames * bins` pairs; the noise is mask * spectrum. */
  mask: Float32Array;
  /** Probability of speech in each frame. */
  speech: Float32Array;
  /** Logit that the enrolled voice speaks in each frame; of models that keep voices alone. */
  target?: Float32Array;
  state: State;
}

const SILENT_TARGET = -20; // logit of the enrolled voice in silence
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

const repeated = (x: Float32Array, rows: number): Float32Array =>
  joined(Array.from({ length: rows }, () => x));

function joined(parts: Float32Array[]): Float32Array {
  const whole = new Float32Array(parts.length * parts[0].length);
  parts.forEach((part, n) => whole.set(part, n * part.length));
  return whole;
}

/** A loaded network of the kind "noise-mask"; it holds no state of a stream. */
export class Model {
  private readonly states: string[];
  private readonly anybody: Float32Array;

  private readonly conditions = new WeakMap<Float32Array, Float32Array>(); // by embedding

  private constructor(
    readonly info: ModelInfo,
    private readonly session: ort.InferenceSession,
    private readonly enrolment?: ort.InferenceSession,
  ) {
    this.states = Object.keys(info.states);
    this.anybody = new Float32Array(info.voice_size);
  }

  /**
   * @param onnx bytes of the model.
   * @param wasm address or bytes of ONNX Runtime's WebAssembly, plain or gzipped.
   */
  static async load(onnx: Uint8Array, wasm: string | ArrayBuffer): Promise<Model> {
    const info = readModelInfo(onnx);
    await startRuntime(wasm);
    const options: ort.InferenceSession.SessionOptions = {
      executionProviders: ["wasm"],
      executionMode: "sequential",
      graphOptimizationLevel: "all",
    };
    const session = await ort.InferenceSession.create(onnx, options);
    const enrolment = readEnrolment(onnx);
    return new Model(
      info,
      session,
      enrolment && (await ort.InferenceSession.create(enrolment, options)),
    );
  }

  /** What the network takes for a voice: its embedding, or of format 4 what is made of it once. */
  private async condition(voice: Float32Array): Promise<Float32Array> {
    if (!this.enrolment || voice === this.anybody) return voice;
    const known = this.conditions.get(voice);
    if (known) return known;
    const embedding = new ort.Tensor(voice, [1, voice.length]);
    const condition = (await this.enrolment.run({ embedding })).voice.data as Float32Array;
    this.conditions.set(voice, condition);
    return condition;
  }

  /** Whether it can keep enrolled voices alone. */
  get keepsVoices(): boolean {
    return this.session.outputNames.includes("target");
  }

  /** A state whose rows go on from those of another one. */
  withRows(state: State, rows: number[]): State {
    return Object.fromEntries(
      Object.entries(state).map(([name, tensor]) => {
        const [before, ...shape] = tensor.dims;
        const size = tensor.size / before;
        const data = new Float32Array(rows.length * size);
        const values = tensor.data as Float32Array;
        rows.forEach((row, n) => data.set(values.subarray(row * size, (row + 1) * size), n * size));
        return [name, new ort.Tensor(data, [rows.length, ...shape])];
      }),
    );
  }

  /** The state before the first frame, for so many voices. */
  initialState(rows = 1): State {
    return Object.fromEntries(
      this.states.map((name) => {
        const shape = [rows, ...this.info.states[name]];
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
   *
   * @param voices embeddings of 192 numbers; mask, speech and target hold a row for each. None is any voice.
   */
  async run(
    spectra: Float32Array,
    frames: number,
    state: State,
    voices: Float32Array[] = [this.anybody],
  ): Promise<Step> {
    const rows = voices.length;
    const size = spectra.length / frames;
    const heard: number[] = [];
    for (let t = 0; t < frames; t++) {
      if (spectra.subarray(t * size, (t + 1) * size).some(isHeard)) heard.push(t);
    }
    if (heard.length === frames) return this.estimate(spectra, frames, state, voices);
    const mask = new Float32Array(rows * spectra.length);
    const speech = new Float32Array(rows * frames);
    const target = new Float32Array(rows * frames).fill(SILENT_TARGET);
    if (!heard.length) return { mask, speech, target, state };
    const joined = new Float32Array(heard.length * size);
    heard.forEach((t, n) => joined.set(spectra.subarray(t * size, (t + 1) * size), n * size));
    const step = await this.estimate(joined, heard.length, state, voices);
    for (let row = 0; row < rows; row++) {
      heard.forEach((t, n) => {
        const [from, to] = [row * heard.length + n, row * frames + t];
        mask.set(step.mask.subarray(from * size, (from + 1) * size), to * size);
        speech[to] = step.speech[from];
        if (step.target) target[to] = step.target[from];
      });
    }
    return { mask, speech, target, state: step.state };
  }

  private async estimate(
    spectra: Float32Array,
    frames: number,
    state: State,
    voices: Float32Array[],
  ): Promise<Step> {
    const rows = voices.length;
    const conditions: Float32Array[] = [];
    for (const voice of voices) conditions.push(await this.condition(voice));
    const shape = [rows, frames, spectra.length / frames / 2, 2];
    const results = await this.session.run({
      spectrum: new ort.Tensor(rows === 1 ? spectra : repeated(spectra, rows), shape),
      voice: new ort.Tensor(joined(conditions), [rows, this.info.voice_size]),
      ...state,
    });
    return {
      mask: results.mask.data as Float32Array,
      speech: results.speech.data as Float32Array,
      target: results.target?.data as Float32Array | undefined,
      state: Object.fromEntries(
        this.states.map((name) => [`state.${name}`, results[`next.${name}`] as ort.Tensor]),
      ),
    };
  }
}
