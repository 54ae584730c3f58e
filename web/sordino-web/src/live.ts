/** One live stream in the worker: link -> suppressor -> subtraction -> link. */
import { Fifo } from "./fifo.js";
import type { Link } from "./links.js";
import type { FromWorker, Stats } from "./messages.js";
import { RemoteSuppressor } from "./remote.js";
import type { Suppressor } from "./suppressor.js";

const STATS_SECONDS = 0.25;
const BACKLOG_SECONDS = 0.4; // with more than this to do, the engine lets sound pass
const CATCH_UP_SECONDS = 0.1;
const SILENCE_DBFS = -100;

const decibels = (power: number): number => Math.max(SILENCE_DBFS, 10 * Math.log10(power + 1e-12));

export class LiveStream {
  strength: number;
  private readonly noisy = new Fifo(); // samples whose noise is not known yet
  private used: number; // strength at the end of the block before
  private seconds = 0;
  private skipped = 0;
  private busy = 0;
  private count = 0;
  private noisyPower = 0;
  private cleanPower = 0;

  constructor(
    private readonly link: Link,
    private readonly suppressor: Suppressor,
    private readonly rate: number,
    strength: number,
    private readonly tap: boolean,
    private readonly post: (message: FromWorker, transfer?: Transferable[]) => void,
  ) {
    this.strength = this.used = strength;
    suppressor.onnoise = (noise) => this.emit(noise);
  }

  /** Run until the worker ends; throws if the engine fails. */
  async run(): Promise<never> {
    for (;;) {
      const block = await this.link.next();
      if (!block) {
        this.post({ type: "idle" });
        continue;
      }
      await this.take(block);
      if (this.count >= STATS_SECONDS * this.rate) this.report();
    }
  }

  private async take(block: Float32Array): Promise<void> {
    this.seconds += block.length / this.rate;
    this.noisy.push(block);
    let rest = block;
    if (block.length > BACKLOG_SECONDS * this.rate) {
      rest = block.subarray(block.length - CATCH_UP_SECONDS * this.rate);
      const passed = block.length - rest.length;
      this.skipped += passed / this.rate;
      this.emit(new Float32Array(passed));
    }
    const start = performance.now();
    await this.suppressor.feed(rest);
    this.busy += (performance.now() - start) / 1000;
  }

  private emit(noise: Float32Array): void {
    const noisy = this.noisy.take(noise.length);
    const clean = new Float32Array(noise.length);
    const step = (this.strength - this.used) / noise.length; // a change does not click
    for (let n = 0; n < clean.length; n++) {
      clean[n] = noisy[n] - (this.used + step * (n + 1)) * noise[n];
      this.noisyPower += noisy[n] ** 2;
      this.cleanPower += clean[n] ** 2;
    }
    this.used = this.strength;
    this.count += clean.length;
    this.link.send(clean);
    if (!this.tap) return;
    const copy = noise.slice();
    this.post({ type: "sound", noisy, noise: copy }, [noisy.buffer, copy.buffer]);
  }

  private report(): void {
    const { suppressor, link, rate, count } = this;
    const remote = suppressor instanceof RemoteSuppressor;
    const inputDbfs = decibels(this.noisyPower / count);
    const outputDbfs = decibels(this.cleanPower / count);
    const stats: Stats = {
      seconds: this.seconds,
      inputDbfs,
      outputDbfs,
      takenDb: inputDbfs - outputDbfs,
      speech: suppressor.speech,
      load: remote ? (suppressor.stats?.load ?? null) : this.busy / (count / rate),
      underruns: link.underruns,
      skipped: this.skipped,
      latency: link.delay / rate,
    };
    this.post({ type: "stats", stats });
    this.busy = this.count = this.noisyPower = this.cleanPower = 0;
  }
}
