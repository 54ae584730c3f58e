/**
 * Sordino in the browser: removes noise from speech.
 *
 * `createSordinoNode` for live sound, `suppress` for calls, `denoise` for recordings, `openStream`
 * for samples of your own and a Sordino server.
 */
export type { AssetOptions } from "./assets.js";
export { denoise, type DenoiseOptions } from "./denoise.js";
export type { EngineOptions } from "./engine-worker.js";
export { SordinoError } from "./errors.js";
export { NoiseMeter, powerDb, SEGMENT_SECONDS } from "./levels.js";
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
export type { VoiceOptions } from "./voice.js";
export { openStream, SordinoStream, type StreamOptions, type StreamStats } from "./stream.js";
