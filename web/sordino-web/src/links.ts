/** The worker's end of the way to and from the audio thread. */
import { Fifo } from "./fifo.js";
import { BELL, DELAY, Ring, UNDERRUNS } from "./ring.js";
import type { Packet } from "./worklet.js";

export interface Link {
  /** Times that the audio thread found no clean samples. */
  readonly underruns: number;
  /** Samples from input to output. */
  readonly delay: number;
  /** Noisy samples, whole hops, as soon as there are some; null after a second of none. */
  next(): Promise<Float32Array | null>;
  /** Hand over clean samples. */
  send(block: Float32Array): void;
}

const PATIENCE = 1000; // milliseconds

/** Through shared memory. */
export class SharedLink implements Link {
  private position = 0;

  constructor(
    private readonly noisy: Ring,
    private readonly clean: Ring,
    private readonly hop: number,
  ) {}

  get underruns(): number {
    return this.noisy.note(UNDERRUNS);
  }

  get delay(): number {
    return this.noisy.note(DELAY);
  }

  async next(): Promise<Float32Array | null> {
    const deadline = performance.now() + PATIENCE;
    for (;;) {
      const bell = this.noisy.note(BELL);
      const ready = (this.noisy.written - this.position) | 0;
      if (ready >= this.hop) {
        const block = new Float32Array(ready - (ready % this.hop));
        this.noisy.copy(this.position, block);
        this.position = (this.position + block.length) | 0;
        return block;
      }
      const left = deadline - performance.now();
      if (left <= 0) return null;
      await this.noisy.changed(BELL, bell, left);
    }
  }

  send(block: Float32Array): void {
    this.clean.write(block);
  }
}

/** Through messages, where memory cannot be shared. */
export class MessageLink implements Link {
  underruns = 0;
  delay = 0;
  private readonly waiting = new Fifo();
  private wake: () => void = () => {};

  constructor(private readonly port: MessagePort) {
    port.onmessage = ({ data }: MessageEvent<Packet>) => {
      this.waiting.push(data.samples);
      this.underruns = data.underruns;
      this.delay = data.delay;
      this.wake();
    };
  }

  async next(): Promise<Float32Array | null> {
    if (!this.waiting.length) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, PATIENCE);
        this.wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    return this.waiting.length ? this.waiting.take(this.waiting.length) : null;
  }

  send(block: Float32Array): void {
    const samples = block.slice();
    this.port.postMessage(samples, [samples.buffer]);
  }
}
