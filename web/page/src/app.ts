/** What the page does: one take at a time, from a file or a microphone. */
import { denoise } from "sordino-web";

import type { Theme } from "./colours.js";
import { decode } from "./decode.js";
import { showLive, showRecording, showTaken } from "./figures.js";
import { Level } from "./level.js";
import { Live } from "./microphone.js";
import { clock, element, enable, say, setPhase } from "./page.js";
import { Player } from "./player.js";
import { engineOptions, type EngineName } from "./server.js";
import { decibels, gains, mixed, Samples, seconds, takenDb, type Mode, type Take } from "./sounds.js";
import { Spectrograms } from "./spectrograms.js";
import { wav } from "./wav.js";

const LONGEST_LIVE_SECONDS = 1200;
const METER_SECONDS = 0.05;
const LISTEN = 5; // seconds of a recording that are heard first

const STATES: Record<string, string> = {
  active: "You are live.",
  late: "You are live; this machine was too slow for a moment, and some noise came through.",
  idle: "The microphone gives no sound.",
  failed: "The engine has stopped, and noise comes through: ",
};

export class App {
  engine: EngineName = "device";
  /** Called when the microphone was switched on or off. */
  onspeaking: () => void = () => {};
  private readonly player = new Player();
  private readonly pictures: Spectrograms;
  private readonly levels = { noisy: new Level("noisy"), clean: new Level("clean") };
  private readonly timeline = element<HTMLInputElement>("timeline");
  private take?: Take;
  private live?: Live;
  private job?: AbortController;
  private running = false;
  private lastFrame = 0;

  constructor() {
    this.pictures = new Spectrograms(
      [element<HTMLCanvasElement>("before"), element<HTMLCanvasElement>("after")],
      [...document.querySelectorAll<HTMLElement>(".axis")],
    );
    this.player.onchange = () => this.showPlaying();
  }

  recolour(theme: Theme): void {
    this.pictures.recolour(theme);
  }

  /** Open what `bytes` gives: a file in any format that the browser reads. */
  async open(name: string, bytes: Promise<ArrayBuffer>): Promise<void> {
    await this.stop();
    this.player.pause();
    say(`Reading ${name} …`);
    let take: Take;
    try {
      take = await decode(name, await bytes);
    } catch (error) {
      say((error as Error).message, true);
      return;
    }
    this.take = take;
    this.pictures.show(take, false);
    await this.clean();
  }

  /** Take the noise out of the recording, with the engine that is chosen. */
  async clean(): Promise<void> {
    const { take } = this;
    if (!take || this.live) return;
    this.job?.abort();
    const job = (this.job = new AbortController());
    this.player.load(undefined);
    take.noise = [];
    setPhase("busy");
    this.allow(false);
    say(`Taking the noise out of ${take.name} ${this.where} …`);
    const bar = element<HTMLProgressElement>("progress");
    bar.hidden = false;
    const start = performance.now();
    try {
      const options = { ...(await engineOptions(this.engine)), signal: job.signal, listen: LISTEN };
      const noise: Samples[] = [];
      for (const channel of take.noisy) {
        const onprogress = (share: number): void => {
          bar.value = (noise.length + share) / take.noisy.length;
        };
        const noisy = channel.all();
        const clean = await denoise(noisy, take.rate, { ...options, onprogress });
        noise.push(new Samples(clean.map((sample, n) => noisy[n] - sample)));
      }
      take.noise = noise;
      this.ready((performance.now() - start) / 1000);
    } catch (error) {
      if (job.signal.aborted) return;
      say((error as Error).message, true);
    }
    bar.hidden = true;
  }

  /** Switch the microphone on. */
  async speak(device: string): Promise<void> {
    this.job?.abort();
    element("progress").hidden = true;
    this.player.load(undefined);
    say(`Starting ${this.where} …`);
    let live: Live;
    try {
      live = await Live.start(device, this.engine, this.player.strength);
    } catch (error) {
      say((error as Error).message, true);
      return;
    }
    const take: Take = {
      name: "microphone",
      rate: 48000,
      noisy: [new Samples()],
      noise: [new Samples()],
    };
    this.take = take;
    this.live = live;
    setPhase("live");
    enable("engine", false);
    enable("mode", false, "noise");
    this.apply();
    this.pictures.show(take, true);
    live.onsound = ({ noisy, noise }) => {
      take.noisy[0].append(noisy);
      take.noise[0].append(noise);
      if (seconds(take) > LONGEST_LIVE_SECONDS) void this.stop();
    };
    live.onstats = () => showLive(live.node.stats!, live.latency, this.engine);
    live.onstate = () => {
      const { state, error } = live.node;
      if (state in STATES) say(STATES[state] + (error?.message ?? ""), state === "failed");
    };
    live.onend = () => void this.stop();
    this.onspeaking();
    this.run();
  }

