"""The page in a real Chromium, on a real server: both engines against the one in Python."""

import io
import re
from base64 import b64encode
from contextlib import ExitStack

import numpy as np
import pytest
import soundfile

import sordino
from sordino import examples
from sordino.batch.process import denoise_file
from sordino.batch.track import DenoiseSettings
from sordino.voice import Voice
from sordino.voice.encoder import SIZE, VoiceEncoder
from support.browsers import Visitor, without_gaps
from support.signals import agreement_db

pytest.importorskip("fastapi")

from support.served import TOKEN, serving

pytestmark = pytest.mark.browser

LEAST_DB = 60
MODELS = {"device": "default", "server": "studio"}  # for recordings
ENGINES = tuple(MODELS)


@pytest.fixture(scope="module")
def address():
    """Run a server without a token."""
    with serving(max_streams=8) as server:
        yield f"{server.http}/"


@pytest.fixture(scope="module")
def guarded():
    """Run a server that wants a token."""
    with serving(max_streams=8, token=TOKEN) as server:
        yield f"{server.http}/"


@pytest.fixture(scope="module")
def speaker(chromium, tmp_path_factory):
    """Start a Chromium whose microphone hears the office."""
    path = tmp_path_factory.mktemp("page") / "noisy.wav"
    samples, rate = soundfile.read(examples.path("office_48k"), dtype="float32")
    soundfile.write(path, samples, rate, subtype="PCM_16")
    return chromium(path)


class Visit(Visitor):
    """A person at the page, who sees to it that nothing is fetched from elsewhere."""

    def __init__(self, browser, address: str, fragment: str = "", **context) -> None:
        super().__init__(browser, address + fragment, **{"color_scheme": "dark", **context})
        self.address = address

    def choose(self, value: str) -> None:
        self.page.locator(f'input[value="{value}"]').check()

    def open(self, *names: str) -> None:
        self.page.set_input_files("#file", [examples.path(name) for name in names])

    def drop(self, name: str) -> None:
        self.open(name)
        self.wait("ready")

    def wait(self, phase: str) -> None:
        self.page.wait_for_selector(f"body[data-phase={phase}], #status.bad")
        assert "bad" not in (self.page.get_attribute("#status", "class") or ""), self.status

    def wait_until_clock_shows(self, seconds: float) -> None:
        """Wait until so much has been played or spoken, or more."""
        self.page.wait_for_function(
            """(seconds) => {
                const [minutes, rest] = document.getElementById("clock").textContent.split(":");
                return 60 * Number(minutes) + parseFloat(rest) >= seconds;
            }""",
            arg=seconds,
        )

    def wait_for_figure(self, part: str, pattern: str) -> str:
        """Wait until a figure is shown in full; return its text."""
        figure = self.page.locator(f"#{part}", has_text=re.compile(pattern))
        figure.wait_for()
        return figure.inner_text()

    @property
    def figures(self) -> set[str]:
        """The figures that are shown."""
        return {each.get_attribute("id") for each in self.page.locator("dd:visible").all()}

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
        self.__exit__(None, None, None)
        own = (self.address, "blob:", "data:")
        assert not [url for url in self.requests if not url.startswith(own)]


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
    expected = sordino.denoise(noisy, rate, MODELS[engine], strength=0.7, warm_up=5)
    assert agreement_db(expected, clean) >= LEAST_DB


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_spoken_is_denoised_as_in_python(speaker, address, engine):
    visit = Visit(speaker, address)
    visit.choose(engine)
    visit.page.click("#speak")
    visit.wait("live")
    visit.wait_until_clock_shows(1)
    before = visit.page.locator("#before").screenshot()
    visit.wait_until_clock_shows(4)
    assert visit.page.locator("#before").screenshot() != before  # it moves
    assert_accessible(visit)
    visit.wait_for_figure("speech", r"%$")
    visit.wait_for_figure("underruns", r"^\d+$")
    visit.wait_for_figure("taken", r" dB$")
    assert visit.text("load-name") == ("CPU" if engine == "device" else "Server load")
    assert float(visit.text("latency").removesuffix(" ms")) >= 20
    visit.page.click("#speak")
    visit.wait("ready")
    agreements = [spoken_agreement_db(visit)]
    # While the machine is busy, sound passes as it is, or is missing.
    while agreements[-1] < LEAST_DB and len(agreements) < 5:
        visit.set_strength(100)
        visit.page.click("#speak")
        visit.wait("live")
        visit.wait_until_clock_shows(3)
        visit.page.click("#speak")
        visit.wait("ready")
        agreements.append(spoken_agreement_db(visit))
    visit.leave()
    assert agreements[-1] >= LEAST_DB, agreements


