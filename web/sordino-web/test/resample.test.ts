import assert from "node:assert/strict";
import { test } from "node:test";

import { resample } from "../src/resample.js";

const sine = (rate: number, hertz: number, seconds: number): Float32Array =>
  Float32Array.from({ length: rate * seconds }, (_, n) => Math.sin((2 * Math.PI * hertz * n) / rate));

for (const [from, to] of [[44100, 48000], [48000, 44100], [11025, 16000], [96000, 48000]]) {
  test(`${from} -> ${to} Hz: a sine stays where it was`, () => {
    const lower = Math.min(from, to) / 2;
    for (const hertz of [100, 0.9 * lower]) {
      const out = resample(sine(from, hertz, 1), from, to);
      const expected = sine(to, hertz, 1);
      assert.equal(out.length, to);
      const edge = Math.ceil(0.02 * to); // what lies beyond the ends is silence
      const errors = out.slice(edge, to - edge).map((value, n) => Math.abs(value - expected[edge + n]));
      const worst = errors.reduce((a, b) => Math.max(a, b));
      assert.ok(worst < 1e-5, `${hertz} Hz: ${worst}`);
    }
  });
}

test("what the lower rate cannot hold is removed", () => {
  const out = resample(sine(96000, 26000, 1), 96000, 48000);
  assert.ok(out.slice(2000, 46000).every((value) => Math.abs(value) < 1e-5));
});
