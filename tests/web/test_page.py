"""The page in a real Chromium, on a real server: both engines against the one in Python."""

import io
from base64 import b64encode
from threading import Thread
from time import monotonic, sleep

import numpy as np
import pytest
import soundfile

import sordino
from sordino import examples
from support.signals import agreement_db

LEAST_DB, RINGING_DB = 60, 40
ENGINES = ("device", "server")
TOKEN = "a-token-for-the-tests-of-the-page"
PATIENCE = 60_000  # milliseconds; the machine may be busy


def serving(**settings):
    """Run a server on a free port and give its address."""
    pytest.importorskip("fastapi")
    from sordino.serve.server import Server
    from sordino.serve.settings import Settings

    # The machine may be slow for a moment: nobody is to be turned away for that.
    options = Settings(port=0, max_streams=8, calibrate=False, late_share=1, **settings)
    server = Server(options, log_level="warning", access_log=False)
    thread = Thread(target=server.run, daemon=True)
    thread.start()
    deadline = monotonic() + 60
    while not server.started and thread.is_alive() and monotonic() < deadline:
        sleep(0.02)
    host, port = server.servers[0].sockets[0].getsockname()
    yield f"http://{host}:{port}/"
    server.should_exit = True
    thread.join(timeout=60)


@pytest.fixture(scope="module")
def address():
    """Run a server without a token."""
    yield from serving(drain_seconds=1)


@pytest.fixture(scope="module")
def guarded():
    """Run a server that wants a token."""
    yield from serving(drain_seconds=1, token=TOKEN)


@pytest.fixture(scope="module")
def speaker(chromium, tmp_path_factory):
    """Start a Chromium whose microphone hears the office."""
    path = tmp_path_factory.mktemp("page") / "noisy.wav"
    samples, rate = soundfile.read(examples.path("office_48k"), dtype="float32")
    soundfile.write(path, samples, rate, subtype="PCM_16")
    return chromium(path)


class Visit:
    """A person at the page."""

    def __init__(self, browser, address: str, fragment: str = "", **context) -> None:
        self.address = address
        self.errors: list[str] = []
        self.elsewhere: list[str] = []
        self.context = browser.new_context(**{"color_scheme": "dark", **context})
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", self._request)
        self.page.goto(address + fragment)

    def _console(self, message) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(message.text)

    def _request(self, request) -> None:
        if not request.url.startswith((self.address, "blob:", "data:")):
            self.elsewhere.append(request.url)

    def choose(self, value: str) -> None:
        self.page.locator(f'input[value="{value}"]').check()

    def drop(self, name: str) -> None:
        self.page.set_input_files("#file", examples.path(name))
        self.wait("ready")

    def wait(self, phase: str) -> None:
        self.page.wait_for_selector(f"body[data-phase={phase}], #status.bad")
        assert "bad" not in (self.page.get_attribute("#status", "class") or ""), self.status

    @property
    def status(self) -> str:
        return self.page.inner_text("#status")

    def text(self, part: str) -> str:
        return self.page.inner_text(f"#{part}")

    def set_strength(self, percent: int) -> None:
        self.page.fill("#strength", str(percent))

    def download(self) -> tuple[np.ndarray, int]:
        with self.page.expect_download() as coming:
            self.page.click("#download")
        data = coming.value.path().read_bytes()
        return soundfile.read(io.BytesIO(data), dtype="float32")

    def leave(self) -> None:
        self.context.close()
        assert not self.errors
        assert not self.elsewhere


@pytest.fixture
def visit(browser, address):
    """Come to the page; nothing may be logged, and nothing fetched from elsewhere."""
    person = Visit(browser, address)
    yield person
    person.leave()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ["office_48k", "music_44k"])
