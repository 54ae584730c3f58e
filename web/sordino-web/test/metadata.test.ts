import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { SordinoError } from "../src/errors.js";
import { readModelInfo } from "../src/metadata.js";

const onnx = new Uint8Array(readFileSync("../../src/sordino/weights/default.onnx"));

test("a model describes itself", () => {
  const info = readModelInfo(onnx);
  assert.equal(info.kind, "noise-mask");
  assert.deepEqual(info.native_rates, [8000, 16000, 24000, 48000]);
  assert.ok(Object.keys(info.states).length > 0);
});

test("a model that looks ahead is refused in words", () => {
  const ahead = new Uint8Array(readFileSync("../../src/sordino/weights/studio.onnx"));
  assert.throws(() => readModelInfo(ahead), /studio looks ahead/);
});

test("half a model is refused in words", () => {
  assert.throws(() => readModelInfo(onnx.subarray(0, onnx.length / 2)), SordinoError);
});

test("another program's model is refused in words", () => {
  assert.throws(() => readModelInfo(new Uint8Array([8, 1])), /not one of Sordino's/);
});
