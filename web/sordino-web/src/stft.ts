/**
 * Short-time Fourier transform: frames of sound <-> spectra; the same mathematics as `sordino.stft` in Python.
 *
 * Analysis looks at the last 32 ms every 10 ms, synthesis overlap-adds the last 20 ms.
 */
import { RealFft } from "./fft.js";

/** Sample rates in Hz that the network works at. */
export const NATIVE_RATES: readonly number[] = [8000, 16000, 24000, 48000];

/** The rate in Hz at which sound sampled at `rate` is processed: the lowest that loses nothing. */
export function nativeRate(rate: number): number {
  return NATIVE_RATES.find((native) => native >= rate) ?? 48000;
}

/** Samples between two frames (10 ms). */
export const hop = (rate: number): number => rate / 100;

/** Samples that one frame sees (32 ms). */
export const windowLength = (rate: number): number => (rate * 32) / 1000;

/** Frequency bins of a frame. */
export const bins = (rate: number): number => windowLength(rate) / 2 + 1;

function prototype(rate: number): Float64Array {
  const fall = hop(rate);
  const rise = windowLength(rate) - fall;
  return Float64Array.from({ length: rise + fall }, (_, n) =>
    n < rise
      ? Math.sin((Math.PI * (n + 0.5)) / (2 * rise))
      : Math.cos((Math.PI * (n - rise + 0.5)) / (2 * fall)),
  );
}

const sum = (values: Float64Array): number => values.reduce((a, b) => a + b, 0);

/** The window before the FFT: a slow sine rise, a fast cosine fall; it sums to 1. */
export function analysisWindow(rate: number): Float32Array {
  const window = prototype(rate);
  const total = sum(window);
  return Float32Array.from(window, (value) => value / total);
}

/** The window after the inverse FFT, for the last 20 ms; its product with the other overlap-adds to 1. */
export function synthesisWindow(rate: number): Float32Array {
  const window = prototype(rate);
  const total = sum(window);
  const tail = 2 * hop(rate);
  return Float32Array.from({ length: tail }, (_, n) => {
    const target = Math.sin((Math.PI * (n + 0.5)) / tail) ** 2;
    return (target * total) / window[window.length - tail + n];
  });
}

/** Sound in blocks of any size -> spectra; what lies before the first sample is silence. */
export class Analysis {
  private readonly hop: number;
  private readonly window: Float32Array;
  private readonly fft: RealFft;
  private readonly frame: Float32Array;
  private past: Float32Array;

  constructor(rate: number) {
    this.hop = hop(rate);
    this.window = analysisWindow(rate);
    this.fft = new RealFft(this.window.length);
    this.frame = new Float32Array(this.window.length);
    this.past = new Float32Array(this.window.length - this.hop);
  }

  /** Returns the frames that are complete: `frames * bins` pairs (real, imaginary). */
  feed(block: Float32Array): { spectra: Float32Array; frames: number } {
    const { hop, window, frame, fft } = this;
    const sound = new Float32Array(this.past.length + block.length);
    sound.set(this.past);
    sound.set(block, this.past.length);
    const frames = Math.max(0, Math.floor((sound.length - window.length) / hop) + 1);
    const spectra = new Float32Array(frames * fft.bins * 2);
    for (let t = 0; t < frames; t++) {
      for (let n = 0; n < window.length; n++) frame[n] = sound[t * hop + n] * window[n];
      fft.forward(frame, spectra, t * fft.bins * 2);
    }
    this.past = sound.slice(frames * hop);
    return { spectra, frames };
  }
}

/** Spectra -> sound by overlap-add; `hop` samples a frame, the first hop lies before the start. */
export class Synthesis {
  private readonly hop: number;
  private readonly window: Float32Array;
  private readonly fft: RealFft;
  private readonly frame: Float64Array;
  private tail: Float32Array;

  constructor(rate: number) {
    this.hop = hop(rate);
    this.window = synthesisWindow(rate);
    this.fft = new RealFft(windowLength(rate));
    this.frame = new Float64Array(this.fft.size);
    this.tail = new Float32Array(this.hop);
  }

  /** Takes `frames * bins` pairs and returns `frames * hop` samples. */
  feed(spectra: Float32Array, frames: number): Float32Array {
    const { hop, window, frame, fft } = this;
    const start = fft.size - window.length;
    const sound = new Float32Array(frames * hop);
    for (let t = 0; t < frames; t++) {
      fft.inverse(spectra, frame, t * fft.bins * 2);
      for (let n = 0; n < hop; n++) {
        sound[t * hop + n] = this.tail[n] + frame[start + n] * window[n];
        this.tail[n] = frame[start + hop + n] * window[hop + n];
      }
    }
    return sound;
  }
}
