import assert from "node:assert/strict";
import { test } from "node:test";

import { BLOCKS, RingBuffer, SampleQueue } from "../src/buffers.js";
import { SharedTransport } from "../src/transport.js";

const count = (from: number, length: number): Float32Array =>
  Float32Array.from({ length }, (_, n) => from + n);

test("a ring buffer gives samples by their number, around its end", () => {
  const buffer = new RingBuffer(new ArrayBuffer(RingBuffer.BYTES));
  const end = 3 * RingBuffer.CAPACITY + 256;
  for (let at = 0; at < end; at += 128) buffer.write(count(at, 128));
  const out = new Float32Array(300);
  buffer.copy(end - 400, out);
  assert.deepEqual(out, count(end - 400, 300));
  assert.equal(buffer.written, end);
});

test("a reader waits for whole hops and takes them", async () => {
  const noisy = new RingBuffer(new SharedArrayBuffer(RingBuffer.BYTES));
  const clean = new RingBuffer(new SharedArrayBuffer(RingBuffer.BYTES));
  const transport = new SharedTransport(noisy, clean, 480);
  const coming = transport.receive();
  for (let at = 0; at < 1024; at += 128) noisy.write(count(at, 128));
  noisy.notify(BLOCKS);
  assert.deepEqual(await coming, count(0, 960));
  transport.send(count(5, 10));
  assert.equal(clean.written, 10);
});

test("samples leave a queue as they came", () => {
  const queue = new SampleQueue();
  queue.push(count(0, 5));
  queue.push(count(5, 1));
  queue.push(count(6, 4));
  assert.deepEqual(queue.take(7), count(0, 7));
  assert.equal(queue.length, 3);
  assert.deepEqual(queue.take(9), count(7, 3));
});