def test_a_dropped_recording_is_denoised_as_in_python(visit, engine, name):
    visit.choose(engine)
    visit.drop(name)
    assert "on this device" in visit.status or engine == "server"
    visit.set_strength(70)
    clean, rate = visit.download()
    noisy, expected_rate = soundfile.read(examples.path(name), dtype="float32")
    assert rate == expected_rate
    expected = sordino.denoise(noisy, rate, strength=0.7, warm_up=5)
    # On a server one resampler runs through what is heard first and what follows; what rings
    # between the two may be a faint frame more for the network.
    rings = engine == "server" and rate == 44100
    assert agreement_db(expected, clean) >= (RINGING_DB if rings else LEAST_DB)


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_spoken_is_denoised_as_in_python(speaker, address, engine):
    visit = Visit(speaker, address)
    visit.choose(engine)
    visit.page.click("#speak")
    visit.wait("live")
    visit.page.get_by_text("ms", exact=False).first.wait_for()
    before = visit.page.locator("#before").screenshot()
    visit.page.locator("#clock", has_text="0:04").wait_for()
    assert visit.page.locator("#before").screenshot() != before  # it moves
    assert_accessible(visit)
    assert visit.text("speech").endswith("%")
    assert visit.text("load-name") == ("CPU" if engine == "device" else "Server load")
    assert visit.text("underruns").isdigit()
    assert float(visit.text("latency").removesuffix(" ms")) >= 20
    visit.page.click("#speak")
    visit.wait("ready")
    clean, rate = visit.download()
    visit.set_strength(0)  # takes nothing
    noisy, _ = visit.download()
    visit.leave()
    assert np.sqrt(np.mean(noisy**2)) > 0.01
    expected = sordino.denoise(noisy, rate)[: -2 * rate // 100]  # what follows is not known
    assert agreement_db(expected, clean[: len(expected)]) >= LEAST_DB


def test_a_lost_server_is_not_passed_over_in_silence(speaker):
    running = serving(drain_seconds=0)
    visit = Visit(speaker, next(running))
    visit.choose("server")
    visit.page.click("#speak")
    visit.wait("live")
    visit.page.locator("#clock", has_text="0:01").wait_for()
    next(running, None)  # the server ends
    visit.page.wait_for_selector("#status.bad")
    assert visit.status.startswith("The engine has stopped, and noise comes through: ")
    visit.page.click("#speak")
    visit.wait("ready")
    visit.leave()


def test_the_pictures_show_the_noise_go(visit):
    visit.drop("office_48k")
    brightness = """id => {
        const { width, height } = document.getElementById(id);
        const copy = document.createElement("canvas");
        [copy.width, copy.height] = [width, height];
        const context = copy.getContext("2d");
        context.drawImage(document.getElementById(id), 0, 0);
        const pixels = context.getImageData(0, 0, width, height).data;
        return pixels.reduce((sum, value, n) => sum + (n % 4 === 3 ? 0 : value), 0) / pixels.length;
    }"""

    def drawn(picture):
        """Its brightness, once it no longer changes."""
        latest = None
        while latest != (latest := visit.page.evaluate(brightness, picture)):
            visit.page.wait_for_timeout(1000)
        return latest

    before = drawn("before")
    assert drawn("after") < 0.6 * before
    visit.set_strength(0)
    assert drawn("after") == pytest.approx(before, rel=0.01)
    assert float(visit.text("taken").removesuffix(" dB")) == 0


def test_listening_needs_no_mouse(visit):
    visit.drop("office_48k")
    keys = visit.page.keyboard
    mode = "document.querySelector('input[name=mode]:checked').value"
    keys.press("ArrowRight")
    visit.page.locator("#clock", has_text="0:01.0").wait_for()
    keys.press("Space")  # the button has the focus
    visit.page.wait_for_selector("#play[aria-label=Pause]")
    keys.press("a")
    assert visit.page.evaluate(mode) == "noisy"
    keys.press("n")
    assert visit.page.evaluate(mode) == "noise"
    keys.press("a")
    keys.press("a")
    assert visit.page.evaluate(mode) == "clean"
    visit.page.locator("#clock", has_text="0:02").wait_for()  # all the while it went on
    keys.press("Space")
    visit.page.wait_for_selector("#play[aria-label=Play]")
    for _ in range(7):
        keys.press("ArrowLeft")
    visit.page.locator("#clock", has_text="0:00.0").wait_for()


def test_what_is_no_sound_is_refused_in_words(visit):
    files = {"name": "letter.txt", "mimeType": "text/plain", "buffer": b"no sound at all"}
    visit.page.set_input_files("#file", files)
    visit.page.wait_for_selector("#status.bad")
    assert visit.status == "letter.txt is not a sound that this browser can read."


STREAM = """
async ([encoded, rate, size]) => {
  const { openStream } = await import("/sordino-web/index.js");
  const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
  const noisy = new Float32Array(bytes.buffer);
  const stream = await openStream("/v1/stream", { rate, strength: 1 });
  const clean = [];
  let answers = 0;
  stream.onaudio = (samples) => {
    answers++;
    clean.push(...samples);
  };
  stream.setStrength(0.5);
  for (let at = 0; at < noisy.length; at += size) stream.send(noisy.subarray(at, at + size));
  await stream.flush();
  stream.close();
  return { clean, answers, latency: stream.latency };
}
"""


def test_the_client_streams_to_the_server(visit):
    noisy, rate = soundfile.read(examples.path("cafe_16k"), frames=32000, dtype="float32")
    encoded = b64encode(noisy.tobytes()).decode()
    result = visit.page.evaluate(STREAM, [encoded, rate, 160])
    clean = np.array(result["clean"], np.float32)
    assert agreement_db(sordino.denoise(noisy, rate, strength=0.5), clean) >= LEAST_DB
    assert result["answers"] == 201  # one for each block, and one for the end
    assert result["latency"] == 0.02


def test_the_client_is_refused_in_words(visit):
    attempt = """async () => {
        const { openStream } = await import("/sordino-web/index.js");
        const refusal = openStream("/v1/stream", { rate: 16000, model: "none" });
        return refusal.then(() => "", (error) => `${error.name}: ${error.message}`);
    }"""
    assert visit.page.evaluate(attempt).startswith("SordinoError: the server says: ")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_token_opens_both_engines(browser, guarded, engine):
    visit = Visit(browser, guarded, f"#token={TOKEN}")
    assert TOKEN not in visit.page.url
    visit.choose(engine)
    visit.drop("phone_8k")
    visit.leave()


@pytest.mark.parametrize("engine", ENGINES)
def test_without_the_token_the_page_says_so(browser, guarded, engine):
    visit = Visit(browser, guarded)
    visit.choose(engine)
    visit.page.set_input_files("#file", examples.path("phone_8k"))
    visit.page.wait_for_selector("#status.bad")
    assert "token" in visit.status
    visit.errors.clear()  # the browser logs each 401
    visit.leave()


def assert_accessible(visit: Visit) -> None:
    """Let axe look for what keeps people from using the page."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found = axe.run(visit.page)
    assert not found.response["violations"], found.generate_report()


@pytest.mark.parametrize(("width", "colours"), [(1280, "dark"), (360, "light")])
def test_everybody_can_use_it(browser, address, width, colours):
    size = {"width": width, "height": 800}
    visit = Visit(browser, address, color_scheme=colours, viewport=size)

    def look(theme: str) -> None:
        assert visit.page.get_attribute("html", "data-theme") == theme
        assert_accessible(visit)
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width

    look(colours)
    visit.page.click("#example")
    visit.wait("ready")
    look(colours)
    visit.page.click("#theme")
    look("light" if colours == "dark" else "dark")
    visit.leave()
