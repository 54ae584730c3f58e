/** Whole recordings. */
import { EngineWorker, type EngineOptions } from "./engine.js";
import { SordinoError } from "./errors.js";
import { checkRecording } from "./recording.js";

export interface DenoiseOptions extends EngineOptions {
  /** Share of the noise to take away, 0..1; all if left out. */
  strength?: number;
  /**
   * Seconds of the beginning that are heard first, 0 to 60; then the first words come out as clean
   * as later ones. None if left out, as in live use.
   */
  listen?: number;
  /** Told the share that is done, 0..1. */
  onprogress?: (share: number) => void;
  signal?: AbortSignal;
}

/**
 * Return a recording without its noise, as long as it was and in place sample by sample.
 *
 * @param samples one channel of float32 at full scale +-1.
 * @param rate its sample rate in Hz, 8000 to 192000. 8, 16, 24 and 48 kHz are native; others are
 *   resampled there and back.
 * @throws SordinoError the sound or an option cannot be used, or the engine not be loaded.
 */
export async function denoise(
  samples: Float32Array,
  rate: number,
  options: DenoiseOptions = {},
): Promise<Float32Array> {
  const { strength = 1, listen = 0, onprogress, signal } = options;
  const wrong = checkRecording(samples, rate) ?? checkStrength(strength) ?? checkListen(listen);
  if (wrong) throw new SordinoError(wrong);
  signal?.throwIfAborted();
  const engine = await EngineWorker.open(options, rate);
  try {
    return await new Promise((resolve, reject) => {
      signal?.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
      engine.onmessage = (message) => {
        if (message.type === "progress") onprogress?.(message.share);
        else if (message.type === "denoised") resolve(message.samples);
        else if (message.type === "failed") reject(new SordinoError(message.message));
      };
      engine.send({ type: "denoise", samples, rate, strength, listen });
    });
  } finally {
    engine.close();
  }
}

export function checkStrength(value: number): string | null {
  return value >= 0 && value <= 1 ? null : `strength is ${value}: expected 0 to 1`;
}

function checkListen(seconds: number): string | null {
  return seconds >= 0 && seconds <= 60 ? null : `${seconds} s are to be heard first: expected 0 to 60`;
}
