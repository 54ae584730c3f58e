/** The metadata of a Sordino model: JSON under the metadata key "sordino" of its ONNX file. */
import { SordinoError } from "./errors.js";

export interface ModelInfo {
  format: number;
  kind: string;
  name: string;
  version: string;
  /** Sample rates in Hz that the network works at. */
  native_rates: number[];
  /** Length of a voice embedding; zeros stand for any voice. */
  voice_size: number;
  /** Name -> shape, without the batch axis, of the state from frame to frame. */
  states: Record<string, number[]>;
  parameters?: number;
  description?: string;
}

const METADATA_PROPS = 14; // field of onnx.ModelProto; entries have key = 1 and value = 2

/** Read the description out of the bytes of an ONNX file. */
export function readModelInfo(onnx: Uint8Array): ModelInfo {
  let text: string | undefined;
  try {
    for (const { field, bytes } of messages(onnx)) {
      if (field !== METADATA_PROPS) continue;
      const entry = new Map([...messages(bytes)].map((each) => [each.field, utf8(each.bytes)]));
      if (entry.get(1) === "sordino") text = entry.get(2);
    }
  } catch {
    throw new SordinoError("the model is not a whole ONNX file: get it again");
  }
  if (text === undefined) throw new SordinoError("the file is not one of Sordino's models");
  const info = parse(text);
  if (info.format > 2) throw new SordinoError("the model is newer than this version of sordino-web");
  if (info.kind !== "noise-mask") {
    throw new SordinoError(`models of the kind ${info.kind} do not run in the browser`);
  }
  return info;
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
