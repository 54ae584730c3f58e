import assert from "node:assert/strict";
import { test } from "node:test";

import { RealFft } from "../src/fft.js";

const noise = (size: number): Float32Array => {
  let seed = 1;
  return Float32Array.from({ length: size }, () => {
    seed = (seed * 48271) % 2147483647;
    return (2 * seed) / 2147483647 - 1;
  });
};

for (const size of [256, 512, 768, 1536]) {
  test(`${size} samples: equal to the sum that defines the transform`, () => {
    const fft = new RealFft(size);
    const samples = noise(size);
    const spectrum = new Float32Array(2 * fft.bins);
    fft.forward(samples, spectrum);
    for (const k of [0, 1, 2, size / 4, size / 3, size / 2].map(Math.floor)) {
      let re = 0;
      let im = 0;
      samples.forEach((sample, n) => {
        re += sample * Math.cos((2 * Math.PI * k * n) / size);
        im -= sample * Math.sin((2 * Math.PI * k * n) / size);
      });
      assert.ok(Math.abs(spectrum[2 * k] - re) < 1e-4, `real part of bin ${k}`);
      assert.ok(Math.abs(spectrum[2 * k + 1] - im) < 1e-4, `imaginary part of bin ${k}`);
    }
  });

  test(`${size} samples: there and back`, () => {
    const fft = new RealFft(size);
    const samples = noise(size);
    const spectrum = new Float32Array(2 * fft.bins);
    const back = new Float64Array(size);
    fft.forward(samples, spectrum);
    fft.inverse(spectrum, back);
    assert.ok(back.every((sample, n) => Math.abs(sample - samples[n]) < 1e-5));
  });
}

test("a size with other factors is refused", () => {
  assert.throws(() => new RealFft(2 * 5 * 7), RangeError);
});
