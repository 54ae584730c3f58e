/** Sound on the page: a recording and the noise in it, channel by channel. */
import { NoiseMeter, powerDb, SEGMENT_SECONDS } from "sordino-web";

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

  /** A view of the samples. */
  all(): Float32Array {
    return this.memory.subarray(0, this.length);
  }
}

/** A recording and its estimated noise: clean = noisy - strength * noise. */
export interface Take {
  name: string;
  /** Hz. */
  rate: number;
  noisy: Samples[];
  /** As many channels; empty until it is estimated. */
  noise: Samples[];
  state: "waiting" | "busy" | "ready" | "failed";
  /** Share of the work that is done, 0..1. */
  share: number;
  /** Seconds that it took to denoise; undefined for live sound. */
  took?: number;
  /** Why it failed. */
  error?: string;
  segments?: Segment[];
}

export function newTake(name: string, rate: number, noisy: Samples[]): Take {
  return { name, rate, noisy, noise: [], state: "waiting", share: 0 };
}

export type Mode = "noisy" | "clean" | "noise";

/** Gains of the recording and of its noise that make up a mode. */
export function gains(mode: Mode, strength: number): { noisy: number; noise: number } {
  if (mode === "noisy") return { noisy: 1, noise: 0 };
  if (mode === "clean") return { noisy: 1, noise: -strength };
  return { noisy: 0, noise: strength };
}

export const seconds = (take: Take): number => take.noisy[0].length / take.rate;

/** Mix one channel, samples `from` to `to`, zeros beyond its ends. */
export function mixed(
  take: Take,
  channel: number,
  gain: { noisy: number; noise: number },
  from = 0,
  to = take.noisy[0].length,
): Float32Array {
  const noisy = take.noisy[channel].all();
  const noise = take.noise[channel]?.all();
  const out = new Float32Array(to - from);
  const end = Math.min(to, noisy.length);
  for (let n = Math.max(0, from); n < end; n++) {
    out[n - from] = gain.noisy * noisy[n] + (noise ? gain.noise * noise[n] : 0);
  }
  return out;
}

/** Level in dBFS of some samples; -100 is silence. */
export function decibels(samples: Float32Array): number {
  let power = 0;
  for (const sample of samples) power += sample * sample;
  return powerDb(power / Math.max(1, samples.length));
}

/** Mean powers in 100 ms of all channels; with them any strength is measured at once. */
interface Segment {
  noisy: number;
  noise: number;
  /** Mean of noisy * noise. */
  cross: number;
}

/** By how many dB the pauses become quieter, as the command line says; null if all is silence. */
export function removedDb(take: Take, strength: number): number | null {
  take.segments ??= measure(take);
  const meter = new NoiseMeter(take.rate);
  for (const { noisy, noise, cross } of take.segments) {
    meter.addSegment(noisy, Math.max(0, noisy - 2 * strength * cross + strength ** 2 * noise));
  }
  return meter.removedDb;
}

/** The words of the command line: never a bare "0.0 dB", which reads as if something failed. */
export function noiseTaken(decibels: number): string {
  if (decibels >= 99) return "all of it"; // the meter's end
  return decibels >= 0.05 ? `${decibels.toFixed(1)} dB` : "none";
}

function measure(take: Take): Segment[] {
  const size = Math.round(SEGMENT_SECONDS * take.rate);
  const count = size * take.noisy.length;
  return Array.from({ length: Math.floor(take.noisy[0].length / size) }, (_, k) => {
    const segment = { noisy: 0, noise: 0, cross: 0 };
    take.noisy.forEach((samples, channel) => {
      const noisy = samples.all();
      const noise = take.noise[channel].all();
      for (let n = k * size; n < (k + 1) * size; n++) {
        segment.noisy += noisy[n] ** 2;
        segment.noise += noise[n] ** 2;
        segment.cross += noisy[n] * noise[n];
      }
    });
    return {
      noisy: segment.noisy / count,
      noise: segment.noise / count,
      cross: segment.cross / count,
    };
  });
}
