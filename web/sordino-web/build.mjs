/**
 * Builds `dist/`: three scripts, types, the runtime (gzipped; the worker unpacks it) and the model.
 * What the server delivers with its page goes there too, less the model, which it has already;
 * the licences of what is built in are kept there and come from there.
 */
import { execFileSync } from "node:child_process";
import { copyFileSync, cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const require = createRequire(import.meta.url);
const SCRIPTS = ["index.js", "worker.js", "worklet.js"];
const SERVED = here("../../src/sordino/serve/page/sordino-web/");

rmSync(here("dist"), { recursive: true, force: true });
await build({
  entryPoints: SCRIPTS.map((name) => here(`src/${name.replace(".js", ".ts")}`)),
  outdir: here("dist"),
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  legalComments: "inline",
});
const tsc = fileURLToPath(new URL("tsc.js", import.meta.resolve("typescript")));
execFileSync(process.execPath, [tsc, "-p", here("tsconfig.build.json")], { stdio: "inherit" });
const wasm = readFileSync(require.resolve("onnxruntime-web/ort-wasm-simd-threaded.wasm"));
writeFileSync(here("dist/ort.wasm.gz"), gzipSync(wasm, { level: 9 }));
copyFileSync(here("../../src/sordino/weights/default.onnx"), here("dist/default.onnx"));

for (const name of [...SCRIPTS, "ort.wasm.gz"]) copyFileSync(here(`dist/${name}`), SERVED + name);
cpSync(`${SERVED}licences`, here("dist/licences"), { recursive: true }); // of what is built in
