/** What the page does: recordings from files, and live sound from a microphone. */
import { denoise } from "sordino-web";

import type { Theme } from "./colours.js";
import { decode } from "./decode.js";
import { clearFigures, showLive, showRecording, showRemoved } from "./figures.js";
import { Live } from "./microphone.js";
import { clock, element, enable, say, setPhase } from "./page.js";
import { Player } from "./player.js";
import { denoiseOnServer, engineOptions, type EngineName } from "./server.js";
import { gains, mixed, newTake, removedDb, Samples, seconds, type Mode, type Take } from "./sounds.js";
import { Spectrograms } from "./spectrograms.js";
import { TakeList } from "./take-list.js";
import { Timeline } from "./timeline.js";
import { chosenVoice } from "./voice.js";
import { save } from "./wav.js";

const MAX_LIVE_SECONDS = 1200;
const WARM_UP_SECONDS = 5;

const STATES: Record<string, string> = {
  active: "You are live.",
  late: "You are live; this machine was too slow for a moment, and some noise came through.",
  idle: "The microphone gives no sound.",
  failed: "The engine has stopped, and noise comes through: ",
};

const VOICE_MISSING =
  "People speak, but your voice is not heard: everybody is kept until it is.";

/** A file that was chosen: its name and how to read it. */
export interface Source {
  name: string;
  read: () => Promise<ArrayBuffer>;
}

export class App {
  engine: EngineName = "device";
  /** Called when the microphone was switched on or off. */
  onspeaking: () => void = () => {};
  private readonly player = new Player();
  private readonly takes = new TakeList();
  private readonly timeline = new Timeline(this.player);
  private readonly progress = element<HTMLProgressElement>("progress");
  private readonly pictures: Spectrograms;
  private live?: { live: Live; take: Take };
  private refused: string[] = []; // why files could not be read
  private job?: AbortController; // of the recordings that are being denoised

  constructor() {
    this.pictures = new Spectrograms(
      [element<HTMLCanvasElement>("before"), element<HTMLCanvasElement>("after")],
      [...document.querySelectorAll<HTMLElement>(".axis")],
    );
    this.player.onchange = () => this.showPlaying();
    this.timeline.onlive = () => this.pictures.frame();
    this.takes.onselect = (take) => this.select(take);
    this.takes.onremove = (take) => this.remove(take);
    clearFigures();
  }

  recolour(theme: Theme): void {
    this.pictures.recolour(theme);
  }

  /** Open files in any format that the browser reads; the first one is shown. */
  async open(sources: Source[]): Promise<void> {
    await this.stop();
    this.player.pause();
    this.refused = [];
    let first = true;
    for (const { name, read } of sources) {
      if (first) say(`Reading ${name} …`);
      try {
        const take = await decode(name, await read());
        this.takes.checkRoom(take);
        this.takes.add(take);
        if (first) this.select(take);
        first = false;
        void this.work();
      } catch (error) {
        this.refused.push((error as Error).message);
        this.report("");
      }
    }
  }

  /** Denoise all recordings again, with the engine that is chosen now. */
  redo(): void {
    if (this.live || !this.takes.selected) return;
    this.interrupt();
    for (const take of this.takes.takes) Object.assign(take, { state: "waiting", noise: [] });
    this.select(this.takes.selected);
    void this.work();
  }

  /** Show a recording. */
  select(take: Take): void {
    if (this.live) return;
    this.takes.selected = take;
    this.takes.render(this.player.strength);
    const ready = take.state === "ready";
    this.player.load(ready ? take : undefined);
    this.timeline.show(take, ready);
    this.pictures.show(take, false);
    this.pictures.refresh(this.player.strength);
    clearFigures();
    this.progress.hidden = take.state !== "busy" && take.state !== "waiting";
    this.progress.value = take.share;
    for (const id of ["play", "download"]) element<HTMLButtonElement>(id).disabled = !ready;
    setPhase(ready ? "ready" : "busy");
    if (take.state === "failed") this.report(take.error!, true);
    else if (ready) {
      showRecording(removedDb(take, this.player.strength), seconds(take), take.took);
      this.report(`${take.name}: ${clock(seconds(take))}, cleaned ${this.where}.`);
    } else this.report(`Taking the noise out of ${take.name} ${this.where} …`);
  }

  /** Switch the microphone on. */
  async speak(device: string): Promise<void> {
    this.interrupt();
    this.refused = [];
    this.progress.hidden = true;
    this.player.load(undefined);
    clearFigures();
    say(`Starting ${this.where} …`);
    let live: Live;
    try {
      live = await Live.start(device, this.engine, this.player.strength, chosenVoice());
    } catch (error) {
      say((error as Error).message, true);
      void this.work();
      return;
    }
    const count = this.takes.takes.filter((take) => take.name.startsWith("microphone")).length;
    const take = newTake(count ? `microphone ${count + 1}` : "microphone", 48000, [new Samples()]);
    take.noise = [new Samples()];
    this.live = { live, take };
    let missing = false;
    setPhase("live");
    enable("engine", false);
    enable("mode", false, "noise");
    this.apply();
    this.timeline.follow(take);
    this.pictures.show(take, true);
    live.onsound = ({ noisy, noise }) => {
      take.noisy[0].append(noisy);
      take.noise[0].append(noise);
      if (seconds(take) > MAX_LIVE_SECONDS) void this.stop();
    };
    live.onstats = () => {
      showLive(live.node.stats!, live.latency, this.engine);
      const { voiceMissing } = live.node.stats!;
      if (voiceMissing !== missing) say(voiceMissing ? VOICE_MISSING : STATES.active);
      missing = voiceMissing;
    };
    live.onstate = () => {
      const { state, error } = live.node;
      if (state in STATES) say(STATES[state] + (error?.message ?? ""), state === "failed");
    };
    live.onend = () => void this.stop();
    this.onspeaking();
  }

