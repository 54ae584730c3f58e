"""Real Pipecat pipelines: its own transport, frames, workers and voice activity detection."""

import asyncio
import itertools
import re
import threading
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from pipecat.audio.vad.vad_analyzer import VADParams, VADState
from pipecat.frames.frames import (
    ControlFrame,
    EndFrame,
    ErrorFrame,
    FilterEnableFrame,
    FilterUpdateSettingsFrame,
    InputAudioRawFrame,
    StartFrame,
    UserAudioRawFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_transport import TransportParams
from pipecat.workers.runner import WorkerRunner

import sordino
from sordino import examples
from sordino.arrays import to_int16
from sordino.errors import SordinoError
from sordino.inference import MaskStream
from sordino.plugins.pipecat import (
    SPEECH_PROBABILITY,
    SordinoFilter,
    SordinoFrameProcessor,
)
from support import models
from support.fences import fenced, run
from support.signals import agreement_db, noise, tone

RATE = 16000
FRAME = RATE // 50  # 20 ms
DELAY = RATE // 50


class Microphone(BaseInputTransport):
    """Pipecat's input transport; the sound is what is queued into the pipeline."""

    async def start(self, frame: StartFrame):
        await super().start(frame)
        await self.set_transport_ready(frame)


@dataclass
class Marker(ControlFrame):
    """Arrives after the control frames before it."""


class Listener(FrameProcessor):
    """Keeps the sound that arrives at the end of a pipeline."""

    def __init__(self):
        super().__init__()
        self.heard, self.markers = [], 0
        self._news = asyncio.Event()

    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            self.heard.append(frame)
        self.markers += isinstance(frame, Marker)
        self._news.set()
        await self.push_frame(frame, direction)

    async def until(self, condition):
        while not condition():
            self._news.clear()
            await self._news.wait()


async def through(processor, frames, rate=RATE):
    """Send frames through a real pipeline; return the audio frames that arrive and the errors."""
    listener = Listener()
    worker = PipelineWorker(
        Pipeline([processor, listener]),
        params=PipelineParams(audio_in_sample_rate=rate),
        cancel_on_idle_timeout=False,
        enable_rtvi=False,
    )
    worker.set_reached_upstream_filter((ErrorFrame,))
    errors, started = [], asyncio.Event()

    @worker.event_handler("on_pipeline_started")
    async def on_started(worker, frame):
        started.set()

    @worker.event_handler("on_frame_reached_upstream")
    async def on_upstream(worker, frame):
        errors.append(frame.error)

    async def talk():
        async with asyncio.timeout(60):
            await started.wait()
            sent = markers = 0
            for frame in frames:
                if isinstance(frame, InputAudioRawFrame):
                    await worker.queue_frame(frame)
                    sent += 1
                else:  # sound may overtake control frames: let each wait for the other
                    await listener.until(lambda: len(listener.heard) == sent)  # noqa: B023
                    await worker.queue_frames([frame, Marker()])
                    markers += 1
                    await listener.until(lambda: listener.markers == markers)  # noqa: B023
            await listener.until(lambda: len(listener.heard) == sent)
            await worker.queue_frame(EndFrame())

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await asyncio.gather(runner.run(), talk())
    return listener.heard, errors


def clip(name):
    return soundfile.read(examples.path(name), dtype="int16")


def frames_of(sound, rate=RATE, size=FRAME, user=None):
    for start in range(0, len(sound), size):
        audio = sound[start : start + size].tobytes()
        if user is None:
            yield InputAudioRawFrame(audio, rate, 1)
        else:
            yield UserAudioRawFrame(audio, rate, 1, user_id=user)


def joined(frames):
    return np.frombuffer(b"".join(frame.audio for frame in frames), "<i2").astype(int)


def offline(sound, rate=RATE):
    return np.rint(sordino.denoise(sound, rate, "default") * 32768).clip(-32768, 32767).astype(int)


def microphone(audio_filter):
    return Microphone(
        TransportParams(
            audio_in_enabled=True, audio_in_sample_rate=RATE, audio_in_filter=audio_filter
        )
    )


@pytest.fixture
def inference_threads(monkeypatch):
    """Names of the threads in which networks run."""
    names = set()
    run = MaskStream.process

    def spied(self, *args):
        names.add(threading.current_thread().name)
        return run(self, *args)

    monkeypatch.setattr(MaskStream, "process", spied)
    return names


@pytest.mark.slow
def test_a_transport_hears_what_the_engine_makes_of_a_file(inference_threads):
    sound, rate = clip("cafe_16k")
    assert rate == RATE
    sent = list(frames_of(sound))
    sizes = [len(frame.audio) for frame in sent]
    heard, errors = asyncio.run(through(microphone(SordinoFilter()), sent))
    assert not errors
    assert [len(frame.audio) for frame in heard] == sizes
    assert inference_threads == {"sordino_0"}  # never the event loop's
    out = joined(heard)
    assert not out[:DELAY].any()
    assert np.abs(out[DELAY:] - offline(sound)[:-DELAY]).max() <= 1


@pytest.mark.parametrize("make", [lambda: microphone(SordinoFilter()), SordinoFrameProcessor])
def test_frames_of_odd_length_do_not_end_the_input(make):
    """One such frame used to end Pipecat's input task: the bot was deaf from then on."""
    sound = (noise(RATE) * 32768).astype("<i2")
    data, sizes = sound.tobytes(), (641, 639, 3, 637, 640)
    starts = np.cumsum((0, *sizes * (len(data) // sum(sizes) + 1)))
    parts = [data[i:j] for i, j in itertools.pairwise(starts) if i < len(data)]
    sent = [InputAudioRawFrame(part, RATE, 1) for part in parts]
    heard, errors = asyncio.run(through(make(), sent))
    assert not errors
    assert all(len(frame.audio) % 2 == 0 for frame in heard)
    out = joined(heard)
    assert len(out) == len(sound)
    assert np.abs(out[DELAY:] - offline(sound)[:-DELAY]).max() <= 1


def test_a_frame_that_cannot_be_cleaned_is_passed_on(monkeypatch):
    """At worst the bot hears noise, and learns why; never nothing."""
    sound = (noise(RATE // 2) * 32768).astype("<i2")
    sent = [*frames_of(sound, 4000, 80), *frames_of(sound)]
    noisy = [frame.audio for frame in sent]
    heard, errors = asyncio.run(through(SordinoFrameProcessor(), sent))
    count = len(sound) // 80
    assert [frame.audio for frame in heard[:count]] == noisy[:count]
    assert len(errors) == 1
    assert "4000" in errors[0]
    assert np.abs(joined(heard[count:])[DELAY:] - offline(sound)[:-DELAY]).max() <= 1

    def fail(*_):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(MaskStream, "process", fail)
    sent = list(frames_of(sound))
    noisy = [frame.audio for frame in sent]
    heard, _ = asyncio.run(through(microphone(SordinoFilter()), sent))
    assert [frame.audio for frame in heard] == noisy


def test_control_frames_switch_and_turn_the_filter():
    sound = (noise(2 * RATE) * 32768).astype("<i2")

    def out_after(*controls):
        frames = [*frames_of(sound[:RATE]), *controls, *frames_of(sound[RATE:])]
        heard, errors = asyncio.run(through(microphone(SordinoFilter()), frames))
        assert not errors
        return joined(heard)[RATE + 640 :]

    late = sound[RATE + 640 - DELAY : -DELAY].astype(int)
    np.testing.assert_array_equal(out_after(FilterEnableFrame(enable=False)), late)
    np.testing.assert_array_equal(out_after(FilterUpdateSettingsFrame({"strength": 0})), late)
    limited = out_after(FilterUpdateSettingsFrame({"attenuation_limit_db": 6.0}))
    assert 5 < 20 * np.log10(late.std() / limited.std()) < 6.1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strength": 2}, "strength is 2"),
        ({"volume": 1}, "unknown setting in .'volume'"),
        ({"enabled": "no"}, "enabled is 'no': expected True or False"),
    ],
)
def test_a_wrong_setting_is_reported_and_changes_nothing(settings, message):
    sound = (noise(RATE) * 32768).astype("<i2")
    frames = [FilterUpdateSettingsFrame(settings), *frames_of(sound)]
    heard, errors = asyncio.run(through(microphone(SordinoFilter()), frames))
    assert len(errors) == 1
    assert re.search(message, errors[0])
    assert np.abs(joined(heard)[DELAY:] - offline(sound)[:-DELAY]).max() <= 1


@pytest.mark.slow
def test_a_filter_starts_again_at_another_rate():
    sound, rate = clip("phone_8k")

    async def twice():
        audio_filter = SordinoFilter()
        for size in (RATE, rate):
            await audio_filter.start(size)
            frames = [await audio_filter.filter(frame.audio) for frame in frames_of(sound)]
            yield np.frombuffer(b"".join(frames), "<i2").astype(int)
            await audio_filter.stop()

    async def collect():
        return [out async for out in twice()]

    for size, out in zip((RATE, rate), asyncio.run(collect()), strict=True):
        delay = size // 50
        assert np.abs(out[delay:] - offline(sound, size)[:-delay]).max() <= 1


def test_a_filter_that_no_transport_has_started_says_so():
    audio_filter = SordinoFilter()
    with pytest.raises(SordinoError, match="not started: hand it to a transport"):
        asyncio.run(audio_filter.filter(bytes(640)))
    assert audio_filter.speech_probability == 0


def test_voice_activity_follows_the_speech():
    """The analyzer needs no network of its own: it asks the filter."""
    sound, rate = clip("office_48k")
    clean, _ = soundfile.read(examples.path("office_48k", "clean"))
    size = rate // 50

    async def run():
        audio_filter = SordinoFilter()
        await audio_filter.start(rate)
        analyzer = audio_filter.vad_analyzer(VADParams(min_volume=0.0))
        analyzer.set_sample_rate(rate)
        states = [
            await analyzer.analyze_audio(await audio_filter.filter(frame.audio))
            for frame in frames_of(sound[: len(sound) // size * size], rate, size)
        ]
        await analyzer.cleanup()
        await audio_filter.stop()
        return states

    states = asyncio.run(run())
    level = np.sqrt(np.mean(clean[: len(states) * size].reshape(len(states), -1) ** 2, axis=1))
    speaking = np.array([state in (VADState.SPEAKING, VADState.STOPPING) for state in states])
    loud, silent = level > level.max() / 10, level < level.max() / 1000
    # Pipecat's own smoothing (0.2 s to start, 0.2 s to stop) costs some frames on both sides.
    assert speaking[loud].mean() > 0.75
    assert speaking[silent].mean() < 0.35


def test_users_in_one_room_are_kept_apart():
    sounds = {"ada": clip("cafe_16k")[0][: 2 * RATE], "ben": clip("phone_8k")[0][: 2 * 8000]}
    rates = {"ada": RATE, "ben": 8000}
    queues = [
        list(frames_of(sounds[user], rates[user], rates[user] // 50, user)) for user in sounds
    ]
    sent = [frame for pair in zip(*queues, strict=True) for frame in pair]
    noisy = [frame.audio for frame in sent]
    processor = SordinoFrameProcessor()
    heard, errors = asyncio.run(through(processor, sent))
    assert not errors
    for user, sound in sounds.items():
        own = [frame for frame in heard if frame.user_id == user]
        delay = rates[user] // 50
        out = joined(own)
        assert np.abs(out[delay:] - offline(sound, rates[user])[:-delay]).max() <= 1
        probabilities = [frame.metadata[SPEECH_PROBABILITY] for frame in own]
        assert 0 <= min(probabilities) < max(probabilities) - 0.1 < 1
    assert [frame.audio for frame in sent] == noisy  # other branches still hear the noisy sound


def test_a_user_whose_rate_or_channels_change_starts_afresh():
    def frame(rate, channels):
        return UserAudioRawFrame(bytes(rate // 50 * 2 * channels), rate, channels, user_id="ada")

    sent = [frame(16000, 1), frame(48000, 1), frame(48000, 2), frame(44100, 1), frame(8000, 1)]
    heard, errors = asyncio.run(through(SordinoFrameProcessor(), sent))
    assert not errors
    for before, after in zip(sent, heard, strict=True):
        assert len(after.audio) == len(before.audio)
        assert (after.sample_rate, after.num_channels) == (before.sample_rate, before.num_channels)


def test_a_processor_obeys_control_frames_and_hands_them_on():
    sound = (noise(RATE) * 32768).astype("<i2")
    frames = [FilterEnableFrame(enable=False), *frames_of(sound)]
    heard, errors = asyncio.run(through(SordinoFrameProcessor(name="clean"), frames))
    assert not errors
    np.testing.assert_array_equal(joined(heard)[DELAY:], sound[:-DELAY])


def test_users_who_left_are_forgotten(monkeypatch):
    processor = SordinoFrameProcessor()
    now = [0.0]
    monkeypatch.setattr("sordino.plugins.pipecat.time", SimpleNamespace(monotonic=lambda: now[0]))
    frames = [UserAudioRawFrame(bytes(640), RATE, 1, user_id=f"user {n}") for n in range(5)]

    async def room():
        for frame in frames:
            await processor._clean(frame)
            now[0] += 4
        return processor.speech_probabilities

    assert list(asyncio.run(room())) == ["user 2", "user 3", "user 4"]


def test_the_quick_start_runs():
    """The first two blocks of the page, and the frames of the second queued into the first."""
    start, control, users = fenced("how-to/pipecat", "python")
    names, frames = run(start), run(control)
    sound = (noise(RATE) * 32768).astype("<i2")
    params = names["params"].model_copy(update={"audio_in_sample_rate": RATE})
    sent = [*frames_of(sound), frames["off"], *frames_of(sound)]
    heard, errors = asyncio.run(through(Microphone(params), sent))
    assert not errors
    out = joined(heard)
    assert np.abs(out[DELAY:RATE] - offline(sound)[:-DELAY]).max() <= 1
    np.testing.assert_array_equal(out[RATE + 640 :], sound[640 - DELAY : -DELAY])
    heard, errors = asyncio.run(through(run(users)["cleaner"], [frames["less"], *frames_of(sound)]))
    assert not errors
    half = np.rint(sordino.denoise(sound, RATE, "default", strength=0.5) * 32768)
    assert np.abs(joined(heard)[DELAY:] - half[:-DELAY]).max() <= 1


@pytest.mark.parametrize("make", [SordinoFilter, SordinoFrameProcessor])
def test_an_enrolled_voice_is_kept_alone(make):
    low, high = tone(300, RATE, 1, 0.3), tone(3000, RATE, 1, 0.3)
    cleaner = make(models.voices_model(), voice=models.voice(0), voice_fallback=None)
    pipeline = microphone(cleaner) if make is SordinoFilter else cleaner
    heard, errors = asyncio.run(through(pipeline, frames_of(to_int16(low + high))))
    assert not errors
    expected = np.rint(low * 32768).astype(int)
    assert agreement_db(expected[1600:-DELAY], joined(heard)[1600 + DELAY :]) > 30


@pytest.mark.parametrize("make", [SordinoFilter, SordinoFrameProcessor])
def test_a_voice_needs_a_model_for_it(make):
    with pytest.raises(SordinoError, match="not trained to keep one voice"):
        make("small", voice=models.voice(0))
