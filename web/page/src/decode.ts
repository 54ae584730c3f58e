/** Files -> samples, at the file's own rate where it can be known, else at 48 kHz. */
import { newTake, Samples, type Take } from "./sounds.js";

const MAX_MINUTES = 20; // of a channel: decoded sound takes memory
const MAX_CHANNELS = 8;

/** Sample rate in Hz in the header of a WAV or FLAC file. */
function ownRate(file: DataView): number | null {
  if (file.byteLength < 44) return null;
  const mark = file.getUint32(0);
  if (mark === 0x52494646) return file.getUint32(24, true); // "RIFF", then "fmt " as a rule
  if (mark === 0x664c6143) return file.getUint32(18) >>> 12; // "fLaC"
  return null;
}

/** Decode a file; throws an Error in words if it is no sound. */
export async function decode(name: string, bytes: ArrayBuffer): Promise<Take> {
  const own = ownRate(new DataView(bytes));
  const rate = own && own >= 8000 && own <= 96000 ? own : 48000;
  let buffer: AudioBuffer;
  try {
    buffer = await new OfflineAudioContext(1, 1, rate).decodeAudioData(bytes);
  } catch {
    throw new Error(`${name} is not a sound that this browser can read.`);
  }
  if (!buffer.length) throw new Error(`${name} holds no sound.`);
  if (buffer.duration * buffer.numberOfChannels > 60 * MAX_MINUTES) {
    throw new Error(
      `${name} is longer than ${MAX_MINUTES} minutes: use "sordino denoise" on the command line.`,
    );
  }
  const count = Math.min(buffer.numberOfChannels, MAX_CHANNELS);
  const noisy = Array.from({ length: count }, (_, k) => new Samples(buffer.getChannelData(k)));
  return newTake(name, rate, noisy);
}
