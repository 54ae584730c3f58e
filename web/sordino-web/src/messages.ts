/** Messages between the page's thread and the worker. */

import type { VoiceOptions } from "./voice.js";

/** Where the network runs. */
export type Engine =
  | { kind: "device"; wasm: string | ArrayBuffer; model: string | ArrayBuffer; voice: VoiceOptions }
  | { kind: "server"; url: string; model?: string; token?: string | null; voice: VoiceOptions };

/** How samples travel between the worker and the audio thread. */
export type TransportSource =
  | { memory: { noisy: SharedArrayBuffer; clean: SharedArrayBuffer } }
  | { port: MessagePort };

export type ToWorker =
  | { type: "open"; engine: Engine; rate: number }
  | { type: "live"; transport: TransportSource; strength: number; tap: boolean }
  | { type: "strength"; value: number }
  | { type: "denoise"; samples: Float32Array; rate: number; strength: number; warmUp: number };

/** Figures of live sound, four times a second; levels are those of the last quarter of a second. */
export interface Stats {
  /** Length of the sound since the start, in seconds. */
  seconds: number;
  inputDbfs: number;
  outputDbfs: number;
  /** By how many dB the pauses of the last 10 to 20 s are quieter; null if nothing was heard yet. */
  takenDb: number | null;
  /** Probability, 0..1, that the newest frame has speech in it; null if unknown. */
  speech: number | null;
  /** Probability, 0..1, that an enrolled voice speaks in it; null without one. */
  voice: number | null;
  /** Whether people speak, and no enrolled voice has been heard for some seconds. */
  voiceMissing: boolean;
  /** Inference time / audio time on this device, or the share of the server's processors in use. */
  load: number | null;
  /** Times that clean samples came too late and noisy ones were played instead. */
  underruns: number;
  /** Seconds of noisy sound that the engine left out because it could not keep up. */
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
  | { type: "denoised"; samples: Float32Array }
  | { type: "failed"; message: string };
