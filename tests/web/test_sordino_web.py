"""The browser package in a real Chromium, against the engine in Python."""

import base64
from time import monotonic

import numpy as np
import pytest
import soundfile
from scipy import signal

import sordino
from sordino import examples
from support.browsers import TIMEOUT_MS, without_gaps
from support.signals import agreement_db, noise
from support.sites import clip

pytestmark = pytest.mark.browser

LEAST_DB = 60

DENOISE = """
async ([path, rate, strength, warmUp]) => {
  const { denoise } = await import("/sordino-web/index.js");
  const noisy = new Float32Array(await (await fetch(path)).arrayBuffer());
  const clean = await denoise(noisy, rate, { model: "/default.onnx", strength, warmUp });
  return text(clean);
}
"""

# The microphone through a node, with a second worklet that records what the node puts out.
LIVE = """
async ([seconds, strength]) => {
  const { createSordinoNode } = await import("/sordino-web/index.js");
  const context = new AudioContext({ sampleRate: 48000 });
  await context.audioWorklet.addModule("/recorder.js");
  const processing = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  const stream = await navigator.mediaDevices.getUserMedia({ audio: processing });
  const options = { model: "/default.onnx", strength, tap: true, cushion: 0.4 };
  const node = await createSordinoNode(context, options);
  const recorder = new AudioWorkletNode(context, "recorder");
  const heard = [], noisy = [], noise = [], states = [];
  recorder.port.onmessage = ({ data }) => heard.push(data);
  node.addEventListener("sound", ({ detail }) => {
    noisy.push(detail.noisy);
    noise.push(detail.noise);
  });
  node.addEventListener("state", () => states.push(node.state));
  context.createMediaStreamSource(stream).connect(node).connect(recorder);
  await new Promise((done) => node.addEventListener("stats", () => {
    if (node.stats.seconds >= seconds) done();
  }));
  const result = {
    heard: text(join(heard)), noisy: text(join(noisy)), noise: text(join(noise)),
    stats: node.stats, states, shared: crossOriginIsolated,
  };
  node.close();
  stream.getTracks().forEach((track) => track.stop());
  await context.close();
  return { ...result, end: node.state };
}
"""

# A call between two peers in one page: what arrives is Opus of the clean sound.
CALL = """
async () => {
  const { suppress } = await import("/sordino-web/index.js");
  const processing = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  const stream = await navigator.mediaDevices.getUserMedia({ audio: processing });
  const microphone = stream.getAudioTracks()[0];
  const clean = await suppress(microphone, { model: "/default.onnx", cushion: 0.4 });
  const near = new RTCPeerConnection(), far = new RTCPeerConnection();
  near.onicecandidate = ({ candidate }) => far.addIceCandidate(candidate);
  far.onicecandidate = ({ candidate }) => near.addIceCandidate(candidate);
  near.addTrack(clean);
  const arrived = new Promise((done) => (far.ontrack = ({ track }) => done(track)));
  await near.setLocalDescription(await near.createOffer());
  await far.setRemoteDescription(near.localDescription);
  await far.setLocalDescription(await far.createAnswer());
  await near.setRemoteDescription(far.localDescription);
  const player = new Audio(); // without one the browser does not decode what arrives
  player.srcObject = new MediaStream([await arrived]);
  player.muted = true;
  await player.play();
  const context = new AudioContext({ sampleRate: 48000 });
  await context.audioWorklet.addModule("/recorder.js");
  const recorder = new AudioWorkletNode(context, "recorder");
  const heard = [];
  recorder.port.onmessage = ({ data }) => heard.push(data);
  context.createMediaStreamSource(player.srcObject).connect(recorder);
  globalThis.call = {
    /** The newest seconds, once they are there. */
    async latest(seconds) {
      const blocks = Math.ceil((seconds * 48000) / 128);
      heard.length = 0;
      while (heard.length < blocks) await new Promise((done) => setTimeout(done, 100));
      return text(join(heard.slice(-blocks)));
    },
    async hangUp() {
      await context.close();
      const state = clean.sordino.state;
      const ended = new Promise((done) => clean.addEventListener("ended", done));
      microphone.stop();
      microphone.dispatchEvent(new Event("ended")); // as when it is unplugged
      await ended;
      near.close();
      far.close();
      return { state, clean: clean.readyState, end: clean.sordino.state };
    },
  };
}
"""

