/** Sound on the page: a recording and the noise in it, channel by channel. */

/** Samples that grow at the end without being copied each time. */
export class Samples {
  private memory: Float32Array;
  length = 0;

  constructor(samples: Float32Array = new Float32Array(0)) {
    this.memory = samples;
    this.length = samples.length;
  }

  append(block: Float32Array): void {
    if (this.length + block.length > this.memory.length) {
      const larger = new Float32Array(Math.max(2 * this.memory.length, this.length + block.length));
      larger.set(this.all());
      this.memory = larger;
    }
    this.memory.set(block, this.length);
    this.length += block.length;
  }

  /** A view of what is there. */
  all(): Float32Array {
    return this.memory.subarray(0, this.length);
  }
}

/** A recording and, once an engine has heard it, the noise in it: clean = noisy - strength * noise. */
export interface Take {
  name: string;
  /** Hz. */
  rate: number;
  noisy: Samples[];
  /** As many channels; empty until it is known. */
  noise: Samples[];
}

/** What is listened to. */
export type Mode = "noisy" | "clean" | "noise";

/** Shares of the recording and of its noise that make up what is listened to. */
export function gains(mode: Mode, strength: number): { noisy: number; noise: number } {
  if (mode === "noisy") return { noisy: 1, noise: 0 };
  if (mode === "clean") return { noisy: 1, noise: -strength };
  return { noisy: 0, noise: strength };
}

export const seconds = (take: Take): number => take.noisy[0].length / take.rate;

/** Mix one channel, samples `from` to `to`, zeros where there are none. */
export function mixed(
  take: Take,
  channel: number,
  share: { noisy: number; noise: number },
  from = 0,
  to = take.noisy[0].length,
): Float32Array {
  const noisy = take.noisy[channel].all();
  const noise = take.noise[channel]?.all();
  const out = new Float32Array(to - from);
  const end = Math.min(to, noisy.length);
  for (let n = Math.max(0, from); n < end; n++) {
    out[n - from] = share.noisy * noisy[n] + (noise ? share.noise * noise[n] : 0);
  }
  return out;
}

/** Level in dBFS of some samples; -100 is silence. */
export function decibels(samples: Float32Array): number {
  let power = 0;
  for (const sample of samples) power += sample * sample;
  return Math.max(-100, 10 * Math.log10(power / Math.max(1, samples.length) + 1e-12));
}

const FRAME_SECONDS = 0.05;
const QUIETEST = 0.25;

/** By how many dB the first channel's pauses, its quietest quarter, have become quieter. */
export function takenDb(take: Take, strength: number): number {
  const size = Math.round(FRAME_SECONDS * take.rate);
  const count = Math.max(1, Math.floor(take.noisy[0].length / size));
  const levels = (mode: Mode): number[] =>
    Array.from({ length: count }, (_, n) =>
      decibels(mixed(take, 0, gains(mode, strength), n * size, (n + 1) * size)),
    );
  const before = levels("noisy");
  const after = levels("clean");
  const sorted = before.map((_, n) => n).sort((a, b) => before[a] - before[b]);
  const pauses = sorted.slice(0, Math.ceil(QUIETEST * count));
  return pauses.reduce((sum, n) => sum + before[n] - after[n], 0) / pauses.length;
}
