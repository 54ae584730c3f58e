/** A whole recording in the worker: noise is estimated at the engine's rate and subtracted. */
import type { NoiseEstimator } from "./noise-estimator.js";
import { resample } from "./resample.js";
import { hop, nativeRate } from "./stft.js";

const BLOCK_SECONDS = 0.5;
const PAUSE_HOPS = 6; // of silence between the warm-up and the recording, more than a window

/** The rate in Hz at which the engine is opened for a recording. */
export const engineRate = (rate: number, remote: boolean): number =>
  remote ? Math.min(rate, 48000) : nativeRate(rate);

export interface RecordingOptions {
  /** Sample rate of the recording in Hz. */
  rate: number;
  /** Rate at which the estimator works. */
  engineRate: number;
  strength: number;
  /** Seconds of its beginning that are processed once beforehand. */
  warmUp: number;
  /** Called with the share that is done, 0..1. */
  onprogress: (share: number) => void;
}

/** Return `samples - strength * noise`; at strength 0 these are the samples, at every rate. */
export async function denoiseRecording(
  estimator: NoiseEstimator,
  samples: Float32Array,
  { rate, engineRate: inner, strength, warmUp, onprogress }: RecordingOptions,
): Promise<Float32Array> {
  const converted = (x: Float32Array) => (inner === rate ? x : resample(x, rate, inner));
  const sound = converted(samples);
  const noise = new Float32Array(sound.length);
  const beginning = samples.subarray(0, Math.round(warmUp * rate));
  let unused =
    beginning.length && (Math.ceil((100 * beginning.length) / rate) + PAUSE_HOPS) * hop(inner);
  const padded = new Float32Array(Math.round((unused * rate) / inner));
  padded.set(beginning);
  const before = new Float32Array(unused);
  before.set(converted(padded).subarray(0, unused));
  let done = 0;
  estimator.onnoise = (block) => {
    const used = block.subarray(unused);
    unused -= block.length - used.length;
    noise.set(used, done);
    done += used.length;
    onprogress(done / sound.length);
  };
  const step = BLOCK_SECONDS * inner;
  for (const part of [before, sound]) {
    for (let at = 0; at < part.length; at += step) {
      await estimator.feed(part.subarray(at, at + step));
    }
    if (part === before) estimator.restartWatchdog?.(); // what it counted there comes again
  }
  if (sound.length) await estimator.flush();
  const removed = inner === rate ? noise : resample(noise, inner, rate);
  return samples.map((sample, n) => sample - strength * (removed[n] ?? 0));
}
