"""The documented lines of JavaScript in a real Chromium, whose microphone plays a noisy file."""

from time import monotonic

import pytest
import soundfile
from aioice.ice import get_host_addresses

from sordino import examples
from support.browsers import TIMEOUT_MS
from support.fences import fenced
from support.served import serving

pytestmark = pytest.mark.browser

LEVELS = """async (tracks) => {
  const context = new AudioContext();
  const quietest = async (track) => {
    const stream = new MediaStream([track]);
    const player = new Audio(); // Chromium moves the sound of a peer only if something plays it
    Object.assign(player, { srcObject: stream, muted: true });
    await player.play();
    const analyser = new AnalyserNode(context, { fftSize: 4096 });
    context.createMediaStreamSource(stream).connect(analyser);
    const block = new Float32Array(4096);
    const levels = [];
    for (let i = 0; i < 60; i++) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      analyser.getFloatTimeDomainData(block);
      levels.push(10 * Math.log10(block.reduce((sum, x) => sum + x * x, 0) / 4096 + 1e-12));
    }
    levels.sort((a, b) => a - b);
    return { floor: levels[6], speech: levels[54] };
  };
  return Promise.all(tracks.map(quietest));
}"""


@pytest.fixture
def address():
    with serving() as server:
        yield server.http


def test_a_browser_hears_itself_clean(chromium, address, tmp_path):
    if not get_host_addresses(use_ipv4=True, use_ipv6=True):
        pytest.skip("this machine has no network but loopback, which Chromium does not use")
    sound, rate = soundfile.read(examples.path("office_48k"), dtype="int16")
    microphone = tmp_path / "microphone.wav"
    soundfile.write(microphone, sound, rate)
    (code,) = fenced("how-to/webrtc", "js")
    page = chromium(microphone).new_page()
    page.set_default_timeout(TIMEOUT_MS)
    page.goto(f"{address}/")
    page.evaluate(
        f"""async () => {{
          {code}
          const tracks = [noisy.getAudioTracks()[0], await clean];
          globalThis.call = {{ levels: () => ({LEVELS})(tracks), end: () => peer.close() }};
        }}"""
    )
    deadline = monotonic() + TIMEOUT_MS / 1000  # while the machine is busy, noise comes through
    noisy, clean = page.evaluate("call.levels()")
    while not is_clean(noisy, clean) and monotonic() < deadline:
        noisy, clean = page.evaluate("call.levels()")
    page.evaluate("call.end()")
    page.close()
    assert is_clean(noisy, clean), (noisy, clean)


def is_clean(before: dict[str, float], after: dict[str, float]) -> bool:
    """Return whether the pauses have become quieter, and the words have not."""
    floor, speech = (after[each] - before[each] for each in ("floor", "speech"))
    return floor < -8 and speech > -6
