/**
 * Builds `dist/`: scripts, types, the runtime (gzipped; the worker unpacks it), the model, and
 * embedded.js, which holds copies of them for bundlers that leave files behind.
 *
 * `sordino serve` delivers some of these files with its page: they are copied there, too, unless
 * the option --dist-only is given.
 */
import { execFileSync } from "node:child_process";
import { copyFileSync, cpSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { gunzipSync, gzipSync } from "node:zlib";
import { gzipAsync } from "@gfx/zopfli";
import { build } from "esbuild";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const require = createRequire(import.meta.url);
const SCRIPTS = ["index.js", "module-url.js", "worker.js", "worklet.js"];
const SERVED = here("../../src/sordino/serve/page/sordino-web/");

/** Keep modules as files of their own; assets.ts says why. */
const separate = (names) => ({
  name: "separate",
  setup({ onResolve }) {
    onResolve({ filter: new RegExp(`^\\./(${names.join("|")})\\.js$`) }, ({ path, kind }) =>
      kind === "entry-point" ? undefined : { path, external: true },
    );
  },
});

function scripts(names, options) {
  return build({
    entryPoints: names.map((name) => here(`src/${name.replace(".js", ".ts")}`)),
    outdir: here("dist"),
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    legalComments: "inline",
    plugins: [separate(["module-url", "embedded"])],
    ...options,
  });
}

const gzip = (data) => gzipSync(data, { level: 9 });
const text = (name) => JSON.stringify(readFileSync(here(`dist/${name}`), "utf8"));
const base64 = (data) => JSON.stringify(data.toString("base64"));

/** The runtime, as small as gzip allows; this takes minutes and is done when the runtime changes. */
async function compressed(data) {
  const served = `${SERVED}ort.wasm.gz`;
  if (existsSync(served)) {
    const latest = readFileSync(served);
    if (gunzipSync(latest).equals(data)) return latest;
  }
  return Buffer.from(await gzipAsync(data, { numiterations: 1 }));
}

rmSync(here("dist"), { recursive: true, force: true });
await scripts(["index.js", "module-url.js"]);
// Without it, bundlers look for files that ONNX Runtime names but never needs.
await scripts(["worker.js"], { define: { "import.meta.url": "self.location.href" } });
// For bundlers that know no "exports" in package.json, as Parcel, which breaks the worker's script.
await scripts(["index.js"], {
  define: { "import.meta.url": "undefined" },
  entryNames: "standalone",
  plugins: [separate(["embedded"])],
});
// Not minified: Vite turns files of less than 4 kB into data: addresses, which policies block.
await scripts(["worklet.js"], { minify: false });
const tsc = fileURLToPath(new URL("tsc.js", import.meta.resolve("typescript")));
execFileSync(process.execPath, [tsc, "-p", here("tsconfig.build.json")], { stdio: "inherit" });
const wasm = await compressed(
  readFileSync(require.resolve("onnxruntime-web/ort-wasm-simd-threaded.wasm")),
);
writeFileSync(here("dist/ort.wasm.gz"), wasm);
const model = readFileSync(here("../../src/sordino/weights/default.onnx"));
writeFileSync(here("dist/default.onnx"), model);
const voices = here("../../src/sordino/weights/default-voice.onnx");
if (existsSync(voices)) copyFileSync(voices, here("dist/default-voice.onnx"));
writeFileSync(
  here("dist/embedded.js"),
  `export const worker = ${text("worker.js")};\nexport const worklet = ${text("worklet.js")};\n` +
    `export const wasm = ${base64(wasm)};\nexport const model = ${base64(gzip(model))};\n`,
);

if (!process.argv.includes("--dist-only")) {
  for (const name of [...SCRIPTS, "ort.wasm.gz"]) copyFileSync(here(`dist/${name}`), SERVED + name);
}
cpSync(`${SERVED}licences`, here("dist/licences"), { recursive: true }); // of what is built in
