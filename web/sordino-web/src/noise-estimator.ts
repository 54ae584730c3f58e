/** Streams of noisy sound -> streams of the noise in it; the speech is what remains. */
import { SordinoError } from "./errors.js";
import type { Model, State } from "./model.js";
import { Analysis, hop, Synthesis } from "./stft.js";
import { readVoice, VoiceFilter, voiceTexts, type VoiceOptions } from "./voice.js";

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
  /** Probability, 0..1, that an enrolled voice speaks in it; null without one. */
  readonly voice: number | null;
  /** Whether people speak, and no enrolled voice has been heard for some seconds. */
  readonly voiceMissing: boolean;
  /** Feed a block; `onnoise` is called with the noise that is ready. */
  feed(block: Float32Array): Promise<void>;
  /** The sound has ended: returns after the last noise has been given. */
  flush(): Promise<void>;
  /** Forget for how long no enrolled voice has been heard; on this device alone. */
  restartWatchdog?(): void;
  onnoise: (noise: Float32Array) => void;
}

/** The engine of `sordino.denoiser` on this device, one channel at a native rate. */
export class LocalEstimator implements NoiseEstimator {
  readonly latency: number;
  speech: number | null = 0;
  onnoise: (noise: Float32Array) => void = () => {};
  private readonly hop: number;
  private readonly voices: Float32Array[];
  private analysis!: Analysis;
  private synthesis!: Synthesis;
  private state!: State;
  private filter?: VoiceFilter;
  private pending = 0; // samples fed whose noise has not been given
  private lead = 0; // samples to come from before the start

  constructor(
    private readonly model: Model,
    private readonly rate: number,
    private readonly options: VoiceOptions = {},
  ) {
    const texts = voiceTexts(options);
    if (texts.length && !model.keepsVoices) {
      throw new SordinoError(
        `the model ${model.info.name} was not trained to keep one voice only: give the model ` +
          "default-voice",
      );
    }
    this.voices = texts.map(readVoice);
    this.hop = hop(rate);
    this.latency = 2 * this.hop;
    this.reset();
  }

  get voice(): number | null {
    return this.filter?.target ?? null;
  }

  get voiceMissing(): boolean {
    return this.filter?.missing ?? false;
  }

  restartWatchdog(): void {
    this.filter?.restartWatchdog();
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
    const { others, voiceFallback } = this.options;
    this.filter = this.voices.length
      ? new VoiceFilter(this.voices, others, voiceFallback)
      : undefined;
    this.state = this.model.initialState(this.filter?.rows.length);
    this.pending = 0;
    this.lead = this.hop;
  }

  private async advance(block: Float32Array): Promise<void> {
    const { spectra, frames } = this.analysis.feed(block);
    if (!frames) return;
    const mask = this.filter
      ? await this.filtered(this.filter, spectra, frames)
      : await this.estimated(spectra, frames);
    for (let k = 0; k < spectra.length; k += 2) {
      const re = spectra[k];
      spectra[k] = mask[k] * re - mask[k + 1] * spectra[k + 1];
      spectra[k + 1] = mask[k] * spectra[k + 1] + mask[k + 1] * re;
    }
    this.emit(this.synthesis.feed(spectra, frames));
  }

  private async estimated(spectra: Float32Array, frames: number): Promise<Float32Array> {
    const { mask, speech, state } = await this.model.run(spectra, frames, this.state);
    this.state = state;
    this.speech = speech[frames - 1];
    return mask;
  }

  /** The mask that keeps the enrolled voices, in parts that end where the watchdog decides. */
  private async filtered(
    filter: VoiceFilter,
    spectra: Float32Array,
    frames: number,
  ): Promise<Float32Array> {
    const size = spectra.length / frames;
    const masks = new Float32Array(spectra.length);
    for (let start = 0; start < frames; ) {
      const count = Math.min(frames - start, filter.room);
      const part = spectra.slice(start * size, (start + count) * size);
      const rows = filter.rows.length;
      const step = await this.model.run(part, count, this.state, filter.rows);
      const { mask, speech, target = new Float32Array(rows * count) } = step;
      this.state = step.state;
      this.speech = speech[count - 1];
      if (filter.apply(part, count, { mask, speech, target })) {
        // Any voice goes on from the state of the first one, which is near its own.
        const from = filter.rows.map((_, row) => (row < this.voices.length ? row : 0));
        this.state = this.model.withRows(this.state, from);
      }
      masks.set(mask.subarray(0, part.length), start * size);
      start += count;
    }
    return masks;
  }

  private emit(sound: Float32Array): void {
    const dropped = Math.min(this.lead, sound.length);
    this.lead -= dropped;
    const noise = sound.subarray(dropped, dropped + this.pending);
    this.pending -= noise.length;
    if (noise.length) this.onnoise(noise);
  }
}
