/** The figures below the spectrograms; only those that are known are shown. */
import type { Stats } from "sordino-web";

import { element } from "./page.js";
import type { EngineName } from "./server.js";
import { noiseTaken } from "./sounds.js";

const IDS = ["taken", "speech", "latency", "load", "underruns"] as const;
type Id = (typeof IDS)[number];

function show(id: Id, text: string | null, bad = false): void {
  const figure = element(id);
  figure.textContent = text ?? "";
  figure.parentElement!.hidden = text === null;
  figure.classList.toggle("bad", bad);
}

const percent = (share: number): string => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;

export function clearFigures(): void {
  for (const id of IDS) show(id, null);
}

/** By how many dB the pauses are quieter; null if nothing was heard. */
export function showRemoved(decibels: number | null): void {
  show("taken", decibels === null ? null : noiseTaken(decibels));
}

/** Figures of live sound; latency from the microphone to the ear, in seconds. */
export function showLive(stats: Stats, latency: number, engine: EngineName): void {
  showRemoved(stats.takenDb);
  show("speech", stats.speech === null ? null : percent(stats.speech));
  show("latency", `${Math.round(1000 * latency)} ms`);
  element("load-name").textContent = engine === "device" ? "CPU" : "Server load";
  show("load", stats.load === null ? null : percent(stats.load), (stats.load ?? 0) > 0.9);
  show("underruns", String(stats.underruns), stats.underruns > 0);
}

/** Figures of a recording that took some seconds to denoise, the engine's start included. */
export function showRecording(removedDb: number | null, duration: number, took?: number): void {
  clearFigures();
  showRemoved(removedDb);
  element("load-name").textContent = "Speed, with start";
  show("load", took ? `${(duration / took).toFixed(1)} × real time` : null);
}
