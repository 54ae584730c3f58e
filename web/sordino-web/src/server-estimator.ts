/** The engine on a Sordino server, with the interface of the one on this device. */
import { SampleQueue } from "./buffers.js";
import type { NoiseEstimator } from "./noise-estimator.js";
import { openStream, type SordinoStream, type StreamOptions, type StreamStats } from "./stream.js";

const MAX_IN_FLIGHT_SECONDS = 2;

export class ServerEstimator implements NoiseEstimator {
  readonly latency: number;
  stats: StreamStats | null = null;
  onnoise: (noise: Float32Array) => void = () => {};
  private readonly sent = new SampleQueue(); // noisy samples whose clean ones are not here yet
  private readonly blockSize: number;
  private inFlight: number[] = []; // samples of each block without an answer
  private answered: () => void = () => {};
  private failure?: Error;

  private constructor(
    private readonly stream: SordinoStream,
    private readonly rate: number,
  ) {
    this.latency = Math.ceil(stream.latency * rate);
    this.blockSize = Math.floor(rate / 2);
    stream.onstats = (stats) => (this.stats = stats);
    stream.onaudio = (clean) => this.receive(clean);
    stream.onclose = (error) => {
      this.failure = error;
      this.answered();
    };
  }

  static async open(url: string, options: StreamOptions): Promise<ServerEstimator> {
    return new ServerEstimator(await openStream(url, options), options.rate);
  }

  get speech(): number | null {
    return this.stats?.speech ?? null;
  }

  get voice(): number | null {
    return this.stats?.voice ?? null;
  }

  get voiceMissing(): boolean {
    return this.stats?.voice_missing ?? false;
  }

  async feed(block: Float32Array): Promise<void> {
    for (let at = 0; at < block.length; at += this.blockSize) {
      const part = block.slice(at, at + this.blockSize);
      await this.waitForAnswers();
      this.sent.push(part);
      this.inFlight.push(part.length);
      this.stream.send(part);
    }
  }

  async flush(): Promise<void> {
    await this.stream.flush();
    this.inFlight = [];
  }

  private async waitForAnswers(): Promise<void> {
    for (;;) {
      if (this.failure) throw this.failure;
      const samples = this.inFlight.reduce((a, b) => a + b, 0);
      if (samples < MAX_IN_FLIGHT_SECONDS * this.rate) return;
      await new Promise<void>((resolve) => (this.answered = resolve));
    }
  }

  private receive(clean: Float32Array): void {
    this.inFlight.shift();
    if (clean.length) {
      const noise = this.sent.take(clean.length);
      for (let n = 0; n < noise.length; n++) noise[n] -= clean[n];
      this.onnoise(noise);
    }
    this.answered();
  }
}
