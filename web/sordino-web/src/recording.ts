/** A whole recording in the worker: at its own rate, or through the next native one and back. */
import { resample } from "./resample.js";
import { hop, NATIVE_RATES, nativeRate } from "./spectrum.js";
import type { Suppressor } from "./suppressor.js";

const BLOCK_SECONDS = 0.5;
const PAUSE = 6; // hops of silence after what was heard first, more than a window

/** The rate in Hz at which the engine is to be opened for a recording. */
export const engineRate = (rate: number, remote: boolean): number =>
  remote ? Math.min(rate, 48000) : nativeRate(rate);

/**
 * Return the recording without its noise, sample by sample in place.
 *
 * @param inner rate at which the suppressor works.
 * @param listen seconds of its beginning that are heard first.
 * @param onprogress told the share that is done, 0..1.
 */
export async function denoiseRecording(
  suppressor: Suppressor,
  samples: Float32Array,
  rate: number,
  inner: number,
  strength: number,
  listen: number,
  onprogress: (share: number) => void,
): Promise<Float32Array> {
  const converted = (x: Float32Array) => (inner === rate ? x : resample(x, rate, inner));
  const sound = converted(samples);
  const clean = new Float32Array(sound.length);
  const first = samples.subarray(0, Math.round(listen * rate));
  let unused = first.length && (Math.ceil((100 * first.length) / rate) + PAUSE) * hop(inner);
  const lead = new Float32Array(Math.round((unused * rate) / inner));
  lead.set(first);
  const before = new Float32Array(unused);
  before.set(converted(lead).subarray(0, unused));
  let done = 0;
  suppressor.onnoise = (noise) => {
    const used = noise.subarray(unused);
    unused -= noise.length - used.length;
    for (let n = 0; n < used.length; n++, done++) clean[done] = sound[done] - strength * used[n];
    onprogress(done / sound.length);
  };
  const step = BLOCK_SECONDS * inner;
  for (const part of [before, sound]) {
    for (let at = 0; at < part.length; at += step) {
      await suppressor.feed(part.subarray(at, at + step));
    }
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
