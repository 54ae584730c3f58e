/** The worker's side of the exchange with the audio thread. */
import { BLOCKS, DELAY, RingBuffer, SampleQueue, UNDERRUNS } from "./buffers.js";
import type { Packet } from "./worklet.js";

export interface Transport {
  /** Times that the audio thread found no clean samples. */
  readonly underruns: number;
  /** Samples from input to output. */
  readonly delay: number;
  /** Noisy samples, whole hops, as soon as there are some; null after a second without any. */
  receive(): Promise<Float32Array | null>;
  /** Hand over clean samples. */
  send(block: Float32Array): void;
}

const TIMEOUT_MS = 1000;

/** Through shared memory. */
export class SharedTransport implements Transport {
  private position = 0;

  constructor(
    private readonly noisy: RingBuffer,
    private readonly clean: RingBuffer,
    private readonly hop: number,
  ) {}

  get underruns(): number {
    return this.noisy.counter(UNDERRUNS);
  }

  get delay(): number {
    return this.noisy.counter(DELAY);
  }

  async receive(): Promise<Float32Array | null> {
    const deadline = performance.now() + TIMEOUT_MS;
    for (;;) {
      const blocks = this.noisy.counter(BLOCKS);
      const ready = (this.noisy.written - this.position) | 0;
      if (ready >= this.hop) {
        const block = new Float32Array(ready - (ready % this.hop));
        this.noisy.copy(this.position, block);
        this.position = (this.position + block.length) | 0;
        return block;
      }
      const left = deadline - performance.now();
      if (left <= 0) return null;
      await this.noisy.changed(BLOCKS, blocks, left);
    }
  }

  send(block: Float32Array): void {
    this.clean.write(block);
  }
}

/** Through messages, where memory cannot be shared. */
export class MessageTransport implements Transport {
  underruns = 0;
  delay = 0;
  private readonly received = new SampleQueue();
  private wake: () => void = () => {};

  constructor(private readonly port: MessagePort) {
    port.onmessage = ({ data }: MessageEvent<Packet>) => {
      this.received.push(data.samples);
      this.underruns = data.underruns;
      this.delay = data.delay;
      this.wake();
    };
  }

  async receive(): Promise<Float32Array | null> {
    if (!this.received.length) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, TIMEOUT_MS);
        this.wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    return this.received.length ? this.received.take(this.received.length) : null;
  }

  send(block: Float32Array): void {
    const samples = block.slice();
    this.port.postMessage(samples, [samples.buffer]);
  }
}