  get speaking(): boolean {
    return this.live !== undefined;
  }

  /** Switch the microphone off; what was said joins the recordings. */
  async stop(): Promise<void> {
    const { live, take } = this.live ?? {};
    if (!live || !take) return;
    this.live = undefined;
    live.onsound = live.onstate = () => {};
    await live.stop();
    enable("engine", true);
    enable("mode", true);
    this.onspeaking();
    if (seconds(take) > 0.1) {
      take.state = "ready";
      this.takes.add(take);
      this.select(take);
      element("play").focus({ preventScroll: true });
    } else if (this.takes.selected) this.select(this.takes.selected);
    else {
      setPhase("empty");
      say("Nothing was heard.");
    }
    void this.work();
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
    const take = this.takes.selected;
    if (this.live || take?.state !== "ready") return;
    showRemoved(removedDb(take, value));
    this.takes.render(value);
  }

  set audible(value: boolean) {
    if (this.live) this.live.live.audible = value;
  }

  async toggle(): Promise<void> {
    if (this.player.playing) this.player.pause();
    else await this.player.play();
    this.timeline.run();
  }

  async seek(position: number): Promise<void> {
    if (this.live || this.takes.selected?.state !== "ready") return;
    await this.player.seek(position);
    this.timeline.run();
  }

  get position(): number {
    return this.player.position;
  }

  get duration(): number {
    return this.takes.selected ? seconds(this.takes.selected) : 0;
  }

  /** Save the clean sound at the strength that is set: of the recording shown, or of all. */
  download(all = false): void {
    const { selected, takes } = this.takes;
    for (const take of all ? takes : [selected]) {
      if (take?.state !== "ready") continue;
      const gain = gains("clean", this.player.strength);
      save(take.name, take.noisy.map((_, channel) => mixed(take, channel, gain)), take.rate);
    }
  }

  /** Say something, and which files could not be read. */
  private report(message: string, bad = false): void {
    say([message, ...this.refused].join(" ").trim(), bad || this.refused.length > 0);
  }

  private get where(): string {
    return this.engine === "device" ? "on this device" : "on the server";
  }

  private remove(take: Take): void {
    const next = this.takes.takes.find((each) => each !== take)!;
    const busy = take.state === "busy";
    if (busy) this.interrupt();
    this.takes.remove(take);
    if (take === this.takes.selected) this.select(next);
    if (busy) void this.work();
  }

  /** Stop denoising; what was begun waits to begin again. */
  private interrupt(): void {
    this.job?.abort();
    this.job = undefined;
    for (const take of this.takes.takes) if (take.state === "busy") take.state = "waiting";
  }

  /** Denoise what waits, one recording after the other. */
  private async work(): Promise<void> {
    if (this.job) return;
    const job = (this.job = new AbortController());
    for (let take; (take = this.takes.waiting); ) {
      Object.assign(take, { state: "busy", share: 0, noise: [], segments: undefined });
      this.takes.progress(take);
      await this.denoise(take, job.signal);
      if (job.signal.aborted) return;
      if (take === this.takes.selected) {
        this.select(take);
        if (take.state === "ready") element("play").focus({ preventScroll: true });
      } else this.takes.render(this.player.strength);
    }
    this.job = undefined;
  }

  private async denoise(take: Take, signal: AbortSignal): Promise<void> {
    const start = performance.now();
    const show = (share: number): void => {
      take.share = share;
      this.takes.progress(take);
      if (take === this.takes.selected) this.progress.value = share;
    };
    try {
      const clean =
        this.engine === "server"
          ? await denoiseOnServer(take, chosenVoice(), WARM_UP_SECONDS, signal, show)
          : await denoiseHere(take, signal, show);
      take.noise = clean.map((channel, k) => {
        const noisy = take.noisy[k].all();
        return new Samples(noisy.map((sample, n) => sample - channel[n]));
      });
      take.took = (performance.now() - start) / 1000;
      take.state = "ready";
    } catch (error) {
      if (signal.aborted) return;
      take.error = (error as Error).message;
      take.state = "failed";
    }
  }

  private apply(): void {
    this.player.apply();
    if (this.live) this.live.live.node.strength = this.mode === "noisy" ? 0 : this.player.strength;
  }

  private showPlaying(): void {
    const button = element("play");
    button.dataset.playing = String(this.player.playing);
    button.ariaLabel = this.player.playing ? "Pause" : "Play";
  }
}

/** Denoise a recording in the browser, channel by channel. */
async function denoiseHere(
  take: Take,
  signal: AbortSignal,
  show: (share: number) => void,
): Promise<Float32Array[]> {
  const clean: Float32Array[] = [];
  const engine = await engineOptions("device", chosenVoice());
  const onprogress = (share: number): void => show((clean.length + share) / take.noisy.length);
  const options = { ...engine, signal, warmUp: WARM_UP_SECONDS, onprogress };
  for (const channel of take.noisy) clean.push(await denoise(channel.all(), take.rate, options));
  return clean;
}
