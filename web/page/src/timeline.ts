/** Position and levels of the sound that is played or spoken, drawn once per frame of the screen. */
import { Level } from "./level.js";
import { clock, element } from "./page.js";
import type { Player } from "./player.js";
import { decibels, gains, mixed, seconds, type Take } from "./sounds.js";

const METER_SECONDS = 0.05;

export class Timeline {
  /** Called for each frame while sound is live. */
  onlive: () => void = () => {};
  private readonly input = element<HTMLInputElement>("timeline");
  private readonly levels = { noisy: new Level("noisy"), clean: new Level("clean") };
  private take?: Take;
  private live = false;
  private running = false;
  private lastFrame = 0;

  constructor(private readonly player: Player) {}

  /** Show a recording; `seekable` once it can be played. */
  show(take: Take, seekable: boolean): void {
    this.take = take;
    this.live = false;
    this.input.max = String(seconds(take));
    this.input.disabled = !seekable;
    this.run();
  }

  /** Follow live sound to its end. */
  follow(take: Take): void {
    this.take = take;
    this.live = true;
    this.run();
  }

  /** Draw, and go on as long as something moves. */
  run(): void {
    if (this.running) return;
    this.running = true;
    this.lastFrame = performance.now();
    requestAnimationFrame((time) => this.frame(time));
  }

  private frame(time: number): void {
    const { take } = this;
    const moving = this.live || this.player.playing;
    if (this.live) this.onlive();
    if (take) {
      const position = this.live ? seconds(take) : this.player.position;
      this.showPosition(take, position);
      this.showLevels(take, position, time, moving);
    }
    document.body.toggleAttribute("data-moving", moving);
    this.lastFrame = time;
    this.running = moving;
    if (moving) requestAnimationFrame((next) => this.frame(next));
  }

  private showPosition(take: Take, position: number): void {
    const length = this.live ? "" : ` / ${clock(seconds(take))}`;
    element("clock").textContent = clock(position) + length;
    if (this.live) return;
    this.input.value = String(position);
    this.input.ariaValueText = `${clock(position)} of ${clock(seconds(take))}`;
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
