/**
 * A ring of samples between two threads: one writes, one reads, nobody waits.
 *
 * Samples are addressed by their number since the start, so that a reader who comes late misses
 * some and is in place again with the next. Numbers wrap at 2^32; only differences are compared.
 * The memory is a SharedArrayBuffer, or an ArrayBuffer where one thread does both.
 */
export class Ring {
  static readonly CAPACITY = 1 << 16; // samples: 1.4 s at 48 kHz
  static readonly BYTES = 32 + 4 * Ring.CAPACITY;
  private readonly header: Int32Array<ArrayBufferLike>;
  private readonly samples: Float32Array<ArrayBufferLike>;

  constructor(readonly memory: ArrayBufferLike) {
    this.header = new Int32Array(memory, 0, 8);
    this.samples = new Float32Array(memory, 32, Ring.CAPACITY);
  }

  /** Samples written so far. */
  get written(): number {
    return Atomics.load(this.header, 0);
  }

  write(block: Float32Array): void {
    const start = this.written;
    for (let n = 0; n < block.length; n++) {
      this.samples[(start + n) & (Ring.CAPACITY - 1)] = block[n];
    }
    Atomics.store(this.header, 0, (start + block.length) | 0);
  }

  /** Copy the samples from number `position` on, written or not, into `out`. */
  copy(position: number, out: Float32Array): void {
    for (let n = 0; n < out.length; n++) {
      out[n] = this.samples[(position + n) & (Ring.CAPACITY - 1)];
    }
  }

  /** A number that travels along with the sound: 1 to 7. */
  note(slot: number): number {
    return Atomics.load(this.header, slot);
  }

  setNote(slot: number, value: number): void {
    Atomics.store(this.header, slot, value);
  }

  /** Wake the thread that waits for a change of the note. */
  ring(slot: number): void {
    Atomics.add(this.header, slot, 1);
    Atomics.notify(this.header, slot);
  }

  /** Wait until the note is no longer `seen`, at most for `milliseconds`. */
  async changed(slot: number, seen: number, milliseconds: number): Promise<void> {
    if (Atomics.waitAsync) {
      const waiting = Atomics.waitAsync(this.header, slot, seen, milliseconds);
      if (waiting.async) await waiting.value;
    } else {
      await new Promise((resolve) => setTimeout(resolve, 4));
    }
  }
}

/** Notes on the ring of noisy sound. */
export const UNDERRUNS = 1;
export const DELAY = 2;
export const BELL = 3;
