import assert from "node:assert/strict";
import { test } from "node:test";

import { SampleQueue } from "../src/buffers.js";
import { LiveStream } from "../src/live-stream.js";
import type { FromWorker } from "../src/messages.js";
import type { NoiseEstimator } from "../src/noise-estimator.js";
import type { Transport } from "../src/transport.js";

const RATE = 48000;
const ramp = (from: number, length: number): Float32Array =>
  Float32Array.from({ length }, (_, n) => from + n);

/** Takes half of the sound for noise, and knows it `latency` samples later. */
class HalfEstimator implements NoiseEstimator {
  constructor(readonly latency: number) {}

  readonly speech = null;
  readonly voice = null;
  readonly voiceMissing = false;
  onnoise: (noise: Float32Array) => void = () => {};
  private readonly queue = new SampleQueue();

  async feed(block: Float32Array): Promise<void> {
    this.queue.push(block.map((sample) => sample / 2));
    const ready = this.queue.length - this.latency;
    if (ready > 0) this.onnoise(this.queue.take(ready));
  }

  async flush(): Promise<void> {}
}

/** Gives blocks, and rejects when there are no more. */
class Blocks implements Transport {
  readonly underruns = 0;
  readonly delay = 0;
  readonly clean: number[] = [];

  constructor(private readonly blocks: Float32Array[]) {}

  async receive(): Promise<Float32Array> {
    const block = this.blocks.shift();
    if (!block) throw new Error("the end");
    return block;
  }

  send(block: Float32Array): void {
    this.clean.push(...block);
  }
}

// On a server, later gaps come while the noise before the first one is still on its way.
for (const latency of [960, 12000]) {
  test(`what an engine ${latency} samples late cannot follow passes, the rest in place`, async () => {
    const sizes = [4800, 48000, 4800, 48000, 4800, 4800, 4800]; // of 1 s, 0.9 s are left out
    const starts = sizes.map((_, k) => sizes.slice(0, k).reduce((a, b) => a + b, 1));
    const sound = ramp(1, sizes.reduce((a, b) => a + b));
    const transport = new Blocks(sizes.map((size, k) => ramp(starts[k], size)));
    const posted: FromWorker[] = [];
    const post = (message: FromWorker): number => posted.push(message);
    const stream = new LiveStream(transport, new HalfEstimator(latency), RATE, 1, false, post);
    await assert.rejects(stream.run(), /the end/);
    const gaps = [starts[1], starts[3]];
    const expected = [...sound].map((sample) =>
      gaps.some((start) => sample >= start && sample < start + 43200) ? sample : sample / 2,
    );
    assert.deepEqual(transport.clean, expected.slice(0, -latency)); // the last is not known yet
    const stats = posted.filter((message) => message.type === "stats").at(-1);
    assert.equal(stats?.type === "stats" && Math.round(10 * stats.stats.skipped), 18);
  });
}
