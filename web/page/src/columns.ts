/** Columns of a spectrogram: sound -> levels on a logarithmic scale of frequency. */
import { RealFft } from "../../sordino-web/src/fft.js";

export const ROWS = 192;
export const LOWEST_HZ = 60;
const HIGHEST_HZ = 20000;
const RANGE_DB = 72;

/** The highest frequency of the picture. */
export const highestHz = (rate: number): number => Math.min(HIGHEST_HZ, rate / 2);

/** Place of a frequency in the picture, 0 (bottom) to 1 (top). */
export function place(hz: number, rate: number): number {
  return Math.log(hz / LOWEST_HZ) / Math.log(highestHz(rate) / LOWEST_HZ);
}

/** Turns windows of about 43 ms into columns of `ROWS` bytes, the highest frequency first. */
export class Columns {
  /** Samples of a window. */
  readonly size: number;
  /** Level in dB that has the brightest colour. */
  top = -22;
  private readonly fft: RealFft;
  private readonly window: Float32Array;
  private readonly frame: Float32Array;
  private readonly spectrum: Float32Array;
  private readonly power: Float32Array;
  private readonly edges: Float64Array; // of the rows, in bins

  constructor(readonly rate: number) {
    this.size = rate <= 12000 ? 512 : rate <= 24000 ? 1024 : rate <= 48000 ? 2048 : 4096;
    this.fft = new RealFft(this.size);
    const hann = Float32Array.from({ length: this.size }, (_, n) =>
      Math.sin((Math.PI * (n + 0.5)) / this.size) ** 2,
    );
    const scale = 2 / hann.reduce((a, b) => a + b, 0);
    this.window = hann.map((value) => value * scale);
    this.frame = new Float32Array(this.size);
    this.spectrum = new Float32Array(2 * this.fft.bins);
    this.power = new Float32Array(this.fft.bins);
    const octaves = Math.log(highestHz(rate) / LOWEST_HZ);
    this.edges = Float64Array.from({ length: ROWS + 1 }, (_, row) => {
      const hz = LOWEST_HZ * Math.exp(octaves * (1 - row / ROWS));
      return Math.min((hz * this.size) / rate, this.fft.bins - 1);
    });
  }

  /** Write one column, the maximum over windows of `size` samples, to `levels` from `at`. */
  write(windows: Float32Array[], levels: Uint8Array, at: number): void {
    const { frame, window, spectrum, power, edges } = this;
    power.fill(0);
    for (const samples of windows) {
      for (let n = 0; n < this.size; n++) frame[n] = samples[n] * window[n];
      this.fft.forward(frame, spectrum);
      for (let k = 0; k < power.length; k++) {
        power[k] = Math.max(power[k], spectrum[2 * k] ** 2 + spectrum[2 * k + 1] ** 2);
      }
    }
    for (let row = 0; row < ROWS; row++) {
      const decibels = 10 * Math.log10(this.between(edges[row + 1], edges[row]) + 1e-14);
      const level = ((decibels - this.top) / RANGE_DB + 1) * 255;
      levels[at + row] = Math.max(0, Math.min(255, level));
    }
  }

  /** The greatest power between two places on the axis of bins, in bins and between them. */
  private between(low: number, high: number): number {
    const { power } = this;
    const first = Math.floor(high);
    let greatest = power[first] + (high - first) * ((power[first + 1] ?? 0) - power[first]);
    for (let k = Math.ceil(low); k < high; k++) greatest = Math.max(greatest, power[k]);
    return greatest;
  }
}
