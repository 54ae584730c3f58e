/** Levels in dB, and how much noise was removed; the same definitions as `sordino.levels`. */

const SILENCE_DB = -100; // re full scale; digital silence has no noise to remove
export const SEGMENT_SECONDS = 0.1;
const PAUSE_SHARE = 0.1; // the quietest segments, which count as pauses
const MAX_SEGMENT_DB = 30;
const MAX_REMOVED_DB = 99; // nothing is left
const WINDOW_SECONDS = 10;

/** Level in dB re full scale of a mean power; -100 is silence. */
export function powerDb(power: number): number {
  return Math.max(SILENCE_DB, 10 * Math.log10(power + 1e-30));
}

/**
 * Compares the level of the pauses before and after, in constant memory.
 *
 * The pauses are the quietest tenth of the 100 ms segments of the noisy sound.
 */
export class NoiseMeter {
  private readonly segment: number;
  private filled = 0; // samples of the current segment
  private noisyPower = 0;
  private cleanPower = 0;
  // For each level in dB: number of segments, power before, power after.
  private readonly sums = Array.from({ length: MAX_SEGMENT_DB - SILENCE_DB }, () => [0, 0, 0]);

  /** @param rate sample rate in Hz. */
  constructor(rate: number) {
    this.segment = Math.round(SEGMENT_SECONDS * rate);
  }

  /** Take a block of noisy and of clean sound: as many channels and samples of each. */
  feed(noisy: Float32Array[], clean: Float32Array[]): void {
    for (let n = 0; n < noisy[0].length; n++) {
      for (let channel = 0; channel < noisy.length; channel++) {
        this.noisyPower += noisy[channel][n] ** 2;
        this.cleanPower += clean[channel][n] ** 2;
      }
      if (++this.filled < this.segment) continue;
      const samples = this.segment * noisy.length;
      this.addSegment(this.noisyPower / samples, this.cleanPower / samples);
      this.filled = this.noisyPower = this.cleanPower = 0;
    }
  }

  /** By how many dB the pauses are quieter; null if nothing was heard. */
  get removedDb(): number | null {
    const total = this.sums.reduce((sum, [count]) => sum + count, 0);
    if (!total) return null;
    let segments = 0;
    let before = 0;
    let after = 0;
    for (const [count, noisy, clean] of this.sums) {
      segments += count;
      before += noisy;
      after += clean;
      if (segments >= PAUSE_SHARE * total) break;
    }
    if (after <= before * 10 ** (-MAX_REMOVED_DB / 10)) return MAX_REMOVED_DB;
    return 10 * Math.log10(before / after);
  }

  /** Take the mean power of 100 ms of noisy and of clean sound, over all channels. */
  addSegment(before: number, after: number): void {
    const level = Math.floor(10 * Math.log10(Math.max(before, 1e-30)));
    if (level < SILENCE_DB) return;
    const sums = this.sums[Math.min(level, MAX_SEGMENT_DB - 1) - SILENCE_DB];
    sums[0]++;
    sums[1] += before;
    sums[2] += after;
  }
}

/** The noise meter of live sound: it measures the last 10 to 20 s, as `sordino live` does. */
export class LiveNoiseMeter {
  private meters: [NoiseMeter, NoiseMeter];
  private seconds = 0; // in the younger meter

  constructor(private readonly rate: number) {
    this.meters = [new NoiseMeter(rate), new NoiseMeter(rate)];
  }

  feed(noisy: Float32Array, clean: Float32Array): void {
    for (const meter of this.meters) meter.feed([noisy], [clean]);
    this.seconds += noisy.length / this.rate;
    if (this.seconds < WINDOW_SECONDS) return;
    this.seconds = 0;
    this.meters = [this.meters[1], new NoiseMeter(this.rate)];
  }

  get removedDb(): number | null {
    return this.meters[0].removedDb;
  }
}