REFUSED = """
async (code) => {
  const sordino = await import("/sordino-web/index.js");
  const AsyncFunction = (async () => {}).constructor;
  const made = []; // every AudioContext
  const Original = globalThis.AudioContext;
  globalThis.AudioContext = class extends Original {
    constructor(...options) {
      super(...options);
      made.push(this);
    }
  };
  let said = "";
  try {
    await new AsyncFunction(...Object.keys(sordino), code)(...Object.values(sordino));
  } catch (error) {
    const kind = error instanceof sordino.SordinoError ? error.name : `not ours: ${error.name}`;
    said = `${kind}: ${error.message}`;
  }
  globalThis.AudioContext = Original;
  return { said, contexts: made.map((context) => context.state) };
}
"""

HELPERS = """
globalThis.join = (blocks) => {
  const all = new Float32Array(blocks.reduce((sum, block) => sum + block.length, 0));
  blocks.reduce((at, block) => (all.set(block, at), at + block.length), 0);
  return all;
};
globalThis.text = (samples) => {
  const bytes = new Uint8Array(samples.buffer);
  let out = "";
  for (let at = 0; at < bytes.length; at += 8192)
    out += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(out);
};
"""

RECORDER = b"""
registerProcessor("recorder", class extends AudioWorkletProcessor {
  process([[block]]) {
    if (block) this.port.postMessage(block.slice());
    return true;
  }
});
"""


def floats(text: str) -> np.ndarray:
    """Return the samples that a page returned in base64."""
    return np.frombuffer(base64.b64decode(text), "<f4")


@pytest.fixture(scope="module")
def speaker(chromium, tmp_path_factory):
    """Start a Chromium whose microphone hears the office."""
    path = tmp_path_factory.mktemp("web") / "noisy.wav"
    samples, rate = clip("office_48k")
    soundfile.write(path, samples, rate, subtype="PCM_16")
    return chromium(path)


