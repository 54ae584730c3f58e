/** The client of a Sordino server's `WS /v1/stream`: blocks of sound out, clean blocks back. */
import { messageOf, SordinoError } from "./errors.js";
import { FALLBACK_SECONDS, voiceTexts, type VoiceOptions } from "./voice.js";

export interface StreamOptions extends VoiceOptions {
  /** Sample rate in Hz, 8000 to 48000. */
  rate: number;
  /** Interleaved channels; 1 if left out. */
  channels?: number;
  /** Share of the noise to remove, 0..1; all if left out. */
  strength?: number;
  /** Name of a model that the server has. */
  model?: string;
  /** The server's token, if it wants one. */
  token?: string | null;
}

/** Figures that the server sends each second. */
export interface StreamStats {
  seconds: number;
  speech: number | null;
  /** Probability that an enrolled voice speaks; null without one. */
  voice?: number | null;
  /** Whether people speak, and no enrolled voice has been heard for some seconds. */
  voice_missing?: boolean;
  strength: number;
  input_dbfs: number | null;
  output_dbfs: number | null;
  /** Milliseconds from a block's arrival to its answer. */
  p50_ms: number | null;
  p99_ms: number | null;
  /** Share of the server's processors in use. */
  load: number | null;
}

/** A live stream; made by `openStream`. */
export class SordinoStream {
  /** Called with each answer: float32 samples, maybe none; one for each block sent. */
  onaudio: (samples: Float32Array) => void = () => {};
  onstats: (stats: StreamStats) => void = () => {};
  /** Called once when the stream has ended; with an error unless it was closed here. */
  onclose: (error?: SordinoError) => void = () => {};
  /** Algorithmic latency in seconds. */
  latency = 0;
  private closed = false;
  private failure?: SordinoError;
  private pending?: { type: string; resolve: () => void; reject: (error: SordinoError) => void };

  constructor(private readonly socket: WebSocket) {
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => {
      if (typeof data === "string") this.control(data);
      else this.onaudio(new Float32Array(data as ArrayBuffer));
    };
    socket.onclose = ({ code }) => this.end(code);
  }

  /** Bytes that are still waiting to be sent. */
  get bufferedAmount(): number {
    return this.socket.bufferedAmount;
  }

  /** Send a block of float32 samples at full scale +-1, at most one second. */
  send(block: Float32Array): void {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(block.slice());
  }

  /** Change the strength from the next frame on. */
  setStrength(value: number): void {
    if (this.socket.readyState !== WebSocket.OPEN) return;
    this.socket.send(JSON.stringify({ type: "strength", value }));
  }

  /** The sound has ended; resolves when the last samples have come. */
  flush(): Promise<void> {
    if (this.socket.readyState !== WebSocket.OPEN) {
      return Promise.reject(this.failure ?? new SordinoError("the connection to the server is closed"));
    }
    this.socket.send(JSON.stringify({ type: "flush" }));
    return this.answer("flushed");
  }

  close(): void {
    this.closed = true;
    this.socket.close(1000);
  }

  /** Send the hello message; resolves when the server is ready. */
  greet(options: StreamOptions): Promise<void> {
    const { rate, channels = 1, strength = 1, model = "default", token = null } = options;
    const hello = { type: "hello", rate, format: "f32", channels, strength, model, token };
    const voice = voiceTexts(options);
    const { others = null, voiceFallback = FALLBACK_SECONDS } = options;
    // Servers of an earlier version refuse fields that they do not know.
    const voices = voice.length ? { voice, others, voice_fallback: voiceFallback } : {};
    this.socket.send(JSON.stringify({ ...hello, ...voices }));
    return this.answer("ready");
  }

  private answer(type: string): Promise<void> {
    return new Promise((resolve, reject) => (this.pending = { type, resolve, reject }));
  }

  private control(text: string): void {
    let message: { type: string } & Record<string, unknown>;
    try {
      message = JSON.parse(text);
    } catch {
      this.failure = new SordinoError("the answer is not that of a Sordino server");
      this.socket.close();
      return;
    }
    if (message.type === "ready") this.latency = message.latency as number;
    if (message.type === this.pending?.type) {
      this.pending.resolve();
      this.pending = undefined;
    } else if (message.type === "stats") {
      this.onstats(message as unknown as StreamStats);
    } else if (message.type === "error") {
      this.failure = new SordinoError(`the server says: ${message.message as string}`);
    }
  }

  private end(code: number): void {
    if (!this.closed) this.failure ??= new SordinoError(reason(code));
    this.pending?.reject(this.failure ?? new SordinoError("the stream was closed"));
    this.pending = undefined;
    this.onclose(this.closed ? undefined : this.failure);
  }
}

function reason(code: number): string {
  if (code === 1012) return "the server is shutting down: connect again in a moment";
  return `the connection to the server was lost (${code})`;
}

/**
 * Open a stream.
 *
 * @param url the server's `/v1/stream`: `ws:`, `wss:`, `http:`, `https:`, or relative to the page.
 * @throws SordinoError the server cannot be reached, or refuses.
 */
export async function openStream(url: string, options: StreamOptions): Promise<SordinoStream> {
  let socket: WebSocket;
  try {
    socket = new WebSocket(new URL(url, location.href).href.replace(/^http/, "ws"));
  } catch (error) {
    throw new SordinoError(`${url} is not the address of a stream: ${messageOf(error)}`);
  }
  await new Promise<void>((resolve, reject) => {
    socket.onopen = () => resolve();
    socket.onclose = () =>
      reject(new SordinoError("the server cannot be reached, or has no room for a stream now"));
  });
  const stream = new SordinoStream(socket);
  try {
    await stream.greet(options);
  } catch (error) {
    stream.close();
    throw error;
  }
  return stream;
}
