/** The engine on a Sordino server, behind the same face as the one on this machine. */
import { Fifo } from "./fifo.js";
import { openStream, type SordinoStream, type StreamOptions, type StreamStats } from "./stream.js";
import type { Suppressor } from "./suppressor.js";

const IN_FLIGHT_SECONDS = 2;

export class RemoteSuppressor implements Suppressor {
  readonly latency: number;
  stats: StreamStats | null = null;
  onnoise: (noise: Float32Array) => void = () => {};
  private readonly sent = new Fifo(); // noisy samples whose clean ones are not here yet
  private readonly longest: number;
  private unanswered: number[] = []; // samples of each block
  private room: () => void = () => {};
  private failure?: Error;

  private constructor(
    private readonly stream: SordinoStream,
    private readonly rate: number,
  ) {
    this.latency = Math.ceil(stream.latency * rate);
    this.longest = Math.floor(rate / 2);
    stream.onstats = (stats) => (this.stats = stats);
    stream.onaudio = (clean) => this.receive(clean);
    stream.onclose = (error) => {
      this.failure = error;
      this.room();
    };
  }

  static async open(url: string, options: StreamOptions): Promise<RemoteSuppressor> {
    return new RemoteSuppressor(await openStream(url, options), options.rate);
  }

  get speech(): number | null {
    return this.stats?.speech ?? null;
  }

  async feed(block: Float32Array): Promise<void> {
    for (let at = 0; at < block.length; at += this.longest) {
      const part = block.slice(at, at + this.longest);
      await this.waitForRoom();
      this.sent.push(part);
      this.unanswered.push(part.length);
      this.stream.send(part);
    }
  }

  async flush(): Promise<void> {
    await this.stream.flush();
    this.unanswered = [];
  }

  close(): void {
    this.stream.close();
  }

  private async waitForRoom(): Promise<void> {
    for (;;) {
      if (this.failure) throw this.failure;
      const inFlight = this.unanswered.reduce((a, b) => a + b, 0);
      if (inFlight < IN_FLIGHT_SECONDS * this.rate) return;
      await new Promise<void>((resolve) => (this.room = resolve));
    }
  }

  private receive(clean: Float32Array): void {
    this.unanswered.shift();
    if (clean.length) {
      const noise = this.sent.take(clean.length);
      for (let n = 0; n < noise.length; n++) noise[n] -= clean[n];
      this.onnoise(noise);
    }
    this.room();
  }
}
