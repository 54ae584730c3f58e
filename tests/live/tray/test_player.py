"""A/B playing, into the null sink of a real PulseAudio server."""

from contextlib import closing

import numpy as np
import pytest

from support.desktop import application, require_qt, spin_until
from support.signals import tone
from support.sound_servers import RATE, Recorder, Server, undisturbed

require_qt()
pytestmark = [pytest.mark.slow, pytest.mark.audio]

from sordino.live.backends import choose_backend  # noqa: E402
from sordino.live.tray.player import Player  # noqa: E402

NOISY_HZ, CLEAN_HZ = 500, 1500
SECONDS = 0.8


@pytest.fixture(scope="module")
def server():
    with Server("pulseaudio") as server:
        server.add_room()
        yield server


@pytest.fixture
def player(server):
    application()
    with closing(choose_backend()) as backend:
        player = Player(lambda rate: backend.open_output("room", rate))
        yield player
        player.stop()


def pitches(sound):
    """Return the strongest frequency of each 50 ms in which there is sound, in Hz."""
    step = RATE // 20
    frames = sound[: len(sound) // step * step].reshape(-1, step)
    frames = frames[np.abs(frames).max(axis=1) > 0.01]
    return np.abs(np.fft.rfft(frames * np.hanning(step))).argmax(axis=1) * 20


def played(player, do=lambda: None, sample_rate=RATE):
    """Play the two tones and return what is heard in the room until all is over."""
    noisy, clean = (tone(f, sample_rate, SECONDS, 0.2) for f in (NOISY_HZ, CLEAN_HZ))
    with Recorder("room.monitor") as recorder:
        recorder.read(0.1)
        player.play(noisy, clean, sample_rate)
        do()
        spin_until(lambda: not player.playing, "the end")
        return recorder.read(2 * SECONDS + 0.5)


def test_plays_noisy_then_clean(player):
    heard = undisturbed(lambda: pitches(played(player)), lambda heard: (np.diff(heard) >= 0).all())
    assert np.count_nonzero(heard == NOISY_HZ) * 0.05 == pytest.approx(SECONDS, abs=0.1)
    assert np.count_nonzero(heard == CLEAN_HZ) * 0.05 == pytest.approx(SECONDS, abs=0.1)
    assert (np.diff(heard) >= 0).all()


def test_switches_at_the_same_place_without_a_click(player):
    def switch():
        spin_until(lambda: player.share > 0.5, "the middle")
        player.switch("clean")

    def steepest_step(sound):
        middle = sound[np.flatnonzero(np.abs(sound) > 0.01)[0] :][480 : round(0.9 * SECONDS * RATE)]
        return np.abs(np.diff(middle)).max()

    limit = 1.3 * 2 * np.pi * CLEAN_HZ / RATE * 0.2  # of the steeper tone
    sound = undisturbed(
        lambda: played(player, do=switch), lambda sound: steepest_step(sound) < limit
    )
    heard = pitches(sound)
    assert len(heard) * 0.05 == pytest.approx(SECONDS, abs=0.15)  # and not from the start again
    assert {NOISY_HZ, CLEAN_HZ} <= set(heard)
    assert steepest_step(sound) < limit


def test_converts_to_the_rate_of_the_loudspeaker(server):
    application()
    with closing(choose_backend()) as backend:
        player = Player(lambda _: backend.open_output("room", RATE))  # whatever is asked for
        heard = pitches(played(player, sample_rate=16000))
    assert np.count_nonzero(heard == NOISY_HZ) * 0.05 == pytest.approx(SECONDS, abs=0.1)


def test_says_why_it_cannot_begin(server):
    reasons = []
    with closing(choose_backend()) as backend:
        player = Player(lambda rate: backend.open_output("headphones", rate))
        player.failed.connect(reasons.append)
        player.play(tone(500, RATE), tone(500, RATE), RATE)
    assert not player.playing
    assert len(reasons) == 1
    assert "'headphones'" in reasons[0]


def test_says_when_the_loudspeaker_goes(server):
    reasons = []
    speaker = server.add_room("speaker")
    with closing(choose_backend()) as backend:
        player = Player(lambda rate: backend.open_output("speaker", rate))
        player.failed.connect(reasons.append)
        player.play(tone(500, RATE, 9), tone(500, RATE, 9), RATE)
        server.remove(speaker)
        spin_until(lambda: not player.playing, "noticing that the loudspeaker has gone")
    assert len(reasons) == 1
    assert reasons[0].endswith("is not there any more")
