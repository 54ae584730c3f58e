// src/buffers.ts
var RingBuffer = class _RingBuffer {
  constructor(memory) {
    this.memory = memory;
    this.header = new Int32Array(memory, 0, 8);
    this.samples = new Float32Array(memory, 32, _RingBuffer.CAPACITY);
  }
  memory;
  static CAPACITY = 1 << 16;
  // samples: 1.4 s at 48 kHz
  static BYTES = 32 + 4 * _RingBuffer.CAPACITY;
  header;
  samples;
  /** Samples written so far. */
  get written() {
    return Atomics.load(this.header, 0);
  }
  write(block) {
    const start = this.written;
    for (let n = 0; n < block.length; n++) {
      this.samples[start + n & _RingBuffer.CAPACITY - 1] = block[n];
    }
    Atomics.store(this.header, 0, start + block.length | 0);
  }
  /** Copy the samples from number `position` on, written or not, into `out`. */
  copy(position, out) {
    for (let n = 0; n < out.length; n++) {
      out[n] = this.samples[position + n & _RingBuffer.CAPACITY - 1];
    }
  }
  /** A counter in the header that travels along with the sound: UNDERRUNS, DELAY or BLOCKS. */
  counter(slot) {
    return Atomics.load(this.header, slot);
  }
  setCounter(slot, value) {
    Atomics.store(this.header, slot, value);
  }
  /** Increment a counter and wake the thread that waits for it. */
  notify(slot) {
    Atomics.add(this.header, slot, 1);
    Atomics.notify(this.header, slot);
  }
  /** Wait until a counter is no longer `seen`, `milliseconds` at the longest. */
  async changed(slot, seen, milliseconds) {
    if (Atomics.waitAsync) {
      const waiting = Atomics.waitAsync(this.header, slot, seen, milliseconds);
      if (waiting.async) await waiting.value;
    } else {
      await new Promise((resolve) => setTimeout(resolve, 4));
    }
  }
};
var UNDERRUNS = 1;
var DELAY = 2;
var BLOCKS = 3;

// src/worklet.ts
var STABLE_SECONDS = 3;
var SordinoProcessor = class extends AudioWorkletProcessor {
  hop;
  minDelay;
  maxDelay;
  shared;
  noisy;
  clean;
  silence = new Float32Array(8192);
  delay;
  worker;
  packet;
  packed = 0;
  unnotified = 0;
  started = false;
  // the first sample has come out
  late = false;
  moved = false;
  // the delay has changed
  lateSamples = 0;
  spare = Infinity;
  // least number of samples that were ready early
  stable = 0;
  last = 0;
  underruns = 0;
  open = true;
  constructor({ processorOptions }) {
    super();
    const { hop, delay, maxDelay, memory } = processorOptions;
    this.hop = hop;
    this.delay = this.minDelay = delay;
    this.maxDelay = maxDelay;
    this.shared = memory !== void 0;
    this.noisy = new RingBuffer(memory?.noisy ?? new ArrayBuffer(RingBuffer.BYTES));
    this.clean = new RingBuffer(memory?.clean ?? new ArrayBuffer(RingBuffer.BYTES));
    this.noisy.setCounter(DELAY, delay);
    this.packet = new Float32Array(hop);
    this.port.onmessage = ({ data, ports }) => {
      if (data === "close") this.open = false;
      this.worker = ports[0] ?? this.worker;
      if (ports[0]) ports[0].onmessage = (event) => this.clean.write(event.data);
    };
  }
  process(inputs, outputs) {
    if (!this.shared && !this.worker) return this.open;
    const out = outputs[0][0];
    const block = inputs[0][0] ?? this.silence.subarray(0, out.length);
    this.noisy.write(block);
    this.notify(block);
    const position = this.noisy.written - out.length - this.delay | 0;
    const ahead = this.clean.written - position - out.length | 0;
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
  join(out) {
    const jump = this.last - out[0];
    for (let n = 0; n < out.length; n++) out[n] += jump * (1 - n / out.length);
  }
  adapt(late, ahead, count) {
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
  move(delay) {
    this.moved = delay !== this.delay;
    this.delay = delay;
  }
  notify(block) {
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
  post() {
    const { packet: samples, underruns, delay } = this;
    this.worker?.postMessage({ samples, underruns, delay }, [samples.buffer]);
    this.packet = new Float32Array(this.hop);
    this.packed = 0;
  }
};
registerProcessor("sordino", SordinoProcessor);
