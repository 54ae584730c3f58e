/** Before and after, one above the other on one axis of time. */
import { palette, type Theme } from "./colours.js";
import { Columns } from "./columns.js";
import { Panel } from "./panel.js";
import { gains, mixed, type Take } from "./sounds.js";

/** Seconds that are in view while sound is live. */
export const LIVE_SECONDS = 10.24;
const LIVE_HOP_SECONDS = 0.01;
const SLICE_MS = 7; // of drawing per frame of the screen
const MAX_WINDOWS = 32; // per column: those of 20 minutes

const PANELS = ["noisy", "clean"] as const;

export class Spectrograms {
  private readonly panels: Panel[];
  private columns = new Columns(48000);
  private take?: Take;
  private live = false;
  private done = 0; // columns of live sound
  private drawn = [0, 0]; // columns of the recording that are up to date
  private strength = 1;
  private scheduled = false;
  private dirty = true;

  constructor(canvases: HTMLCanvasElement[], axes: HTMLElement[]) {
    this.panels = canvases.map((canvas, k) => new Panel(canvas, axes[k]));
    for (const panel of this.panels) {
      panel.onresize = () => {
        this.dirty = true;
        this.schedule();
      };
    }
  }

  recolour(theme: Theme): void {
    for (const panel of this.panels) panel.recolour(palette(theme));
    this.dirty = true;
    this.schedule();
  }

  /** Show a take from its start to its end; or, if it is live, its newest seconds. */
  show(take: Take, live: boolean): void {
    this.take = take;
    this.live = live;
    this.done = 0;
    this.drawn = [0, 0];
    this.columns = new Columns(take.rate);
    if (!live) this.columns.top = loudest(take, this.columns);
    for (const panel of this.panels) {
      panel.clear();
      panel.scale(take.rate);
    }
    this.dirty = true;
    this.schedule();
  }

  /** The noise of the take has become known, or another share of it is taken. */
  refresh(strength: number): void {
    this.strength = strength;
    if (!this.live) this.drawn[1] = 0;
    this.schedule();
  }

  /** Draw what is new; called for each frame of the screen while sound is live. */
  frame(): void {
    this.scheduled = false;
    if (!this.take) return;
    if (this.live) this.advance(this.take);
    else this.fill(this.take);
    if (this.dirty) {
      const first = this.live ? this.done % this.panels[0].width : 0;
      for (const panel of this.panels) panel.draw(first);
    }
    this.dirty = false;
    if (!this.scheduled) delete document.body.dataset.drawing;
  }

  private schedule(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    if (!this.live) document.body.dataset.drawing = ""; // until the picture is complete
    requestAnimationFrame(() => this.frame());
  }

  private advance(take: Take): void {
    const hop = Math.round(LIVE_HOP_SECONDS * take.rate);
    const { size } = this.columns;
    const ready = Math.floor(take.noise[0].length / hop);
    const { width } = this.panels[0];
    if (ready - this.done > width) this.done = ready - width; // the page was hidden meanwhile
    for (; this.done < ready; this.done++) {
      const end = (this.done + 1) * hop;
      this.put(take, this.done % width, [end - size]);
      this.dirty = true;
    }
  }

  private fill(take: Take): void {
    const until = performance.now() + SLICE_MS;
    const { width } = this.panels[0];
    const { size } = this.columns;
    const length = take.noisy[0].length;
    for (let panel = 0; panel < 2; panel++) {
      if (panel && !take.noise.length) break;
      while (this.drawn[panel] < width) {
        const x = this.drawn[panel]++;
        this.put(take, x, windows((x * length) / width, ((x + 1) * length) / width, size), panel);
        this.dirty = true;
        if (performance.now() > until) {
          this.schedule();
          return;
        }
      }
    }
  }

  /** Draw column `x` from windows that begin at `starts`. */
  private put(take: Take, x: number, starts: number[], only?: number): void {
    const { size } = this.columns;
    PANELS.forEach((mode, k) => {
      if (only !== undefined && only !== k) return;
      const gain = gains(mode, this.strength);
      const sounds = starts.map((start) => mixed(take, 0, gain, start, start + size));
      this.panels[k].put(x, sounds, this.columns);
    });
  }
}

/**
 * Where the windows of one column begin: together they cover samples `from` to `to`, so that short
 * events are seen in long recordings, too.
 */
function windows(from: number, to: number, size: number): number[] {
  const count = Math.min(MAX_WINDOWS, Math.ceil((to - from) / size));
  const step = (to - from) / count;
  return Array.from({ length: count }, (_, n) => Math.round(from + (n + 0.5) * step - size / 2));
}

/** Level in dB of the loudest sines in a take: the brightest colour. */
function loudest(take: Take, columns: Columns): number {
  const peaks: number[] = [];
  const levels = new Uint8Array(256);
  columns.top = 0;
  for (let k = 0; k < 60; k++) {
    const start = Math.round((k / 60) * take.noisy[0].length);
    columns.write([mixed(take, 0, gains("noisy", 1), start, start + columns.size)], levels, 0);
    peaks.push(Math.max(...levels));
  }
  const peak = peaks.sort((a, b) => a - b)[54];
  return Math.max(-60, (peak / 255 - 1) * 72);
}
