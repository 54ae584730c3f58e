import assert from "node:assert/strict";
import { test } from "node:test";

import { LiveNoiseMeter, NoiseMeter } from "../src/levels.js";

const constant = (value: number, length: number): Float32Array => new Float32Array(length).fill(value);

test("only the quietest tenth counts", () => {
  const meter = new NoiseMeter(8000);
  meter.feed([constant(0.01, 800)], [constant(0.001, 800)]); // a pause, 20 dB quieter
  for (let n = 0; n < 9; n++) meter.feed([constant(0.5, 800)], [constant(0.5, 800)]);
  assert.ok(Math.abs(meter.removedDb! - 20) < 1e-4);
});

test("silence has no noise, and what is gone altogether counts 99 dB", () => {
  const meter = new NoiseMeter(8000);
  meter.feed([constant(0, 8000)], [constant(0, 8000)]);
  assert.equal(meter.removedDb, null);
  meter.feed([constant(0.1, 8000)], [constant(0, 8000)]);
  assert.equal(meter.removedDb, 99);
});

test("the blocks of the sound make no difference", () => {
  const noisy = Float32Array.from({ length: 40000 }, (_, n) => Math.sin(n) * (1 + (n % 5000)) * 1e-4);
  const clean = noisy.map((sample, n) => sample * (n % 5000) * 1e-4);
  const whole = new NoiseMeter(8000);
  whole.feed([noisy, clean], [clean, noisy]);
  const parts = new NoiseMeter(8000);
  for (let at = 0; at < noisy.length; at += 333) {
    const [a, b] = [noisy.subarray(at, at + 333), clean.subarray(at, at + 333)];
    parts.feed([a, b], [b, a]);
  }
  assert.equal(whole.removedDb, parts.removedDb);
});

test("live figures forget what is more than 20 s ago", () => {
  const meter = new LiveNoiseMeter(8000);
  const second = (removed: number) => {
    meter.feed(constant(0.01, 8000), constant(0.01 * 10 ** (-removed / 20), 8000));
  };
  for (let n = 0; n < 10; n++) second(6);
  assert.ok(Math.abs(meter.removedDb! - 6) < 1e-3);
  for (let n = 0; n < 20; n++) second(12);
  assert.ok(Math.abs(meter.removedDb! - 12) < 1e-3);
});
