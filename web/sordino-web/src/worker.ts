/** The worker: holds the engine, and runs it on live sound or on recordings. */
import { LiveStream } from "./live.js";
import { MessageLink, SharedLink } from "./links.js";
import type { Engine, FromWorker, ToWorker } from "./messages.js";
import { fetchBytes, Model } from "./model.js";
import { denoiseRecording, engineRate } from "./recording.js";
import { RemoteSuppressor } from "./remote.js";
import { Ring } from "./ring.js";
import { hop } from "./spectrum.js";
import { LocalSuppressor, type Suppressor } from "./suppressor.js";

const scope = self as unknown as {
  onmessage: (event: MessageEvent<ToWorker>) => void;
  postMessage(message: FromWorker, transfer?: Transferable[]): void;
};

const post = scope.postMessage.bind(scope);
let suppressor: Suppressor;
let live: LiveStream | undefined;
let rate = 48000; // of the sound outside
let inner = 48000; // of the engine

async function openEngine(engine: Engine): Promise<Suppressor> {
  inner = engineRate(rate, engine.kind === "server");
  if (engine.kind === "server") {
    const { url, model, token } = engine;
    return RemoteSuppressor.open(url, { rate: inner, model, token });
  }
  const bytes =
    typeof engine.model === "string" ? await fetchBytes(engine.model) : new Uint8Array(engine.model);
  const local = new LocalSuppressor(await Model.load(bytes, engine.wasm), inner);
  const sound = new Float32Array(hop(inner)).fill(0.001); // silence would not reach the network
  for (let k = 0; k < 20; k++) await local.feed(sound); // the first are slow
  await local.flush();
  return local;
}

async function answer(message: ToWorker): Promise<void> {
  if (message.type === "open") {
    rate = message.rate;
    suppressor = await openEngine(message.engine);
    post({ type: "opened", latency: suppressor.latency / inner });
  } else if (message.type === "strength") {
    if (live) live.strength = message.value;
  } else if (message.type === "live") {
    const { way, strength, tap } = message;
    const link =
      "port" in way
        ? new MessageLink(way.port)
        : new SharedLink(new Ring(way.memory.noisy), new Ring(way.memory.clean), hop(rate));
    live = new LiveStream(link, suppressor, rate, strength, tap, post);
    await live.run();
  } else {
    const start = performance.now();
    let told = start;
    const onprogress = (share: number): void => {
      if (performance.now() - told < 50) return;
      told = performance.now();
      post({ type: "progress", share });
    };
    const { samples, strength, listen } = message;
    const sound = [samples, rate, inner] as const;
    const clean = await denoiseRecording(suppressor, ...sound, strength, listen, onprogress);
    const seconds = (performance.now() - start) / 1000;
    post({ type: "denoised", samples: clean, seconds }, [clean.buffer]);
  }
}

scope.onmessage = ({ data }) => {
  answer(data).catch((error: unknown) => {
    post({ type: "failed", message: error instanceof Error ? error.message : String(error) });
  });
};
