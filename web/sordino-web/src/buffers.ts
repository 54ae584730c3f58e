/** Buffers of samples: a ring between two threads, and a queue within one. */

/**
 * A ring buffer of samples between two threads: one writes, one reads, neither waits.
 *
 * Samples are addressed by their number since the start, so that a reader who comes late misses
 * some and is in place again with the next. Numbers wrap at 2^32; only differences are compared.
 * The memory is a SharedArrayBuffer, or an ArrayBuffer where one thread does both.
 */
export class RingBuffer {
  static readonly CAPACITY = 1 << 16; // samples: 1.4 s at 48 kHz
  static readonly BYTES = 32 + 4 * RingBuffer.CAPACITY;
  private readonly header: Int32Array<ArrayBufferLike>;
  private readonly samples: Float32Array<ArrayBufferLike>;

  constructor(readonly memory: ArrayBufferLike) {
    this.header = new Int32Array(memory, 0, 8);
    this.samples = new Float32Array(memory, 32, RingBuffer.CAPACITY);
  }

  /** Samples written so far. */
  get written(): number {
    return Atomics.load(this.header, 0);
  }

  write(block: Float32Array): void {
    const start = this.written;
    for (let n = 0; n < block.length; n++) {
      this.samples[(start + n) & (RingBuffer.CAPACITY - 1)] = block[n];
    }
    Atomics.store(this.header, 0, (start + block.length) | 0);
  }

  /** Copy the samples from number `position` on, written or not, into `out`. */
  copy(position: number, out: Float32Array): void {
    for (let n = 0; n < out.length; n++) {
      out[n] = this.samples[(position + n) & (RingBuffer.CAPACITY - 1)];
    }
  }

  /** A counter in the header that travels along with the sound: UNDERRUNS, DELAY or BLOCKS. */
  counter(slot: number): number {
    return Atomics.load(this.header, slot);
  }

  setCounter(slot: number, value: number): void {
    Atomics.store(this.header, slot, value);
  }

  /** Increment a counter and wake the thread that waits for it. */
  notify(slot: number): void {
    Atomics.add(this.header, slot, 1);
    Atomics.notify(this.header, slot);
  }

  /** Wait until a counter is no longer `seen`, `milliseconds` at the longest. */
  async changed(slot: number, seen: number, milliseconds: number): Promise<void> {
    if (Atomics.waitAsync) {
      const waiting = Atomics.waitAsync(this.header, slot, seen, milliseconds);
      if (waiting.async) await waiting.value;
    } else {
      await new Promise((resolve) => setTimeout(resolve, 4));
    }
  }
}

/** Counters of the ring buffer of noisy sound. */
export const UNDERRUNS = 1;
export const DELAY = 2; // samples from input to output
export const BLOCKS = 3; // hops written

/** A queue of samples: first in, first out. */
export class SampleQueue {
  private blocks: Float32Array[] = [];
  length = 0;

  push(block: Float32Array): void {
    this.blocks.push(block);
    this.length += block.length;
  }

  /** Take up to `count` samples. */
  take(count: number): Float32Array {
    const out = new Float32Array(Math.min(count, this.length));
    for (let at = 0; at < out.length; ) {
      const block = this.blocks[0];
      const part = block.subarray(0, out.length - at);
      out.set(part, at);
      at += part.length;
      if (part.length === block.length) this.blocks.shift();
      else this.blocks[0] = block.subarray(part.length);
    }
    this.length -= out.length;
    return out;
  }
}
