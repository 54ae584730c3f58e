/** Voice profiles: the voices to keep alone, and the watchdog against a wrong profile. */
import { SordinoError } from "./errors.js";

export interface VoiceOptions {
  /**
   * Profile of a voice to keep alone, or several for several people at one microphone: the text that
   * a Sordino server's `POST /v1/voices` or `Voice.to_text()` gives. Everybody is kept if left out.
   */
  voice?: string | string[] | null;
  /** With a voice, attenuate other voices by no more than so many dB; no limit if left out. */
  others?: number | null;
  /**
   * With a voice, keep everybody after so many seconds of speech without it, until it is heard again;
   * 6 if left out, null is never.
   */
  voiceFallback?: number | null;
}

const EMBEDDING_SIZE = 192;
export const FALLBACK_SECONDS = 6;
export const DECISION_FRAMES = 50; // between two decisions of the watchdog
const FADE_FRAMES = 100;
const FRAME_SECONDS = 0.01;
const FOREGROUND_DB = 6; // people farther away than the enrolled voice are quieter by more than this
const LEVEL_SHARE = 0.02; // of a new frame in the level of the enrolled voice
const RETURN_RATIO = 5; // a second of the enrolled voice makes up for so many without it
const PRESENT = 0.5;

/** The texts of profiles; none for everybody. */
export function voiceTexts({ voice }: VoiceOptions): string[] {
  return voice == null ? [] : Array.isArray(voice) ? voice : [voice];
}

/** The embedding in the text of a profile. */
export function readVoice(text: string): Float32Array {
  let bytes: Uint8Array;
  try {
    bytes = Uint8Array.from(atob(text.slice(text.lastIndexOf(":") + 1)), (c) => c.charCodeAt(0));
  } catch {
    bytes = new Uint8Array();
  }
  const view = new DataView(bytes.buffer);
  const embedding = Float32Array.from({ length: bytes.length >> 2 }, (_, n) =>
    view.getFloat32(4 * n, true),
  );
  const norm = Math.hypot(...embedding);
  if (bytes.length !== 4 * EMBEDDING_SIZE || !(Math.abs(norm - 1) < 1e-3)) {
    throw new SordinoError("the voice is damaged or no voice profile: enrol again");
  }
  return embedding;
}

/** Refuse numbers out of range. */
export function checkVoice({ others, voiceFallback }: VoiceOptions): void {
  if (others != null && !(others >= 0 && others < Infinity)) {
    throw new SordinoError(`other voices by ${others} dB: expected 0 or more`);
  }
  if (voiceFallback != null && !(voiceFallback >= 1 && voiceFallback < Infinity)) {
    throw new SordinoError(`voiceFallback is ${voiceFallback} s: expected 1 or more, or null`);
  }
}

/** Notices that people speak, but not the enrolled voice; see `VoiceWatchdog` of sordino.voice_stream. */
export class VoiceWatchdog {
  /** Whether the voice has not been heard for too long. */
  missing = false;
  private seconds = 0;
  private level: number | null = null; // of the enrolled voice, in dB

  constructor(private readonly limit: number) {}

  /** Take a frame: the probabilities that anybody and that the enrolled voice speaks, and its power. */
  update(speech: number, target: number, power: number): void {
    if (speech < PRESENT) return;
    const level = 10 * Math.log10(power + 1e-20);
    if (target >= PRESENT) {
      const known = this.level ?? level;
      this.level = known + LEVEL_SHARE * (level - known);
      this.seconds = Math.max(0, this.seconds - RETURN_RATIO * FRAME_SECONDS);
    } else if (this.level === null || level > this.level - FOREGROUND_DB) {
      this.seconds = Math.min(this.limit, this.seconds + FRAME_SECONDS);
    }
    if (this.seconds > this.limit - FRAME_SECONDS / 2) this.missing = true;
    else if (this.seconds < this.limit / 2) this.missing = false;
  }
}