def opened(browser, site):
    """Open an empty page; it must end without a console error."""
    site.made["/recorder.js"] = ("text/javascript", RECORDER)
    page = browser.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    page.errors = errors = []
    page.on("console", lambda message: message.type == "error" and errors.append(message.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.add_init_script(HELPERS)
    page.goto(site.url)
    yield page
    page.close()
    assert not errors


@pytest.fixture
def page(browser, site):
    """Open a page that may share memory between its threads."""
    yield from opened(browser, site)


@pytest.fixture(params=["shared memory", "messages"])
def speaking(request, speaker, site, plain_site):
    """Open a page with a microphone, with shared memory and without."""
    yield from opened(speaker, site if request.param == "shared memory" else plain_site)


@pytest.mark.parametrize("name", examples.names())
def test_a_recording_is_denoised_as_in_python(page, site, name):
    noisy, rate = clip(name)
    site.put(f"/clips/{name}", noisy)
    for warm_up in (0, 2):
        clean = floats(page.evaluate(DENOISE, [f"/clips/{name}", rate, 0.9, warm_up]))
        expected = sordino.denoise(noisy, rate, "default", strength=0.9, warm_up=warm_up)
        assert len(clean) == len(noisy)
        assert agreement_db(expected, clean) >= LEAST_DB


def test_a_muted_microphone_is_not_remembered(page, site):
    noisy, rate = clip("cafe_16k")
    silence = np.zeros(2 * rate, np.float32)
    site.put("/clips/muted", np.concatenate([silence, noisy[:rate], silence, noisy[rate:]]))
    clean = floats(page.evaluate(DENOISE, ["/clips/muted", rate, 1]))[len(silence) :]
    assert agreement_db(sordino.denoise(noisy[:rate], rate, "default"), clean[:rate]) >= LEAST_DB
    whole = np.concatenate([noisy[:rate], silence, noisy[rate:]])
    assert agreement_db(sordino.denoise(whole, rate, "default"), clean) >= LEAST_DB


@pytest.mark.parametrize(("count", "rate"), [(0, 48000), (1, 16000), (100, 44100)])
def test_a_short_recording_keeps_its_length(page, site, count, rate):
    site.put("/clips/short", np.full(count, 0.1, np.float32))
    assert len(floats(page.evaluate(DENOISE, ["/clips/short", rate, 1]))) == count


def test_a_microphone_is_denoised_as_in_python(speaking):
    deadline = monotonic() + TIMEOUT_MS / 1000  # while the machine is busy, noise comes through
    while True:
        result = speaking.evaluate(LIVE, [4, 0.8])
        noisy, removed, heard = (floats(result[name]) for name in ("noisy", "noise", "heard"))
        clean = noisy - np.float32(0.8) * removed
        joined, estimated = without_gaps(noisy, clean, 48000)
        expected = sordino.denoise(joined, 48000, "default", strength=0.8)
        expected = expected[: -2 * 480]  # what follows is not known
        agreement = agreement_db(expected, estimated[: len(expected)])
        if min(agreement, heard_db(clean, heard)) >= LEAST_DB or monotonic() > deadline:
            break
    assert np.sqrt(np.mean(noisy**2)) > 0.01
    assert agreement >= LEAST_DB
    assert heard_db(clean, heard) >= LEAST_DB
    assert result["shared"] == speaking.evaluate("crossOriginIsolated")
    assert result["states"][-1] == result["end"] == "closed"


def heard_db(clean: np.ndarray, heard: np.ndarray) -> float:
    """Return how well the node's output is the clean sound, in its best quarter of a second.

    Where the machine is too slow for a moment, noisy sound is heard and the delay changes.
    """
    best = -np.inf
    for start in range(24000, len(clean) - 12000, 6000):
        piece = clean[start : start + 12000].astype(np.float64)
        window = heard[start : start + 12000 + 48000].astype(np.float64)
        if len(window) < 24000 or not piece.any():
            continue
        lag = int(np.argmax(signal.correlate(window, piece, "valid")))
        best = max(best, agreement_db(piece, window[lag : lag + 12000]))
    return best


def test_a_call_carries_the_clean_track(speaking):
    speaking.evaluate(CALL)
    noisy, _ = clip("office_48k")
    reached = -np.inf
    deadline = monotonic() + TIMEOUT_MS / 1000  # while the machine is busy, noise comes through
    while reached < range_db(noisy) + 15 and monotonic() < deadline:
        reached = range_db(floats(speaking.evaluate("call.latest(5)")))
    assert reached >= range_db(noisy) + 15
    result = speaking.evaluate("call.hangUp()")
    assert result["state"] in ("active", "late")
    assert (result["clean"], result["end"]) == ("ended", "closed")


def range_db(samples: np.ndarray) -> float:
    """Return the range from the pauses to the words in dB: noise makes it small."""
    frames = samples[: len(samples) // 960 * 960].reshape(-1, 960)
    levels = 10 * np.log10(np.mean(frames**2, axis=1) + 1e-10)
    quiet, loud = np.percentile(levels[np.any(frames, axis=1)], [20, 90])
    return float(loud - quiet)


def test_the_example_runs(speaker, site):
    page = speaker.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    page.goto(f"{site.url}/example/")
    page.click("#start")
    page.locator("#state", has_text="of a processor").wait_for()
    assert page.inner_text("#state").startswith(("active, ", "late, "))
    page.close()


@pytest.mark.parametrize("rate", [22050, 44100, 96000])
def test_strength_0_changes_nothing_at_any_rate(page, site, rate):
    site.put("/clips/noise", noise(rate))
    clean = floats(page.evaluate(DENOISE, ["/clips/noise", rate, 0]))
    assert np.array_equal(clean, noise(rate))


REFUSALS = {
    "denoise(new Float32Array(9), 4000)": "the sample rate is 4000: expected",
    "denoise(new Float32Array([NaN]), 8000)": "the sound holds NaN",
    "denoise([0, 0], 8000)": "the sound is no Float32Array",
    "denoise(undefined, 8000)": "the sound is no Float32Array",
    "denoise(new Float32Array(9), 8000, {strength: 2})": "strength is 2",
    "denoise(new Float32Array(9), 8000, {warmUp: -1})": "the warm-up is -1 s",
    "denoise(new Float32Array(9), 8000, {model: new Uint8Array(99).fill(255).buffer})": (
        "the model is not a whole ONNX file"
    ),
    "denoise(new Float32Array(9), 8000, {model: '/none.onnx'})": "none.onnx answered 404",
    "denoise(new Float32Array(9), 8000, {wasmUrl: '/none.gz', model: '/default.onnx'})": (
        "none.gz answered 404"
    ),
    "denoise(new Float32Array(9), 8000, {workerUrl: '/none.js'})": (
        "the worker's script cannot be loaded"
    ),
    "denoise(new Float32Array(9), 8000, {workerUrl: 'http://127.0.0.1:1/worker.js'})": (
        "the engine cannot be loaded: "
    ),
    "denoise(new Float32Array(9), 8000, {wasmUrl: 'http://['})": "the engine cannot be loaded: ",
    "denoise(new Float32Array(9), 8000, {server: {url: 'http://['}})": (
        "the engine cannot be loaded: "
    ),
    "openStream('ftp://example.org', {rate: 8000})": "ftp://example.org is not the address",
    "createSordinoNode(new AudioContext({sampleRate: 44100}))": (
        "the AudioContext runs at 44100 Hz: make it with"
    ),
    "createSordinoNode(new OfflineAudioContext(1, 480, 48000))": (
        "an OfflineAudioContext renders faster"
    ),
    "createSordinoNode(null)": "createSordinoNode expects an AudioContext",
    "const c = new AudioContext(); await c.close(); createSordinoNode(c)": (
        "the AudioContext is closed"
    ),
    "createSordinoNode(new AudioContext({sampleRate: 48000}), {cushion: NaN})": "cushion is NaN s",
    "createSordinoNode(new AudioContext({sampleRate: 48000}), {workletUrl: '/none.js'})": (
        "the audio worklet cannot be loaded: "
    ),
    "suppress(undefined)": "suppress expects a MediaStreamTrack",
}


@pytest.mark.parametrize("code", REFUSALS)
def test_what_cannot_be_used_is_refused_in_words(page, code):
    *before, call = code.split("; ")
    result = page.evaluate(REFUSED, "; ".join([*before, f"return {call}"]))
    assert result["said"].startswith("SordinoError: ")
    assert REFUSALS[code] in result["said"]
    wait_for_no_worker(page)
    page.errors.clear()  # the browser logs what it could not fetch


TRACK = (
    "const [track] = new MediaStreamAudioDestinationNode(new AudioContext()).stream.getTracks();"
)
CANVAS = "const [track] = document.createElement('canvas').captureStream().getTracks();"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (f"{TRACK} track.stop(); return suppress(track)", "the track has ended"),
        (f"{CANVAS} return suppress(track)", "the track carries video"),
        (f"{TRACK} return suppress(track, {{strength: 7}})", "strength is 7"),
        (f"{TRACK} return suppress(track, {{model: '/none.onnx'}})", "none.onnx answered 404"),
        (
            f"{TRACK} const going = suppress(track, {{model: '/default.onnx'}}); track.stop(); "
            "return going",
            "the track has ended",
        ),
        (
            TRACK + " AudioContext.prototype.createMediaStreamSource = () => "
            "{ throw Error('x') }; return suppress(track, {model: '/default.onnx'})",
            "the track cannot be denoised: x",
        ),
    ],
)
def test_a_track_that_is_refused_leaves_nothing_behind(page, code, message):
    result = page.evaluate(REFUSED, code)
    assert result["said"].startswith(f"SordinoError: {message}") or message in result["said"]
    assert result["said"].startswith("SordinoError: ")
    own = 1 if "new AudioContext" in code else 0  # the first is the test's
    assert set(result["contexts"][own:]) <= {"closed"}
    wait_for_no_worker(page)
    page.errors.clear()  # the browser logs what it could not fetch


def wait_for_no_worker(page) -> None:
    """A worker that was ended is gone a moment later."""
    deadline = monotonic() + 60
    while page.workers:
        assert monotonic() < deadline, page.workers
        page.wait_for_timeout(20)


AGAIN = """
async (option) => {
  const { createSordinoNode } = await import("/sordino-web/index.js");
  const context = new AudioContext({ sampleRate: 48000 });
  const attempt = async () => {
    try {
      return await createSordinoNode(context, { model: "/default.onnx", ...option });
    } catch (error) {
      return error.name;
    }
  };
  const first = await attempt();
  await fetch("/repair");
  const second = await attempt();
  const state = typeof second === "string" ? second : "a node";
  if (second.close) second.close();
  await context.close();
  return [first, state];
}
"""


@pytest.mark.parametrize("broken", ["worker.js", "worklet.js", "ort.wasm.gz"])
def test_a_failed_load_can_be_tried_again(page, site, broken):
    """With the same context and the same options, once the server has mended itself."""
    address = f"/sordino-web/{broken}"
    site.refused.add(address)

    def repair(route) -> None:
        site.refused.discard(address)
        route.fulfill(body="done")

    page.route("**/repair", repair)
    assert page.evaluate(AGAIN, {}) == ["SordinoError", "a node"]
    page.errors.clear()  # the browser logs what it could not fetch


def test_the_earlier_name_of_the_warm_up_works(page, site):
    noisy, rate = clip("phone_8k")
    site.put("/clips/warm", noisy)
    before = page.evaluate(DENOISE, ["/clips/warm", rate, 1, 2])
    assert (
        page.evaluate(
            DENOISE.replace("warmUp })", "listen: warmUp })"), ["/clips/warm", rate, 1, 2]
        )
        == before
    )
