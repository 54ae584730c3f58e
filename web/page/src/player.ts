/** Plays a take: the recording and its noise run in parallel, so that A/B only changes two gains. */
import { gains, seconds, type Mode, type Take } from "./sounds.js";

const SWITCH_SECONDS = 0.004; // no click, and no wait

export class Player {
  mode: Mode = "clean";
  strength = 1;
  /** Called when it starts, stops or comes to its end. */
  onchange: () => void = () => {};
  private context?: AudioContext;
  private take?: Take;
  private sources: AudioBufferSourceNode[] = [];
  private mix: GainNode[] = [];
  private offset = 0; // seconds into the take, when it last started or stopped
  private started = 0; // time of the context then

  get playing(): boolean {
    return this.sources.length > 0;
  }

  /** Seconds into the take. */
  get position(): number {
    if (!this.take || !this.context || !this.playing) return this.offset;
    const heard = this.context.currentTime - this.started;
    return Math.min(this.offset + Math.max(0, heard), seconds(this.take));
  }

  load(take: Take | undefined): void {
    this.pause();
    this.take = take;
    this.offset = 0;
  }

  async play(): Promise<void> {
    if (!this.take || this.playing) return;
    this.context ??= new AudioContext();
    await this.context.resume();
    if (this.offset >= seconds(this.take) - 0.01) this.offset = 0;
    const { noisy, noise, rate } = this.take;
    this.mix = [noisy, noise].map(() => new GainNode(this.context!));
    this.apply(0);
    this.sources = [noisy, noise].map((channels, k) => {
      const buffer = new AudioBuffer({
        length: noisy[0].length,
        numberOfChannels: noisy.length,
        sampleRate: rate,
      });
      channels.forEach((each, n) => buffer.copyToChannel(each.all() as Float32Array<ArrayBuffer>, n));
      const source = new AudioBufferSourceNode(this.context!, { buffer });
      source.connect(this.mix[k]).connect(this.context!.destination);
      return source;
    });
    this.started = this.context.currentTime + 0.02;
    for (const source of this.sources) source.start(this.started, this.offset);
    this.sources[0].onended = () => this.finish();
    this.onchange();
  }

  pause(): void {
    if (!this.playing) return;
    this.offset = this.position;
    this.halt();
    this.onchange();
  }

  async seek(position: number): Promise<void> {
    const playing = this.playing;
    this.halt();
    this.offset = Math.max(0, Math.min(position, this.take ? seconds(this.take) : 0));
    if (playing) await this.play();
  }

  /** Apply mode and strength to the gains. */
  apply(time = SWITCH_SECONDS): void {
    if (!this.context) return;
    const share = gains(this.mode, this.strength);
    const now = this.context.currentTime;
    [share.noisy, share.noise].forEach((gain, k) => {
      const param = this.mix[k]?.gain;
      if (time) param?.setTargetAtTime(gain, now, time);
      else param?.setValueAtTime(gain, now);
    });
  }

  private finish(): void {
    this.halt();
    this.offset = this.take ? seconds(this.take) : 0;
    this.onchange();
  }

  private halt(): void {
    for (const source of this.sources) {
      source.onended = null;
      source.stop();
      source.disconnect();
    }
    this.sources = [];
  }
}
