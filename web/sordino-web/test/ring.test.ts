import assert from "node:assert/strict";
import { test } from "node:test";

import { Fifo } from "../src/fifo.js";
import { SharedLink } from "../src/links.js";
import { BELL, Ring } from "../src/ring.js";

const count = (from: number, length: number): Float32Array =>
  Float32Array.from({ length }, (_, n) => from + n);

test("a ring gives samples by their number, around its end", () => {
  const ring = new Ring(new ArrayBuffer(Ring.BYTES));
  const end = 3 * Ring.CAPACITY + 256;
  for (let at = 0; at < end; at += 128) ring.write(count(at, 128));
  const out = new Float32Array(300);
  ring.copy(end - 400, out);
  assert.deepEqual(out, count(end - 400, 300));
  assert.equal(ring.written, end);
});

test("a reader waits for the bell and takes whole hops", async () => {
  const noisy = new Ring(new SharedArrayBuffer(Ring.BYTES));
  const clean = new Ring(new SharedArrayBuffer(Ring.BYTES));
  const link = new SharedLink(noisy, clean, 480);
  const coming = link.next();
  for (let at = 0; at < 1024; at += 128) noisy.write(count(at, 128));
  noisy.ring(BELL);
  assert.deepEqual(await coming, count(0, 960));
  link.send(count(5, 10));
  assert.equal(clean.written, 10);
});

test("samples leave a queue as they came", () => {
  const fifo = new Fifo();
  fifo.push(count(0, 5));
  fifo.push(count(5, 1));
  fifo.push(count(6, 4));
  assert.deepEqual(fifo.take(7), count(0, 7));
  assert.equal(fifo.length, 3);
  assert.deepEqual(fifo.take(9), count(7, 3));
});
