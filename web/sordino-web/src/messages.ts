/** What the page's thread and the worker say to each other. */

/** Where the network runs. */
export type Engine =
  | { kind: "device"; wasm: string; model: string | ArrayBuffer }
  | { kind: "server"; url: string; model?: string; token?: string | null };

/** Way to the audio thread. */
export type Way =
  | { memory: { noisy: SharedArrayBuffer; clean: SharedArrayBuffer } }
  | { port: MessagePort };

export type ToWorker =
  | { type: "open"; engine: Engine; rate: number }
  | { type: "live"; way: Way; strength: number; tap: boolean }
  | { type: "strength"; value: number }
  | { type: "denoise"; samples: Float32Array; rate: number; strength: number; listen: number };

/** About the last quarter of a second of live sound. */
export interface Stats {
  /** Samples of sound since the start, in seconds. */
  seconds: number;
  inputDbfs: number;
  outputDbfs: number;
  /** By how many dB the sound has become quieter. */
  takenDb: number;
  /** Probability, 0..1, that the newest frame has speech in it; null if unknown. */
  speech: number | null;
  /** Inference time / audio time on this device, or the share of the server's processors in use. */
  load: number | null;
  /** Times that clean samples were not there in time, and noisy ones were heard instead. */
  underruns: number;
  /** Seconds of noisy sound that the engine never saw, because it could not keep up. */
  skipped: number;
  /** From input to output of the node, in seconds. */
  latency: number;
}

export type FromWorker =
  | { type: "opened"; latency: number }
  | { type: "stats"; stats: Stats }
  | { type: "idle" }
  | { type: "sound"; noisy: Float32Array; noise: Float32Array }
  | { type: "progress"; share: number }
  | { type: "denoised"; samples: Float32Array; seconds: number }
  | { type: "failed"; message: string };
