/** A level meter: it rises at once and falls slowly. */
import { element } from "./page.js";

const LOWEST_DBFS = -60;
const FALL_DB_PER_SECOND = 36;

export class Level {
  private shown = LOWEST_DBFS;
  private told = 0;
  private readonly bar: HTMLElement;
  private readonly figure: HTMLElement;

  constructor(name: string) {
    this.bar = element(`level-${name}`);
    this.figure = element(`dbfs-${name}`);
  }

  /** Show a level in dBFS at a time in milliseconds, `elapsed` of them after the one before. */
  show(dbfs: number, time: number, elapsed: number): void {
    const fallen = this.shown - (FALL_DB_PER_SECOND * elapsed) / 1000;
    this.shown = Math.max(LOWEST_DBFS, dbfs, fallen);
    this.bar.style.setProperty("--level", String(1 - this.shown / LOWEST_DBFS));
    if (time - this.told < 300 && dbfs > LOWEST_DBFS) return; // slow enough to be read
    this.told = time;
    const value = Math.round(this.shown);
    this.bar.ariaValueNow = String(value);
    this.figure.textContent = value > LOWEST_DBFS ? `${value} dBFS` : "–";
  }
}
