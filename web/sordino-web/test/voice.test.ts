import assert from "node:assert/strict";
import { test } from "node:test";

import { checkVoice, DECISION_FRAMES, readVoice, VoiceFilter, VoiceWatchdog } from "../src/voice.js";

const BINS = 2;
const embedding = Float32Array.from({ length: 192 }, (_, n) => Number(n === 3));
const text = `e:${btoa(String.fromCharCode(...new Uint8Array(embedding.buffer)))}`;

/** What a network would say of one frame: a real mask for each row, speech and target for all. */
function step(masks: number[], speech: number, target: number) {
  return {
    mask: Float32Array.from(masks.flatMap((mask) => Array(BINS).fill([mask, 0]).flat())),
    speech: new Float32Array(masks.length).fill(speech),
    target: new Float32Array(masks.length).fill(target),
  };
}
const spectra = new Float32Array(2 * BINS).fill(1);

test("the text of a profile becomes its embedding", () => {
  assert.deepEqual(readVoice(text), embedding);
  for (const wrong of ["", "somebody", text.slice(0, -8), `e:${btoa("\0".repeat(768))}`]) {
    assert.throws(() => readVoice(wrong), /no voice profile/);
  }
});

test("numbers out of range are refused", () => {
  assert.throws(() => checkVoice({ others: -1 }), /other voices by -1 dB/);
  assert.throws(() => checkVoice({ voiceFallback: 0 }), /voiceFallback is 0 s/);
  checkVoice({ voice: text, others: 20, voiceFallback: null });
});

test("of several voices the mask counts that attenuates least", () => {
  const filter = new VoiceFilter([embedding, embedding]);
  const said = step([0.9, 0.25], 0.9, 5);
  filter.apply(spectra, 1, said);
  assert.deepEqual([...said.mask.subarray(0, 4)], [0.25, 0, 0.25, 0]);
});

test("others are attenuated by no more than is wanted, and noise as much as ever", () => {
  const filter = new VoiceFilter([embedding], 20);
  const other = step([1], 1, -30);
  filter.apply(spectra, 1, other);
  assert.ok(Math.abs(other.mask[0] - 0.9) < 1e-6);
  const noise = step([1], 0, -30);
  filter.apply(spectra, 1, noise);
  assert.equal(noise.mask[0], 1);
});

test("without the voice everybody is kept, until it is heard again", () => {
  const filter = new VoiceFilter([embedding], null, 1);
  const run = (frames: number, target: number): number => {
    let mask = NaN;
    for (let t = 0; t < frames; t++) {
      const masks = filter.rows.map((row) => (row === embedding ? 1 : 0));
      const said = step(masks, 0.9, target);
      filter.apply(spectra, 1, said);
      mask = said.mask[0];
    }
    return mask;
  };
  assert.equal(run(100, -5), 1);
  assert.ok(filter.missing);
  assert.equal(filter.rows.length, 2);
  assert.ok(Math.abs(run(DECISION_FRAMES, -5) - 0.5) < 0.01);
  assert.ok(run(100, -5) < 1e-6);
  assert.equal(run(200, 5), 1);
  assert.ok(!filter.missing);
  assert.equal(filter.rows.length, 1);
});

test("never falling back still tells that the voice is missing", () => {
  const filter = new VoiceFilter([embedding], null, null);
  for (let t = 0; t < 1000; t++) filter.apply(spectra, 1, step([1], 0.9, -5));
  assert.ok(filter.missing);
  assert.equal(filter.rows.length, 1);
});

test("people who are farther away do not count", () => {
  const watchdog = new VoiceWatchdog(1);
  for (let t = 0; t < 100; t++) watchdog.update(0.9, 0.9, 1);
  for (let t = 0; t < 1000; t++) watchdog.update(0.9, 0.1, 10 ** -0.7);
  assert.ok(!watchdog.missing);
  for (let t = 0; t < 100; t++) watchdog.update(0.9, 0.1, 10 ** -0.5);
  assert.ok(watchdog.missing);
});
