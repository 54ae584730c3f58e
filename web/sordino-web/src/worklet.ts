/**
 * The audio thread: moves samples into one ring buffer and out of another, and nothing else.
 *
 * Sound comes out a fixed delay after it went in. Where the clean samples are not there in time,
 * the noisy ones take their place, on the same position, and are counted; the delay then grows a
 * little, and shrinks again when there is time to spare.
 */
import { BLOCKS, DELAY, RingBuffer, UNDERRUNS } from "./buffers.js";

declare abstract class AudioWorkletProcessor {
  readonly port: MessagePort;
  constructor(options?: unknown);
}
declare function registerProcessor(name: string, processor: unknown): void;

export interface ProcessorOptions {
  /** Samples of 10 ms. */
  hop: number;
  /** Samples from input to output at the start. */
  delay: number;
  maxDelay: number;
  /** The ring buffers, if memory can be shared; else a port follows as a message. */
  memory?: { noisy: SharedArrayBuffer; clean: SharedArrayBuffer };
}

/** Message of the worklet where memory cannot be shared. */
export interface Packet {
  samples: Float32Array;
  underruns: number;
  delay: number;
}

const STABLE_SECONDS = 3;

class SordinoProcessor extends AudioWorkletProcessor {
  private readonly hop: number;
  private readonly minDelay: number;
  private readonly maxDelay: number;
  private readonly shared: boolean;
  private readonly noisy: RingBuffer;
  private readonly clean: RingBuffer;
  private readonly silence = new Float32Array(8192);
  private delay: number;
  private worker?: MessagePort;
  private packet: Float32Array;
  private packed = 0;
  private unnotified = 0;
  private started = false; // the first sample has come out
  private late = false;
  private moved = false; // the delay has changed
  private lateSamples = 0;
  private spare = Infinity; // least number of samples that were ready early
  private stable = 0;
  private last = 0;
  private underruns = 0;
  private open = true;

  constructor({ processorOptions }: { processorOptions: ProcessorOptions }) {
    super();
    const { hop, delay, maxDelay, memory } = processorOptions;
    this.hop = hop;
    this.delay = this.minDelay = delay;
    this.maxDelay = maxDelay;
    this.shared = memory !== undefined;
    this.noisy = new RingBuffer(memory?.noisy ?? new ArrayBuffer(RingBuffer.BYTES));
    this.clean = new RingBuffer(memory?.clean ?? new ArrayBuffer(RingBuffer.BYTES));
    this.noisy.setCounter(DELAY, delay);
    this.packet = new Float32Array(hop);
    this.port.onmessage = ({ data, ports }) => {
      if (data === "close") this.open = false;
      this.worker = ports[0] ?? this.worker;
      if (ports[0]) ports[0].onmessage = (event) => this.clean.write(event.data as Float32Array);
    };
  }

  process(inputs: Float32Array[][], outputs: Float32Array[][]): boolean {
    if (!this.shared && !this.worker) return this.open; // no engine yet
    const out = outputs[0][0];
    const block = inputs[0][0] ?? this.silence.subarray(0, out.length);
    this.noisy.write(block);
    this.notify(block);
    const position = (this.noisy.written - out.length - this.delay) | 0;
    const ahead = (this.clean.written - position - out.length) | 0;
    const late = ahead < 0;
    (late ? this.noisy : this.clean).copy(position, out);
    if (late !== this.late || this.moved) this.join(out);
    this.moved = false;
    this.started ||= position >= 0;
    this.adapt(late, ahead, out.length);
    this.last = out[out.length - 1];
    return this.open;
  }

  /** Let a jump, between clean and noisy sound or in time, fade over the block. */
  private join(out: Float32Array): void {
    const jump = this.last - out[0];
    for (let n = 0; n < out.length; n++) out[n] += jump * (1 - n / out.length);
  }

  private adapt(late: boolean, ahead: number, count: number): void {
    if (late && this.started) {
      if (!this.late) this.underruns++;
      this.lateSamples += count;
      this.stable = 0;
      this.spare = Infinity;
      if (this.lateSamples >= this.hop) {
        this.lateSamples = 0;
        this.move(Math.min(this.delay + this.hop, this.maxDelay));
      }
    } else {
      this.stable += count;
      this.spare = Math.min(this.spare, ahead);
      if (this.stable >= STABLE_SECONDS * 100 * this.hop) {
        if (this.spare >= 3 * this.hop) this.move(Math.max(this.delay - this.hop, this.minDelay));
        this.stable = 0;
        this.spare = Infinity;
      }
    }
    this.late = late && this.started;
    this.noisy.setCounter(UNDERRUNS, this.underruns);
    this.noisy.setCounter(DELAY, this.delay);
  }

  private move(delay: number): void {
    this.moved = delay !== this.delay;
    this.delay = delay;
  }

  private notify(block: Float32Array): void {
    if (this.shared) {
      this.unnotified += block.length;
      if (this.unnotified < this.hop) return;
      this.unnotified -= this.hop;
      this.noisy.notify(BLOCKS);
      return;
    }
    for (let at = 0; at < block.length; ) {
      const part = block.subarray(at, at + this.hop - this.packed);
      this.packet.set(part, this.packed);
      this.packed += part.length;
      at += part.length;
      if (this.packed === this.hop) this.post();
    }
  }

  private post(): void {
    const { packet: samples, underruns, delay } = this;
    this.worker?.postMessage({ samples, underruns, delay } satisfies Packet, [samples.buffer]);
    this.packet = new Float32Array(this.hop);
    this.packed = 0;
  }
}

registerProcessor("sordino", SordinoProcessor);
