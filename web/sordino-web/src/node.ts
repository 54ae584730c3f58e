/** Live sound: an AudioNode, and a track for calls. */
import { workletUrl, type AssetOptions } from "./assets.js";
import { RingBuffer } from "./buffers.js";
import { EngineWorker, type EngineOptions } from "./engine-worker.js";
import {
  checkContext,
  checkCushion,
  checkStrength,
  checkTrack,
  explained,
  messageOf,
  SordinoError,
} from "./errors.js";
import type { FromWorker, Stats, TransportSource } from "./messages.js";
import { hop } from "./stft.js";
import type { ProcessorOptions } from "./worklet.js";

export interface NodeOptions extends EngineOptions {
  /** Share of the noise to remove, 0..1; all if left out. */
  strength?: number;
  /**
   * Seconds of buffering on top of the algorithm's 20 ms, 0 to 0.5: 0.02 on this device and 0.1 on
   * a server if left out. The buffer grows if that is too little.
   */
  cushion?: number;
  /** Dispatch "sound" events. */
  tap?: boolean;
}

/**
 * "active": clean sound; "late": clean samples come too late and noisy ones are played instead;
 * "idle": no sound comes in; "failed": the engine has ended, the sound passes unchanged;
 * "closed": `close()` was called.
 */
export type NodeState = "active" | "late" | "idle" | "failed" | "closed";

/** A block of sound as it went in, and the noise in it: clean = noisy - strength * noise. */
export interface Sound {
  noisy: Float32Array;
  noise: Float32Array;
}

const MAX_DELAY_SECONDS = 0.6;

/**
 * Removes the noise from the sound that flows through it; mono. Made by `createSordinoNode`.
 *
 * Events: "state" when `state` changes, "stats" four times a second, and with the option `tap`
 * "sound", a CustomEvent with `Sound` as its detail.
 */
export class SordinoNode extends AudioWorkletNode {
  /** Figures of the sound so far; null until there was some. */
  stats: Stats | null = null;
  /** Why the state is "failed", in words. */
  error: SordinoError | null = null;
  private currentState: NodeState = "idle";
  private currentStrength: number;

  /** Use `createSordinoNode`, which loads the engine first. */
  constructor(
    context: BaseAudioContext,
    private readonly engine: EngineWorker,
    options: NodeOptions,
  ) {
    const rate = context.sampleRate;
    const shared = globalThis.crossOriginIsolated;
    const buffer = () => new SharedArrayBuffer(RingBuffer.BYTES);
    const memory = shared ? { noisy: buffer(), clean: buffer() } : undefined;
    const { cushion = options.server ? 0.1 : 0.02, strength = 1, tap = false } = options;
    const processorOptions: ProcessorOptions = {
      hop: hop(rate),
      delay: Math.round((engine.latency + cushion) * rate),
      maxDelay: MAX_DELAY_SECONDS * rate,
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
    this.currentStrength = strength;
    engine.onmessage = (message) => this.receive(message);
    this.onprocessorerror = () => this.fail("the audio thread has failed");
    const transport: TransportSource = memory ? { memory } : { port: this.connectPort() };
    const transfer = "port" in transport ? [transport.port] : [];
    engine.send({ type: "live", transport, strength, tap }, transfer);
  }

  get state(): NodeState {
    return this.currentState;
  }

  /** Share of the noise that is removed, 0..1; may change while sound is running. */
  get strength(): number {
    return this.currentStrength;
  }

  set strength(value: number) {
    checkStrength(value);
    this.currentStrength = value;
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

  private receive(message: FromWorker): void {
    if (this.currentState === "closed") return;
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
      this.fail(message.message);
    }
  }

  private fail(message: string): void {
    this.error = new SordinoError(message);
    this.change("failed");
  }

  private change(state: NodeState): void {
    if (state === this.currentState) return;
    this.currentState = state;
    this.dispatchEvent(new Event("state"));
  }
}

const worklets = new WeakMap<BaseAudioContext, Promise<void>>();
const failures = new WeakMap<BaseAudioContext, number>();

/** Add the worklet to a context, once; if that fails, it can be tried again. */
async function loadWorklet(context: BaseAudioContext, options: AssetOptions): Promise<void> {
  const loading = worklets.get(context) ?? addModule(context, options);
  worklets.set(context, loading);
  try {
    await explained("the audio worklet cannot be loaded", loading);
  } catch (error) {
    if (worklets.get(context) === loading) {
      worklets.delete(context);
      failures.set(context, (failures.get(context) ?? 0) + 1);
    }
    throw error;
  }
}

/** Browsers remember an address that failed for the life of the context, so each try has its own. */
async function addModule(context: BaseAudioContext, options: AssetOptions): Promise<void> {
  const url = await workletUrl(options.workletUrl);
  const failed = failures.get(context);
  await context.audioWorklet.addModule(failed ? `${url}#${failed}` : url);
}

/**
 * Return an AudioNode that removes the noise from speech.
 *
 * @param context runs at 8, 16, 24 or 48 kHz: `new AudioContext({ sampleRate: 48000 })`.
 * @throws SordinoError the context or an option cannot be used, or the engine cannot be loaded.
 */
export async function createSordinoNode(
  context: BaseAudioContext,
  options: NodeOptions = {},
): Promise<SordinoNode> {
  checkContext(context);
  checkStrength(options.strength ?? 1);
  checkCushion(options.cushion ?? 0);
  await loadWorklet(context, options);
  const engine = await EngineWorker.open(options, context.sampleRate);
  try {
    return new SordinoNode(context, engine, options);
  } catch (error) {
    engine.close();
    throw new SordinoError(`the node cannot be made: ${messageOf(error)}`);
  }
}

/** A clean track, and the node that makes it. */
export type SuppressedTrack = MediaStreamTrack & { readonly sordino: SordinoNode };

/**
 * Return a clean track for a microphone's, to be sent with an RTCPeerConnection.
 *
 * It ends with the microphone's track; stopping it ends the engine and leaves the microphone on.
 *
 * @throws SordinoError the track or an option cannot be used, or the engine cannot be loaded; then
 *   no worker and no AudioContext stay behind.
 */
export async function suppress(
  track: MediaStreamTrack,
  options: NodeOptions = {},
): Promise<SuppressedTrack> {
  checkTrack(track);
  let context: AudioContext | undefined;
  let node: SordinoNode | undefined;
  try {
    context = new AudioContext({ sampleRate: 48000, latencyHint: "interactive" });
    node = await createSordinoNode(context, options);
    checkTrack(track); // it may have ended while the engine was loading
    return connect(track, node, context);
  } catch (error) {
    node?.close();
    await context?.close();
    if (error instanceof SordinoError) throw error;
    throw new SordinoError(`the track cannot be denoised: ${messageOf(error)}`);
  }
}

function connect(track: MediaStreamTrack, node: SordinoNode, context: AudioContext): SuppressedTrack {
  const source = context.createMediaStreamSource(new MediaStream([track]));
  const destination = new MediaStreamAudioDestinationNode(context, { channelCount: 1 });
  source.connect(node).connect(destination);
  void context.resume(); // some browsers start a context suspended
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