def spoken_agreement_db(visit: Visit) -> float:
    """Return how well what the page recorded while somebody spoke is what Python makes of it."""
    clean, rate = visit.download()
    visit.set_strength(0)  # removes nothing
    noisy, _ = visit.download()
    assert np.sqrt(np.mean(noisy**2)) > 0.01
    noisy, clean = without_gaps(noisy, clean, rate)
    expected = sordino.denoise(noisy, rate, "default")
    expected = expected[: -2 * rate // 100]  # what follows is not known
    return agreement_db(expected, clean[: len(expected)])


@pytest.mark.parametrize("engine", ENGINES)
def test_an_enrolled_voice_is_kept_alone_and_can_be_forgotten(browser, address, engine):
    me = Voice(np.eye(SIZE, dtype=np.float32)[0], VoiceEncoder.load().id)
    noisy, rate = soundfile.read(examples.path("phone_8k"), dtype="float32")
    visit = Visit(browser, address)
    assert visit.page.locator("#my-voice").is_disabled()
    visit.page.evaluate("text => localStorage.setItem('sordino-voice', text)", me.to_text())
    visit.page.reload()
    visit.choose(engine)
    visit.drop("phone_8k")
    clean, _ = visit.download()
    alone = sordino.denoise(noisy, rate, voice=me, warm_up=5)
    assert agreement_db(alone, clean) >= LEAST_DB
    visit.page.click(".profile summary")
    visit.page.click("#forget-voice")
    assert visit.page.evaluate("localStorage.getItem('sordino-voice')") is None
    visit.wait("ready")
    clean, _ = visit.download()
    everybody = sordino.denoise(noisy, rate, MODELS[engine], warm_up=5)
    assert agreement_db(everybody, clean) >= LEAST_DB
    assert agreement_db(everybody, alone) < LEAST_DB / 2
    visit.leave()


def test_a_lost_server_is_reported(speaker):
    with ExitStack() as running:
        server = running.enter_context(serving(max_streams=8))
        visit = Visit(speaker, f"{server.http}/")
        visit.choose("server")
        visit.page.click("#speak")
        visit.wait("live")
        visit.wait_until_clock_shows(1)
    visit.page.wait_for_selector("#status.bad")
    assert visit.status.startswith("The engine has stopped, and noise comes through: ")
    visit.page.click("#speak")
    visit.page.wait_for_selector("body[data-phase=ready]")
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
        """Return its brightness, once it is drawn."""
        visit.page.wait_for_selector("body:not([data-drawing])")
        return visit.page.evaluate(brightness, picture)

    before = drawn("before")
    assert drawn("after") < 0.6 * before
    visit.set_strength(0)
    assert drawn("after") == pytest.approx(before, rel=0.01)
    assert visit.text("taken") == "none"


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
    visit.wait_until_clock_shows(2)  # it played on all the while
    keys.press("Space")
    visit.page.wait_for_selector("#play[aria-label=Play]")
    for _ in range(7):
        keys.press("ArrowLeft")
    visit.page.locator("#clock", has_text="0:00.0").wait_for()


LETTER = {"name": "letter.txt", "mimeType": "text/plain", "buffer": b"no sound at all"}
REFUSAL = "letter.txt is not a sound that this browser can read."


def test_what_is_no_sound_is_refused_in_words(visit):
    visit.page.set_input_files("#file", LETTER)
    visit.page.wait_for_selector("#status.bad")
    assert visit.status == REFUSAL


@pytest.mark.parametrize("name", ["office_48k", "music_44k", "phone_8k"])
def test_noise_taken_is_what_the_command_says(visit, name, tmp_path):
    visit.drop(name)
    settings = DenoiseSettings("default")  # which the page has
    report = denoise_file(examples.path(name), tmp_path / "clean.wav", settings)
    assert report.noise_taken_db > 5
    assert visit.text("taken") == f"{report.noise_taken_db:.1f} dB"


def test_a_recording_has_no_empty_figures(visit):
    visit.drop("office_48k")
    assert visit.figures == {"taken", "load"}
    assert "–" not in visit.page.inner_text(".stage")


def test_figures_go_when_another_recording_begins(visit):
    visit.drop("office_48k")
    assert visit.figures
    seen = visit.page.evaluate(
        """async () => {
            const shown = () => [...document.querySelectorAll("dd")].filter(
                (each) => each.checkVisibility()).length;
            const figures = new Promise((done) => new MutationObserver(() => {
                if (document.body.dataset.phase === "busy") done(shown());
            }).observe(document.body, { attributes: true }));
            document.getElementById("example").click();
            return figures;
        }"""
    )
    assert seen == 0
    visit.wait("ready")
    assert visit.figures == {"taken", "load"}


@pytest.mark.parametrize("width", [1280, 390])
def test_the_seek_bar_lies_inside_its_frame(browser, address, width):
    visit = Visit(browser, address, viewport={"width": width, "height": 800})
    visit.drop("phone_8k")
    bar, frame = (visit.page.locator(each).bounding_box() for each in ("#timeline", ".pictures"))
    assert frame["x"] <= bar["x"]
    assert bar["x"] + bar["width"] <= frame["x"] + frame["width"]
    visit.leave()


def test_a_click_is_seen_in_a_long_recording(visit, tmp_path):
    """It lies between the middles of two columns of the picture."""
    rate, minutes = 8000, 10
    sound = np.full(60 * minutes * rate, 1e-4, np.float32)
    sound *= np.random.default_rng(0).standard_normal(len(sound)).astype("f4")
    column = len(sound) / 1024
    click = round(500 * column)
    sound[click : click + 160] = 0.5 * np.sin(np.arange(160))
    path = tmp_path / "long.wav"
    soundfile.write(path, sound, rate)
    visit.page.set_input_files("#file", path)
    visit.page.wait_for_selector("body[data-phase=busy]")
    visit.page.wait_for_selector("body:not([data-drawing])")
    columns = visit.page.evaluate(
        """() => {
            const canvas = document.getElementById("before");
            const copy = document.createElement("canvas");
            [copy.width, copy.height] = [canvas.width, canvas.height];
            const context = copy.getContext("2d");
            context.drawImage(canvas, 0, 0);
            const { data } = context.getImageData(0, 0, copy.width, copy.height);
            const columns = new Array(copy.width).fill(0);
            for (let n = 0; n < data.length; n += 4) columns[(n / 4) % copy.width] += data[n];
            return columns;
        }"""
    )
    brightest = int(np.argmax(columns)) / len(columns)
    assert abs(brightest - 500 / 1024) < 3 / 1024
    assert max(columns) > 1.25 * np.median(columns)


def test_several_files_are_denoised_one_after_the_other(visit, tmp_path):
    names = ["office_48k", "phone_8k", "cafe_16k"]
    files = [
        {
            "name": f"{name}.flac",
            "mimeType": "audio/flac",
            "buffer": examples.path(name).read_bytes(),
        }
        for name in names
    ]
    visit.page.set_input_files("#file", [files[0], LETTER, *files[1:]])
    rows = visit.page.locator("#takes li[data-state=ready]")
    rows.nth(2).wait_for()
    assert rows.count() == 3
    assert REFUSAL in visit.status
    visit.wait_for_figure("taken", r" dB$")
    for name in reversed(names):
        visit.page.get_by_role("button", name=f"{name}.flac", exact=True).click()
        clean, rate = visit.download()
        noisy, _ = soundfile.read(examples.path(name), dtype="float32")
        expected = sordino.denoise(noisy, rate, "default", warm_up=5)
        assert agreement_db(expected, clean) >= LEAST_DB
    assert_accessible(visit)
    saved = []
    visit.page.on("download", lambda download: saved.append(download))
    with visit.page.expect_event("download", lambda _: len(saved) == 3):
        visit.page.click("#download-all")
    assert {each.suggested_filename for each in saved} == {f"{name}-clean.wav" for name in names}
    visit.page.get_by_role("button", name="Remove phone_8k.flac").click()
    visit.page.get_by_role("button", name="Remove cafe_16k.flac").click()
    assert not visit.page.locator("#takes").is_visible()
    assert "office_48k.flac" in visit.status
    visit.errors.clear()  # the browser may log what it could not read


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
    assert agreement_db(sordino.denoise(noisy, rate, "default", strength=0.5), clean) >= LEAST_DB
    assert result["answers"] == 201  # one for each block, and one for the flush
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
    visit.open("phone_8k")
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
