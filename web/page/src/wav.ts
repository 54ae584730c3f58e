/**
 * A WAV file.
 *
 * @param samples 24 bit are finer than any microphone, and read by every program; in "float"
 *   nothing is rounded or clipped.
 */
export function wav(channels: Float32Array[], rate: number, samples: "int24" | "float"): Blob {
  const count = channels[0].length;
  const bytes = samples === "float" ? 4 : 3;
  const frame = bytes * channels.length;
  const data = new DataView(new ArrayBuffer(44 + count * frame));
  const text = (at: number, value: string) =>
    [...value].forEach((letter, n) => data.setUint8(at + n, letter.charCodeAt(0)));
  text(0, "RIFF");
  data.setUint32(4, 36 + count * frame, true);
  text(8, "WAVEfmt ");
  data.setUint32(16, 16, true);
  data.setUint16(20, samples === "float" ? 3 : 1, true);
  data.setUint16(22, channels.length, true);
  data.setUint32(24, rate, true);
  data.setUint32(28, rate * frame, true);
  data.setUint16(32, frame, true);
  data.setUint16(34, 8 * bytes, true);
  text(36, "data");
  data.setUint32(40, count * frame, true);
  for (let n = 0, at = 44; n < count; n++) {
    for (const channel of channels) {
      if (samples === "float") {
        data.setFloat32(at, channel[n], true);
        at += bytes;
        continue;
      }
      const value = Math.round(Math.max(-1, Math.min(channel[n], 1 - 2 ** -23)) * 2 ** 23);
      data.setInt16(at, value & 0xffff, true);
      data.setInt8(at + 2, value >> 16);
      at += bytes;
    }
  }
  return new Blob([data.buffer], { type: "audio/wav" });
}

/** Save sound as NAME-clean.wav. */
export function save(name: string, channels: Float32Array[], rate: number): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(wav(channels, rate, "int24"));
  link.download = `${name.replace(/\.[^.]*$/, "")}-clean.wav`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
