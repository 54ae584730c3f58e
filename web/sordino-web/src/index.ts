/**
 * Sordino in the browser: takes the noise out of speech.
 *
 * `createSordinoNode` for live sound, `suppress` for calls, `denoise` for recordings, `openStream`
 * for those who bring their own samples to a Sordino server.
 */
export type { EngineOptions } from "./engine.js";
export { SordinoError } from "./errors.js";
export type { Stats } from "./messages.js";
export {
  createSordinoNode,
  SordinoNode,
  suppress,
  type NodeOptions,
  type NodeState,
  type Sound,
  type SuppressedTrack,
} from "./node.js";
export { denoise, type DenoiseOptions } from "./offline.js";
export { openStream, SordinoStream, type StreamOptions, type StreamStats } from "./stream.js";
