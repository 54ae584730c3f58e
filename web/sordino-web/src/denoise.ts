/** Whole recordings: `denoise`. */
import { EngineWorker, type EngineOptions } from "./engine-worker.js";
import { checkRecording, checkStrength, checkWarmUp, SordinoError } from "./errors.js";

export interface DenoiseOptions extends EngineOptions {
  /** Share of the noise to remove, 0..1; all if left out. */
  strength?: number;
  /**
   * Seconds of the beginning that the network processes once beforehand, 0 to 60; then the first
   * words come out as clean as later ones. None if left out, as in live use.
   */
  warmUp?: number;
  /** @deprecated the earlier name of `warmUp`. */
  listen?: number;
  /** Called with the share that is done, 0..1. */
  onprogress?: (share: number) => void;
  /** Aborting it rejects with its reason. */
  signal?: AbortSignal;
}

/**
 * Return a recording without its noise, as long as it was and in place sample by sample.
 *
 * @param samples one channel of float32 at full scale +-1.
 * @param rate its sample rate in Hz, 8000 to 192000. 8, 16, 24 and 48 kHz are native; at others
 *   the noise is estimated at a native rate, resampled and subtracted.
 * @throws SordinoError the sound or an option cannot be used, or the engine cannot be loaded.
 */
export async function denoise(
  samples: Float32Array,
  rate: number,
  options: DenoiseOptions = {},
): Promise<Float32Array> {
  const { strength = 1, onprogress, signal } = options;
  const warmUp = options.warmUp ?? options.listen ?? 0;
  if (options.listen !== undefined) console.warn('sordino-web: "listen" is now named "warmUp"');
  checkRecording(samples, rate);
  checkStrength(strength);
  checkWarmUp(warmUp);
  signal?.throwIfAborted();
  const engine = await EngineWorker.open(options, rate);
  let abort = (): void => {};
  try {
    return await new Promise((resolve, reject) => {
      abort = () => reject(signal?.reason as Error);
      if (signal?.aborted) abort(); // while the engine was loading
      signal?.addEventListener("abort", abort, { once: true });
      engine.onmessage = (message) => {
        if (message.type === "progress") onprogress?.(message.share);
        else if (message.type === "denoised") resolve(message.samples);
        else if (message.type === "failed") reject(new SordinoError(message.message));
      };
      engine.send({ type: "denoise", samples, rate, strength, warmUp });
    });
  } finally {
    signal?.removeEventListener("abort", abort);
    engine.close();
  }
}
