/** The error that every function of the package throws, and the checks of arguments. */
import { NATIVE_RATES } from "./stft.js";

/** What went wrong, in words for the person who uses the page. */
export class SordinoError extends Error {
  override name = "SordinoError";
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Await a promise; what it rejects with becomes a SordinoError that starts with `context`. */
export async function explained<T>(context: string, promise: Promise<T>): Promise<T> {
  try {
    return await promise;
  } catch (error) {
    if (error instanceof SordinoError) throw error;
    throw new SordinoError(`${context}: ${messageOf(error)}`);
  }
}

function require(condition: boolean, message: string): void {
  if (!condition) throw new SordinoError(message);
}

export function checkStrength(value: number): void {
  require(value >= 0 && value <= 1, `strength is ${value}: expected 0 to 1`);
}

export function checkWarmUp(seconds: number): void {
  require(seconds >= 0 && seconds <= 60, `the warm-up is ${seconds} s: expected 0 to 60`);
}

export function checkCushion(seconds: number): void {
  require(seconds >= 0 && seconds <= 0.5, `cushion is ${seconds} s: expected 0 to 0.5`);
}

/** Refuse samples and rates that are no sound. */
export function checkRecording(samples: Float32Array, rate: number): void {
  const kind = Object.prototype.toString.call(samples); // arrays of other windows count, too
  require(kind === "[object Float32Array]", "the sound is no Float32Array of samples at full scale +-1");
  require(
    Number.isInteger(rate) && rate >= NATIVE_RATES[0] && rate <= 192000,
    `the sample rate is ${rate}: expected a whole number, 8000 to 192000`,
  );
  require(samples.every(Number.isFinite), "the sound holds NaN or Inf: repair it first");
}

/** Refuse contexts in which no live sound can be denoised. */
export function checkContext(context: BaseAudioContext): void {
  require(!!context && "sampleRate" in context, "createSordinoNode expects an AudioContext");
  require(
    !("startRendering" in context),
    "an OfflineAudioContext renders faster than the engine can follow: " +
      "denoise the samples with denoise() instead",
  );
  require(context.state !== "closed", "the AudioContext is closed: make a new one");
  require(
    NATIVE_RATES.includes(context.sampleRate),
    `the AudioContext runs at ${context.sampleRate} Hz: ` +
      "make it with new AudioContext({ sampleRate: 48000 })",
  );
  require(!!context.audioWorklet, "the browser gives no AudioWorklet here: serve the page over https");
}

/** Refuse tracks that carry no sound, now or ever again. */
export function checkTrack(track: MediaStreamTrack): void {
  require(!!track && "readyState" in track, "suppress expects a MediaStreamTrack");
  require(track.kind === "audio", `the track carries ${track.kind}: expected audio`);
  require(track.readyState !== "ended", "the track has ended: get a new one with getUserMedia()");
}
