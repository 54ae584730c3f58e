"""The documented lines of JavaScript in a real Chromium, whose microphone plays a noisy file."""

import threading

import pytest
import soundfile
from aioice.ice import get_host_addresses

from sordino import examples
from sordino.serve.server import Server
from sordino.serve.settings import Settings
from support.fences import fenced

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
def server():
    server = Server(Settings(port=0, calibrate=False, drain_seconds=0), log_level="warning")
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        thread.join(0.05)
        assert thread.is_alive()
    yield server
    server.should_exit = True
    thread.join()


def test_a_browser_hears_itself_clean(chromium, server, tmp_path):
    if not get_host_addresses(use_ipv4=True, use_ipv6=True):
        pytest.skip("this machine has no network but loopback, which Chromium does not use")
    sound, rate = soundfile.read(examples.path("office_48k"), dtype="int16")
    microphone = tmp_path / "microphone.wav"
    soundfile.write(microphone, sound, rate)
    (code,) = fenced("how-to/webrtc", "js")
    page = chromium(microphone).new_page()
    page.goto(f"http://{server.address}/")
    noisy, clean = page.evaluate(
        f"""async () => {{
          {code}
          const levels = await ({LEVELS})([noisy.getAudioTracks()[0], await clean]);
          peer.close();
          return levels;
        }}"""
    )
    page.close()
    assert clean["floor"] < noisy["floor"] - 8
    assert clean["speech"] > noisy["speech"] - 6