const newWatchdog = (fallback: number | null): VoiceWatchdog =>
  new VoiceWatchdog(fallback ?? FALLBACK_SECONDS);

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-Math.max(-30, Math.min(30, x))));

/** What a network that keeps voices says about some frames, for each voice in turn. */
export interface VoiceStep {
  mask: Float32Array;
  speech: Float32Array;
  target: Float32Array;
}

/** Which voices are kept, and how: what `VoiceStream` of sordino.voice_stream does to masks. */
export class VoiceFilter {
  /** Embeddings of the voices that the network is run for, one after the other. */
  rows: Float32Array[];
  /** Whether the last row is any voice. */
  universal = false;
  /** Probability that an enrolled voice speaks in the newest frame. */
  target = 0;
  private watchdog: VoiceWatchdog;
  private readonly kept: number; // share of other voices that stays
  private fallsBack = false;
  private share = 0; // of the universal mask in the last frame
  private frames = 0; // since the last decision

  constructor(
    private readonly voices: Float32Array[],
    others: number | null = null,
    private readonly fallback: number | null = FALLBACK_SECONDS,
  ) {
    this.rows = voices;
    this.watchdog = newWatchdog(fallback);
    this.kept = others === null ? 0 : 10 ** (-others / 20);
  }

  get missing(): boolean {
    return this.watchdog.missing;
  }

  /** Forget for how long no voice has been heard. */
  restartWatchdog(): void {
    this.watchdog = newWatchdog(this.fallback);
  }

  /** Frames until the next decision: no more may be taken at once. */
  get room(): number {
    return DECISION_FRAMES - this.frames;
  }

  /**
   * Return the mask of one channel; the first row's memory is reused.
   *
   * @param spectra frames * bins pairs.
   * @returns whether the rows have changed, so that states have to be taken over.
   */
  apply(spectra: Float32Array, frames: number, step: VoiceStep): boolean {
    const count = this.voices.length;
    const size = spectra.length / frames;
    const { mask, speech, target } = step;
    for (let t = 0; t < frames; t++) {
      let spoken = 0;
      let logit = -Infinity;
      for (let row = 0; row < count; row++) {
        spoken = Math.max(spoken, speech[row * frames + t]);
        logit = Math.max(logit, target[row * frames + t]);
      }
      this.target = sigmoid(logit);
      this.share = Math.max(0, Math.min(1, this.share + (this.fallsBack ? 1 : -1) / FADE_FRAMES));
      const strength = Math.min(1, 1 - this.kept * spoken * (1 - this.target));
      let power = 0;
      for (let k = t * size; k < (t + 1) * size; k += 2) {
        power += spectra[k] ** 2 + spectra[k + 1] ** 2;
        let best = k; // the mask that attenuates least
        for (let row = 1; row < count; row++) {
          const other = row * spectra.length + k;
          const left = (1 - mask[other]) ** 2 + mask[other + 1] ** 2;
          if (left > (1 - mask[best]) ** 2 + mask[best + 1] ** 2) best = other;
        }
        for (const part of [0, 1]) {
          const own = strength * mask[best + part];
          const any = this.universal ? mask[count * spectra.length + k + part] : own;
          mask[k + part] = own + this.share * (any - own);
        }
      }
      this.watchdog.update(spoken, this.target, power);
    }
    this.frames = (this.frames + frames) % DECISION_FRAMES;
    return !this.frames && this.decide();
  }

  /** Run the network for any voice, too, or no longer, as the watchdog says. */
  private decide(): boolean {
    this.fallsBack = this.watchdog.missing && this.fallback !== null;
    const universal = this.fallsBack || this.share > 0;
    if (universal === this.universal) return false;
    this.universal = universal;
    const anybody = new Float32Array(this.voices[0].length);
    this.rows = universal ? [...this.voices, anybody] : this.voices;
    return true;
  }
}
