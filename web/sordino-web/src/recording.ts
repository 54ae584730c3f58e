/** A whole recording in the worker: at its own rate, or through the next native one and back. */
import { resample } from "./resample.js";
import { NATIVE_RATES, nativeRate } from "./spectrum.js";
import type { Suppressor } from "./suppressor.js";

const BLOCK_SECONDS = 0.5;

/** The rate in Hz at which the engine is to be opened for a recording. */
export const engineRate = (rate: number, remote: boolean): number =>
  remote ? Math.min(rate, 48000) : nativeRate(rate);

/**
 * Return the recording without its noise, sample by sample in place.
 *
 * @param inner rate at which the suppressor works.
 * @param onprogress told the share that is done, 0..1.
 */
export async function denoiseRecording(
  suppressor: Suppressor,
  samples: Float32Array,
  rate: number,
  inner: number,
  strength: number,
  onprogress: (share: number) => void,
): Promise<Float32Array> {
  const sound = inner === rate ? samples : resample(samples, rate, inner);
  const clean = new Float32Array(sound.length);
  let done = 0;
  suppressor.onnoise = (noise) => {
    for (let n = 0; n < noise.length; n++, done++) clean[done] = sound[done] - strength * noise[n];
    onprogress(done / sound.length);
  };
  const step = BLOCK_SECONDS * inner;
  for (let at = 0; at < sound.length; at += step) {
    await suppressor.feed(sound.subarray(at, at + step));
  }
  if (sound.length) await suppressor.flush();
  if (inner === rate) return clean;
  const out = new Float32Array(samples.length);
  out.set(resample(clean, inner, rate).subarray(0, out.length));
  return out;
}

/** Refuse what is no sound. */
export function checkRecording(samples: Float32Array, rate: number): string | null {
  if (!Number.isInteger(rate) || rate < NATIVE_RATES[0] || rate > 192000) {
    return `the sample rate is ${rate}: expected a whole number, 8000 to 192000`;
  }
  if (!samples.every(Number.isFinite)) return "the sound holds NaN or Inf: repair it first";
  return null;
}
