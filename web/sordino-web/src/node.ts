/** Live sound: an AudioNode, and a track for calls. */
import { EngineWorker, type EngineOptions } from "./engine.js";
import { SordinoError } from "./errors.js";
import type { FromWorker, Stats, Way } from "./messages.js";
import { checkStrength } from "./offline.js";
import { Ring } from "./ring.js";
import { hop, NATIVE_RATES } from "./spectrum.js";
import type { ProcessorOptions } from "./worklet.js";

export interface NodeOptions extends EngineOptions {
  /** Share of the noise to take away, 0..1; all if left out. */
  strength?: number;
  /**
   * Seconds between the end of the engine's 20 ms and the sound's coming out, for the machine to
   * work in: 0.02 on this device and 0.1 on a server if left out. It grows if it is too little.
   */
  cushion?: number;
  /** Give "sound" events. */
  tap?: boolean;
}

/**
 * "active": clean sound; "late": clean samples come too late, noisy ones are heard instead;
 * "idle": no sound comes in; "failed": the engine has ended, the sound passes as it is;
 * "closed": `close()` was called.
 */
export type NodeState = "active" | "late" | "idle" | "failed" | "closed";

/** A block of sound as it went in, and the noise in it: clean = noisy - strength * noise. */
export interface Sound {
  noisy: Float32Array;
  noise: Float32Array;
}

const LONGEST_DELAY_SECONDS = 0.6;

/**
 * Takes the noise out of what flows through it; mono. Made by `createSordinoNode`.
 *
 * Events: "state" when `state` changes, "stats" four times a second, and "sound" (a CustomEvent
 * with `Sound` as its detail) if asked for.
 */
export class SordinoNode extends AudioWorkletNode {
  /** How much sound has come through and how well; null until there was some. */
  stats: Stats | null = null;
  /** Why the state is "failed", in words. */
  error: SordinoError | null = null;
  private now: NodeState = "idle";
  private taken: number;

  /** Use `createSordinoNode`, which loads what is needed first. */
  constructor(
    context: BaseAudioContext,
    private readonly engine: EngineWorker,
    options: NodeOptions,
  ) {
    const rate = context.sampleRate;
    const shared = globalThis.crossOriginIsolated;
    const ring = () => new SharedArrayBuffer(Ring.BYTES);
    const memory = shared ? { noisy: ring(), clean: ring() } : undefined;
    const { cushion = options.server ? 0.1 : 0.02, strength = 1, tap = false } = options;
    const processorOptions: ProcessorOptions = {
      hop: hop(rate),
      delay: Math.round((engine.latency + cushion) * rate),
      longestDelay: LONGEST_DELAY_SECONDS * rate,
      memory,
    };
    super(context, "sordino", {
      numberOfInputs: 1,
      numberOfOutputs: 1,
      outputChannelCount: [1],
      channelCount: 1,
      channelCountMode: "explicit",
      processorOptions,
    });
    this.taken = strength;
    engine.onmessage = (message) => this.hear(message);
    const way: Way = memory ? { memory } : { port: this.connectPort() };
    engine.send({ type: "live", way, strength, tap }, "port" in way ? [way.port] : []);
  }

  get state(): NodeState {
    return this.now;
  }

  /** Share of the noise that is taken away, 0..1; may change while sound is running. */
  get strength(): number {
    return this.taken;
  }

  set strength(value: number) {
    const wrong = checkStrength(value);
    if (wrong) throw new SordinoError(wrong);
    this.taken = value;
    this.engine.send({ type: "strength", value });
  }

  /** End the engine; the node is silent from then on. */
  close(): void {
    this.engine.close();
    this.port.postMessage("close");
    this.disconnect();
    this.change("closed");
  }

  private connectPort(): MessagePort {
    const { port1, port2 } = new MessageChannel();
    this.port.postMessage("port", [port2]);
    return port1;
  }

  private hear(message: FromWorker): void {
    if (this.now === "closed") return;
    if (message.type === "sound") {
      this.dispatchEvent(new CustomEvent<Sound>("sound", { detail: message }));
    } else if (message.type === "stats") {
      const late = message.stats.underruns > (this.stats?.underruns ?? 0);
      this.stats = message.stats;
      this.change(late ? "late" : "active");
      this.dispatchEvent(new Event("stats"));
    } else if (message.type === "idle") {
      this.change("idle");
    } else if (message.type === "failed") {
      this.error = new SordinoError(message.message);
      this.change("failed");
    }
  }

  private change(state: NodeState): void {
    if (state === this.now) return;
    this.now = state;
    this.dispatchEvent(new Event("state"));
  }
}

const prepared = new WeakMap<BaseAudioContext, Promise<void>>();

/**
 * Return an AudioNode that takes the noise out of speech.
 *
 * @param context runs at 8, 16, 24 or 48 kHz: `new AudioContext({ sampleRate: 48000 })`.
 * @throws SordinoError the context has another rate, or the engine cannot be loaded.
 */
export async function createSordinoNode(
  context: BaseAudioContext,
  options: NodeOptions = {},
): Promise<SordinoNode> {
  const wrong = checkStrength(options.strength ?? 1);
  if (wrong) throw new SordinoError(wrong);
  if (!NATIVE_RATES.includes(context.sampleRate)) {
    throw new SordinoError(
      `the AudioContext runs at ${context.sampleRate} Hz: ` +
        "make it with new AudioContext({ sampleRate: 48000 })",
    );
  }
  if (!context.audioWorklet) {
    throw new SordinoError("the browser gives no AudioWorklet here: serve the page over https");
  }
  if (!prepared.has(context)) {
    prepared.set(context, context.audioWorklet.addModule(new URL("./worklet.js", import.meta.url)));
  }
  await prepared.get(context);
  const engine = await EngineWorker.open(options, context.sampleRate);
  return new SordinoNode(context, engine, options);
}

/** A clean track, and the node that makes it. */
export type SuppressedTrack = MediaStreamTrack & { readonly sordino: SordinoNode };

/**
 * Return a clean track for a microphone's, to be sent with an RTCPeerConnection.
 *
 * It ends with the microphone's track; stopping it ends the engine and leaves the microphone on.
 */
export async function suppress(
  track: MediaStreamTrack,
  options: NodeOptions = {},
): Promise<SuppressedTrack> {
  const context = new AudioContext({ sampleRate: 48000, latencyHint: "interactive" });
  let node: SordinoNode;
  try {
    node = await createSordinoNode(context, options);
  } catch (error) {
    await context.close();
    throw error;
  }
  const source = context.createMediaStreamSource(new MediaStream([track]));
  const destination = new MediaStreamAudioDestinationNode(context, { channelCount: 1 });
  source.connect(node).connect(destination);
  void context.resume(); // some browsers start a context asleep
  const clean = destination.stream.getAudioTracks()[0];
  const stop = clean.stop.bind(clean);
  clean.stop = () => {
    if (node.state === "closed") return;
    stop();
    node.close();
    void context.close();
  };
  track.addEventListener("ended", () => {
    clean.stop();
    clean.dispatchEvent(new Event("ended"));
  });
  return Object.assign(clean, { sordino: node });
}
