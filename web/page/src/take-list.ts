/** The recordings that are open, and the list of them that is shown if there are several. */
import { element } from "./page.js";
import { noiseTaken, removedDb, seconds, type Take } from "./sounds.js";

const MAX_MINUTES = 40; // of all channels together: decoded sound takes memory

export class TakeList {
  readonly takes: Take[] = [];
  selected?: Take;
  /** Called when somebody chooses a recording from the list, or removes one. */
  onselect: (take: Take) => void = () => {};
  onremove: (take: Take) => void = () => {};
  private readonly list = element("takes");

  /** Throw an Error in words if there is no room for another recording. */
  checkRoom(take: Take): void {
    const minutes = [...this.takes, take].reduce(
      (sum, each) => sum + (seconds(each) * each.noisy.length) / 60,
      0,
    );
    if (minutes > MAX_MINUTES) {
      throw new Error(
        `${take.name} is too much: the page holds ${MAX_MINUTES} minutes. ` +
          'Remove a recording, or use "sordino denoise" on the command line.',
      );
    }
  }

  add(take: Take): void {
    this.takes.push(take);
    this.render();
  }

  remove(take: Take): void {
    this.takes.splice(this.takes.indexOf(take), 1);
    this.render();
  }

  get waiting(): Take | undefined {
    return this.takes.find((take) => take.state === "waiting");
  }

  /** Write the list anew: one row for each recording. */
  render(strength = 1): void {
    const focused = document.activeElement?.id;
    const several = this.takes.length > 1;
    this.list.hidden = !several;
    element("download-all").hidden = !several;
    this.list.replaceChildren(...this.takes.map((take, n) => this.row(take, n, strength)));
    if (focused) document.getElementById(focused)?.focus();
  }

  /** Show how far the work on a recording has come. */
  progress(take: Take): void {
    const state = this.list.children[this.takes.indexOf(take)]?.querySelector("output");
    if (state) state.textContent = describe(take, 1);
  }

  private row(take: Take, n: number, strength: number): HTMLElement {
    const row = document.createElement("li");
    row.dataset.state = take.state;
    const choose = document.createElement("button");
    choose.id = `take-${n}`;
    choose.type = "button";
    choose.textContent = take.name;
    choose.ariaPressed = String(take === this.selected);
    choose.addEventListener("click", () => this.onselect(take));
    const state = document.createElement("output");
    state.textContent = describe(take, strength);
    const remove = document.createElement("button");
    remove.id = `remove-${n}`;
    remove.type = "button";
    remove.textContent = "×";
    remove.ariaLabel = `Remove ${take.name}`;
    remove.addEventListener("click", () => this.onremove(take));
    row.append(choose, state, remove);
    return row;
  }
}

function describe(take: Take, strength: number): string {
  if (take.state === "waiting") return "waiting";
  if (take.state === "busy") return `${Math.floor(100 * take.share)} %`;
  if (take.state === "failed") return take.error ?? "failed";
  const removed = removedDb(take, strength);
  return removed === null ? "silence" : `noise taken ${noiseTaken(removed)}`;
}
