/** The figures below the pictures. */
import type { Stats } from "sordino-web";

import type { EngineName } from "./server.js";
import { element } from "./page.js";

function show(id: string, text: string, bad = false): void {
  const figure = element(id);
  figure.textContent = text;
  figure.classList.toggle("bad", bad);
}

const percent = (share: number): string => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;

/** Noise is what makes the sound quieter. */
export function showTaken(decibels: number): void {
  show("taken", `${Math.max(0, decibels).toFixed(1)} dB`);
}

/** Figures of live sound; latency from the microphone to the ear, in seconds. */
export function showLive(stats: Stats, latency: number, engine: EngineName): void {
  showTaken(stats.takenDb);
  show("speech", stats.speech === null ? "–" : percent(stats.speech));
  show("latency", `${Math.round(1000 * latency)} ms`);
  element("load-name").textContent = engine === "device" ? "CPU" : "Server load";
  show("load", stats.load === null ? "–" : percent(stats.load), (stats.load ?? 0) > 0.9);
  show("underruns", String(stats.underruns), stats.underruns > 0);
}

/** Figures of a recording that took some seconds to denoise, the engine's start included. */
export function showRecording(takenDb: number, duration: number, took: number): void {
  showTaken(takenDb);
  show("speech", "–");
  show("latency", "20 ms");
  element("load-name").textContent = "Speed, with start";
  show("load", `${(duration / took).toFixed(1)} × real time`);
  show("underruns", "–");
}
