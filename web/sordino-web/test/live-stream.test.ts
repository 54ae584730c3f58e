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

/** Takes half of the sound for noise, and knows it 20 ms later. */
class HalfEstimator implements NoiseEstimator {
  readonly latency = 960;
  readonly speech = null;
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

test("what the engine cannot follow passes unchanged, and the rest stays in place", async () => {
  const first = ramp(1, 4800);
  const backlog = ramp(4801, 48000); // 1 s at once: 0.9 s of it are left out
  const last = ramp(52801, 4800);
  const transport = new Blocks([first, backlog, last]);
  const posted: FromWorker[] = [];
  const post = (message: FromWorker): number => posted.push(message);
  const stream = new LiveStream(transport, new HalfEstimator(), RATE, 1, false, post);
  await assert.rejects(stream.run(), /the end/);
  const expected = [...first, ...backlog, ...last].map((sample, n) =>
    n >= 4800 && n < 4800 + 43200 ? sample : sample / 2,
  );
  assert.deepEqual(transport.clean, expected.slice(0, -960)); // what comes last is not known yet
  const stats = posted.find((message) => message.type === "stats");
  assert.equal(stats?.type === "stats" && Math.round(10 * stats.stats.skipped), 9);
});
