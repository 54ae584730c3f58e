/** The metadata of a Sordino model: JSON under the metadata key "sordino" of its ONNX file. */
import { SordinoError } from "./errors.js";

export interface ModelInfo {
  format: number;
  kind: string;
  name: string;
  version: string;
  /** Sample rates in Hz that the network works at. */
  native_rates: number[];
  /** Numbers that the network takes for a voice; zeros stand for any voice. */
  voice_size: number;
  /** Name -> shape, without the batch axis, of the state from frame to frame. */
  states: Record<string, number[]>;
  /** Frames of the future that the network needs; 0: it is causal. */
  ahead_frames?: number;
  parameters?: number;
  description?: string;
}

const METADATA_PROPS = 14; // field of onnx.ModelProto; entries have key = 1 and value = 2
const NEWEST = 4;

/** Read the description out of the bytes of an ONNX file. */
export function readModelInfo(onnx: Uint8Array): ModelInfo {
  const text = properties(onnx).get("sordino");
  if (text === undefined) throw new SordinoError("the file is not one of Sordino's models");
  const info = parse(text);
  if (info.format > NEWEST) {
    throw new SordinoError("the model is newer than this version of sordino-web");
  }
  if (info.ahead_frames) {
    throw new SordinoError(`the model ${info.name} looks ahead: it does not run in the browser`);
  }
  if (info.kind !== "noise-mask") {
    throw new SordinoError(`models of the kind ${info.kind} do not run in the browser`);
  }
  return info;
}

/** The graph from voice embeddings to what the network takes, of format 4; else undefined. */
export function readEnrolment(onnx: Uint8Array): Uint8Array | undefined {
  const text = properties(onnx).get("sordino.enrolment");
  return text === undefined ? undefined : Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
}

function properties(onnx: Uint8Array): Map<string, string> {
  const found = new Map<string, string>();
  try {
    for (const { field, bytes } of messages(onnx)) {
      if (field !== METADATA_PROPS) continue;
      const entry = new Map([...messages(bytes)].map((each) => [each.field, utf8(each.bytes)]));
      found.set(entry.get(1) ?? "", entry.get(2) ?? "");
    }
  } catch {
    throw new SordinoError("the model is not a whole ONNX file: get it again");
  }
  return found;
}

function parse(text: string): ModelInfo {
  try {
    return JSON.parse(text) as ModelInfo;
  } catch {
    throw new SordinoError("the model's metadata is damaged: get the file again");
  }
}

const utf8 = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

/** The length-delimited fields of one protocol-buffer message, in order. */
function* messages(data: Uint8Array): Generator<{ field: number; bytes: Uint8Array }> {
  let at = 0;
  const varint = (): number => {
    for (let value = 0, scale = 1; ; scale *= 128) {
      if (at >= data.length) throw new RangeError("truncated");
      const byte = data[at++];
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  while (at < data.length) {
    const key = varint();
    const wire = key & 7;
    if (wire === 0) varint();
    else if (wire === 1) at += 8;
    else if (wire === 5) at += 4;
    else if (wire === 2) {
      const length = varint();
      if (at + length > data.length) throw new RangeError("truncated");
      yield { field: Math.floor(key / 8), bytes: data.subarray(at, at + length) };
      at += length;
    } else throw new RangeError("not a protocol buffer");
  }
}
