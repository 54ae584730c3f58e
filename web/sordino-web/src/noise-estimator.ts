/** Streams of noisy sound -> streams of the noise in it; the speech is what remains. */
import type { Model, State } from "./model.js";
import { Analysis, hop, Synthesis } from "./stft.js";

/**
 * Takes noisy samples and gives the noise in them, in order and in sum as many.
 *
 * The noise is given in full; the caller subtracts it, `clean = noisy - strength * noise`.
 */
export interface NoiseEstimator {
  /** Algorithmic latency in samples. */
  readonly latency: number;
  /** Probability, 0..1, that the newest frame has speech in it; null if unknown. */
  readonly speech: number | null;
  /** Feed a block; `onnoise` is called with the noise that is ready. */
  feed(block: Float32Array): Promise<void>;
  /** The sound has ended: returns after the last noise has been given. */
  flush(): Promise<void>;
  onnoise: (noise: Float32Array) => void;
}

/** The engine of `sordino.denoiser` on this device, one channel at a native rate. */
export class LocalEstimator implements NoiseEstimator {
  readonly latency: number;
  speech: number | null = 0;
  onnoise: (noise: Float32Array) => void = () => {};
  private readonly hop: number;
  private analysis!: Analysis;
  private synthesis!: Synthesis;
  private state!: State;
  private pending = 0; // samples fed whose noise has not been given
  private lead = 0; // samples to come from before the start

  constructor(
    private readonly model: Model,
    private readonly rate: number,
  ) {
    this.hop = hop(rate);
    this.latency = 2 * this.hop;
    this.reset();
  }

  async feed(block: Float32Array): Promise<void> {
    this.pending += block.length;
    await this.advance(block);
  }

  async flush(): Promise<void> {
    await this.advance(new Float32Array(2 * this.hop));
    this.reset();
  }

  private reset(): void {
    this.analysis = new Analysis(this.rate);
    this.synthesis = new Synthesis(this.rate);
    this.state = this.model.initialState();
    this.pending = 0;
    this.lead = this.hop;
  }

  private async advance(block: Float32Array): Promise<void> {
    const { spectra, frames } = this.analysis.feed(block);
    if (!frames) return;
    const { mask, speech, state } = await this.model.run(spectra, frames, this.state);
    this.state = state;
    this.speech = speech[frames - 1];
    for (let k = 0; k < spectra.length; k += 2) {
      const re = spectra[k];
      spectra[k] = mask[k] * re - mask[k + 1] * spectra[k + 1];
      spectra[k + 1] = mask[k] * spectra[k + 1] + mask[k + 1] * re;
    }
    const sound = this.synthesis.feed(spectra, frames);
    const dropped = Math.min(this.lead, sound.length);
    this.lead -= dropped;
    const noise = sound.subarray(dropped, dropped + this.pending);
    this.pending -= noise.length;
    if (noise.length) this.onnoise(noise);
  }
}
