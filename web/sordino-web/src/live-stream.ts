/** One live stream in the worker: transport -> noise estimator -> subtraction -> transport. */
import { SampleQueue } from "./buffers.js";
import { LiveNoiseMeter, powerDb } from "./levels.js";
import type { FromWorker, Stats } from "./messages.js";
import type { NoiseEstimator } from "./noise-estimator.js";
import { ServerEstimator } from "./server-estimator.js";
import type { Transport } from "./transport.js";

const STATS_SECONDS = 0.25;
const BACKLOG_SECONDS = 0.4; // beyond this, the engine leaves sound out
const CATCH_UP_SECONDS = 0.1;

export class LiveStream {
  strength: number;
  private readonly noisy = new SampleQueue(); // samples whose noise is not estimated yet
  private readonly meter: LiveNoiseMeter;
  private readonly gaps: { pending: number; length: number }[] = []; // length after so many more
  private appliedStrength: number; // at the end of the block before
  private seconds = 0;
  private skipped = 0;
  private busy = 0;
  private count = 0;
  private noisyPower = 0;
  private cleanPower = 0;

  constructor(
    private readonly transport: Transport,
    private readonly estimator: NoiseEstimator,
    private readonly rate: number,
    strength: number,
    private readonly tap: boolean,
    private readonly post: (message: FromWorker, transfer?: Transferable[]) => void,
  ) {
    this.strength = this.appliedStrength = strength;
    this.meter = new LiveNoiseMeter(rate);
    estimator.onnoise = (noise) => this.receive(noise);
  }

  /** Run until the worker ends; throws if the engine fails. */
  async run(): Promise<never> {
    for (;;) {
      const block = await this.transport.receive();
      if (!block) {
        this.post({ type: "idle" });
        continue;
      }
      await this.process(block);
      if (this.count >= STATS_SECONDS * this.rate) this.report();
    }
  }

  private async process(block: Float32Array): Promise<void> {
    this.seconds += block.length / this.rate;
    const earlier = this.gaps.reduce((sum, gap) => sum + gap.pending + gap.length, 0);
    const pending = this.noisy.length - earlier;
    this.noisy.push(block);
    let rest = block;
    if (block.length > BACKLOG_SECONDS * this.rate) {
      rest = block.subarray(block.length - CATCH_UP_SECONDS * this.rate);
      const length = block.length - rest.length;
      this.skipped += length / this.rate;
      this.gaps.push({ pending, length });
    }
    const start = performance.now();
    await this.estimator.feed(rest);
    this.busy += (performance.now() - start) / 1000;
  }

  /** Put the gaps, in which nothing was estimated, back to where they were in the sound. */
  private receive(noise: Float32Array): void {
    let rest = noise;
    for (let gap; (gap = this.gaps[0]) && gap.pending <= rest.length; this.gaps.shift()) {
      this.emit(rest.subarray(0, gap.pending));
      this.emit(new Float32Array(gap.length));
      rest = rest.subarray(gap.pending);
    }
    if (this.gaps.length) this.gaps[0].pending -= rest.length;
    this.emit(rest);
  }

  private emit(noise: Float32Array): void {
    if (!noise.length) return;
    const noisy = this.noisy.take(noise.length);
    const clean = new Float32Array(noise.length);
    const step = (this.strength - this.appliedStrength) / noise.length; // a change does not click
    for (let n = 0; n < clean.length; n++) {
      clean[n] = noisy[n] - (this.appliedStrength + step * (n + 1)) * noise[n];
      this.noisyPower += noisy[n] ** 2;
      this.cleanPower += clean[n] ** 2;
    }
    this.appliedStrength = this.strength;
    this.count += clean.length;
    this.meter.feed(noisy, clean);
    this.transport.send(clean);
    if (!this.tap) return;
    const copy = noise.slice();
    this.post({ type: "sound", noisy, noise: copy }, [noisy.buffer, copy.buffer]);
  }

  private report(): void {
    const { estimator, transport, rate, count } = this;
    const remote = estimator instanceof ServerEstimator;
    const stats: Stats = {
      seconds: this.seconds,
      inputDbfs: powerDb(this.noisyPower / count),
      outputDbfs: powerDb(this.cleanPower / count),
      takenDb: this.meter.removedDb,
      speech: estimator.speech,
      voice: estimator.voice,
      voiceMissing: estimator.voiceMissing,
      load: remote ? (estimator.stats?.load ?? null) : this.busy / (count / rate),
      underruns: transport.underruns,
      skipped: this.skipped,
      latency: transport.delay / rate,
    };
    this.post({ type: "stats", stats });
    this.busy = this.count = this.noisyPower = this.cleanPower = 0;
  }
}
