/** The worker: holds the engine and runs it on live sound or on recordings. */
import { RingBuffer } from "./buffers.js";
import { LiveStream } from "./live-stream.js";
import type { Engine, FromWorker, ToWorker } from "./messages.js";
import { fetchBytes, Model } from "./model.js";
import { LocalEstimator, type NoiseEstimator } from "./noise-estimator.js";
import { denoiseRecording, engineRate } from "./recording.js";
import { ServerEstimator } from "./server-estimator.js";
import { hop } from "./stft.js";
import { MessageTransport, SharedTransport } from "./transport.js";

const scope = self as unknown as {
  onmessage: (event: MessageEvent<ToWorker>) => void;
  postMessage(message: FromWorker, transfer?: Transferable[]): void;
};

const PROGRESS_MS = 50;
const WARM_UP_HOPS = 20; // the first runs are slow

const post = scope.postMessage.bind(scope);
let estimator: NoiseEstimator;
let live: LiveStream | undefined;
let rate = 48000; // of the sound outside
let inner = 48000; // of the engine

async function openEngine(engine: Engine): Promise<NoiseEstimator> {
  inner = engineRate(rate, engine.kind === "server");
  if (engine.kind === "server") {
    const { url, model, token, voice } = engine;
    return ServerEstimator.open(url, { rate: inner, model, token, ...voice });
  }
  const local = new LocalEstimator(
    await Model.load(await fetchBytes(engine.model), engine.wasm),
    inner,
    engine.voice,
  );
  const sound = new Float32Array(hop(inner)).fill(0.001); // silence would not reach the network
  for (let k = 0; k < WARM_UP_HOPS; k++) await local.feed(sound);
  await local.flush();
  return local;
}

async function handle(message: ToWorker): Promise<void> {
  if (message.type === "open") {
    rate = message.rate;
    estimator = await openEngine(message.engine);
    post({ type: "opened", latency: estimator.latency / inner });
  } else if (message.type === "strength") {
    if (live) live.strength = message.value;
  } else if (message.type === "live") {
    const { transport: source, strength, tap } = message;
    const buffer = (memory: SharedArrayBuffer) => new RingBuffer(memory);
    const transport =
      "port" in source
        ? new MessageTransport(source.port)
        : new SharedTransport(buffer(source.memory.noisy), buffer(source.memory.clean), hop(rate));
    live = new LiveStream(transport, estimator, rate, strength, tap, post);
    await live.run();
  } else {
    let reported = performance.now();
    const onprogress = (share: number): void => {
      if (performance.now() - reported < PROGRESS_MS) return;
      reported = performance.now();
      post({ type: "progress", share });
    };
    const options = { ...message, engineRate: inner, onprogress };
    const clean = await denoiseRecording(estimator, message.samples, options);
    post({ type: "denoised", samples: clean }, [clean.buffer]);
  }
}

scope.onmessage = ({ data }) => {
  handle(data).catch((error: unknown) => {
    post({ type: "failed", message: error instanceof Error ? error.message : String(error) });
  });
};
