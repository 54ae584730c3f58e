import assert from "node:assert/strict";
import { test } from "node:test";

import { Analysis, bins, hop, NATIVE_RATES, nativeRate, Synthesis } from "../src/stft.js";

test("rates and bins are those of the Python engine", () => {
  assert.deepEqual([44100, 11025, 192000, 8000].map(nativeRate), [48000, 16000, 48000, 8000]);
  assert.deepEqual(NATIVE_RATES.map(bins), [129, 257, 385, 769]);
});

for (const rate of NATIVE_RATES) {
  test(`${rate} Hz: sound that nothing is done to comes back a hop later`, () => {
    const sound = Float32Array.from({ length: rate / 2 }, (_, n) => Math.sin(0.05 * n + 1e-5 * n * n));
    const analysis = new Analysis(rate);
    const synthesis = new Synthesis(rate);
    const out: number[] = [];
    for (let at = 0, size = 1; at < sound.length; at += size, size = (size * 7) % 1000 + 1) {
      const { spectra, frames } = analysis.feed(sound.subarray(at, at + size));
      out.push(...synthesis.feed(spectra, frames));
    }
    const late = hop(rate);
    assert.ok(out.length > sound.length - 2 * late);
    assert.ok(out.slice(late).every((sample, n) => Math.abs(sample - sound[n]) < 1e-5));
  });
}
