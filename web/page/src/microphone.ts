/** Live sound: microphone -> Sordino -> the page, and the ears of those who wear headphones. */
import { createSordinoNode, type SordinoNode, type Sound } from "sordino-web";

import { engineOptions, type EngineName } from "./server.js";

/** The microphones there are; without names before the first permission. */
export async function microphones(): Promise<MediaDeviceInfo[]> {
  const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  return devices.filter((device) => device.kind === "audioinput" && device.deviceId);
}

function inWords(error: unknown): Error {
  const name = error instanceof DOMException ? error.name : "";
  if (name === "NotAllowedError") return new Error("The browser was not allowed to use a microphone.");
  if (name === "NotFoundError") return new Error("There is no microphone.");
  if (name === "NotReadableError") return new Error("Another program keeps the microphone.");
  return error instanceof Error ? error : new Error(String(error));
}

/** A microphone that is on. */
export class Live {
  onsound: (sound: Sound) => void = () => {};
  onstats: () => void = () => {};
  onstate: () => void = () => {};
  /** The microphone has gone. */
  onend: () => void = () => {};

  private constructor(
    readonly node: SordinoNode,
    private readonly context: AudioContext,
    private readonly stream: MediaStream,
    private readonly monitor: GainNode,
  ) {
    node.addEventListener("sound", (event) => this.onsound((event as CustomEvent<Sound>).detail));
    node.addEventListener("stats", () => this.onstats());
    node.addEventListener("state", () => this.onstate());
    stream.getAudioTracks()[0].addEventListener("ended", () => this.onend());
  }

  /** Switch a microphone on; the first one there is if `device` is empty. */
  static async start(
    device: string,
    engine: EngineName,
    strength: number,
    voice: string | null,
  ): Promise<Live> {
    if (!navigator.mediaDevices) {
      throw new Error("A microphone needs https, or http on this very machine.");
    }
    // The browser's own processing would take noise away before Sordino hears it.
    const audio: MediaTrackConstraints = {
      deviceId: device ? { exact: device } : undefined,
      channelCount: 1,
      echoCancellation: false,
      noiseSuppression: false,
      autoGainControl: false,
    };
    const context = new AudioContext({ sampleRate: 48000, latencyHint: "interactive" });
    let stream: MediaStream | undefined;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio });
      const options = { ...(await engineOptions(engine, voice)), strength, tap: true };
      const node = await createSordinoNode(context, options);
      const monitor = new GainNode(context, { gain: 0 });
      context.createMediaStreamSource(stream).connect(node).connect(monitor);
      monitor.connect(context.destination);
      await context.resume();
      return new Live(node, context, stream, monitor);
    } catch (error) {
      stream?.getTracks().forEach((track) => track.stop());
      await context.close();
      throw inWords(error);
    }
  }

  /** Name of the microphone. */
  get name(): string {
    return this.stream.getAudioTracks()[0].label;
  }

  /** From the mouth to the ear, as far as the browser tells, in seconds. */
  get latency(): number {
    const { baseLatency = 0, outputLatency = 0 } = this.context;
    return (this.node.stats?.latency ?? 0) + baseLatency + outputLatency;
  }

  /** Play the clean sound to the person who speaks. */
  set audible(value: boolean) {
    this.monitor.gain.setTargetAtTime(value ? 1 : 0, this.context.currentTime, 0.01);
  }

  async stop(): Promise<void> {
    this.stream.getTracks().forEach((track) => track.stop());
    this.node.close();
    await this.context.close();
  }
}