  get speaking(): boolean {
    return this.live !== undefined;
  }

  /** Switch the microphone off; what was said can be listened to. */
  async stop(): Promise<void> {
    const { live, take } = this;
    if (!live || !take) return;
    this.live = undefined;
    live.onsound = live.onstate = () => {};
    await live.stop();
    enable("engine", true);
    enable("mode", true);
    this.onspeaking();
    if (seconds(take) > 0.1) {
      this.pictures.show(take, false);
      this.ready();
    } else {
      setPhase("empty");
      say("Nothing was heard.");
    }
  }

  set mode(mode: Mode) {
    this.player.mode = mode;
    this.apply();
  }

  get mode(): Mode {
    return this.player.mode;
  }

  set strength(value: number) {
    this.player.strength = value;
    this.apply();
    this.pictures.refresh(value);
    if (this.take?.noise.length && !this.live) showTaken(takenDb(this.take, value));
  }

  set audible(value: boolean) {
    if (this.live) this.live.audible = value;
  }

  async toggle(): Promise<void> {
    if (this.player.playing) this.player.pause();
    else await this.player.play();
    this.run();
  }

  async seek(position: number): Promise<void> {
    if (this.live || !this.take?.noise.length) return;
    await this.player.seek(position);
    this.run();
  }

  get position(): number {
    return this.player.position;
  }

  get duration(): number {
    return this.take ? seconds(this.take) : 0;
  }

  /** Save the clean sound at the strength that is set. */
  download(): void {
    const { take } = this;
    if (!take?.noise.length) return;
    const share = gains("clean", this.player.strength);
    const channels = take.noisy.map((_, channel) => mixed(take, channel, share));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(wav(channels, take.rate));
    link.download = `${take.name.replace(/\.[^.]*$/, "")}-clean.wav`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }

  private get where(): string {
    return this.engine === "device" ? "on this device" : "on the server";
  }

  /** The take is whole; if it was denoised just now, in so many seconds. */
  private ready(took?: number): void {
    const take = this.take!;
    this.player.load(take);
    this.timeline.max = String(seconds(take));
    setPhase("ready");
    this.allow(true);
    this.pictures.refresh(this.player.strength);
    if (took) showRecording(takenDb(take, this.player.strength), seconds(take), took);
    else showTaken(takenDb(take, this.player.strength));
    say(`${take.name}: ${clock(seconds(take))}, cleaned ${this.where}.`);
    element("play").focus({ preventScroll: true });
    this.run();
  }

  private allow(listening: boolean): void {
    element<HTMLButtonElement>("play").disabled = !listening;
    element<HTMLButtonElement>("download").disabled = !listening;
    this.timeline.disabled = !listening;
  }

  private apply(): void {
    this.player.apply();
    if (this.live) this.live.node.strength = this.mode === "noisy" ? 0 : this.player.strength;
  }

  private showPlaying(): void {
    const button = element("play");
    button.dataset.playing = String(this.player.playing);
    button.ariaLabel = this.player.playing ? "Pause" : "Play";
  }

  /** Draw each frame of the screen while something moves. */
  private run(): void {
    if (this.running) return;
    this.running = true;
    this.lastFrame = performance.now();
    requestAnimationFrame((time) => this.frame(time));
  }

  private frame(time: number): void {
    const { take } = this;
    const moving = this.live !== undefined || this.player.playing;
    if (this.live) this.pictures.frame();
    if (take) {
      const position = this.live ? seconds(take) : this.player.position;
      this.showPosition(take, position);
      this.showLevels(take, position, time, moving);
    }
    this.lastFrame = time;
    this.running = moving;
    if (moving) requestAnimationFrame((next) => this.frame(next));
  }

  private showPosition(take: Take, position: number): void {
    const length = this.live ? "" : ` / ${clock(seconds(take))}`;
    element("clock").textContent = clock(position) + length;
    if (this.live) return;
    this.timeline.value = String(position);
    this.timeline.ariaValueText = `${clock(position)} of ${clock(seconds(take))}`;
    element("playhead").style.left = `${(100 * position) / seconds(take)}%`;
  }

  private showLevels(take: Take, position: number, time: number, moving: boolean): void {
    const end = Math.round(position * take.rate);
    const start = end - Math.round(METER_SECONDS * take.rate);
    const elapsed = time - this.lastFrame;
    for (const mode of ["noisy", "clean"] as const) {
      const share = gains(mode, this.player.strength);
      const level = moving ? decibels(mixed(take, 0, share, start, end)) : -100;
      this.levels[mode].show(level, time, moving ? elapsed : 10_000);
    }
  }
}
