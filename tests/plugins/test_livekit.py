"""Real LiveKit frames, and its own AudioStream reading a track through the processor."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile
from livekit import rtc

import sordino
from sordino import examples
from sordino.arrays import to_int16
from sordino.errors import SordinoError
from sordino.inference import MaskStream
from sordino.plugins.livekit import SPEECH_PROBABILITY, SordinoFrameProcessor
from support import models
from support.fences import fenced, run
from support.signals import agreement_db, noise, tone

RATE = 48000
FRAME = RATE // 100  # 10 ms
DELAY = RATE // 50 + FRAME


def frames_of(sound, rate=RATE, size=FRAME):
    channels = 1 if sound.ndim == 1 else sound.shape[1]
    for start in range(0, len(sound), size):
        part = sound[start : start + size]
        yield rtc.AudioFrame(part.tobytes(), rate, channels, len(part))


def through(processor, frames):
    """Call the processor as AudioStream does; check that every frame keeps its shape."""
    out = []
    for frame in frames:
        clean = processor._process(frame)
        assert len(clean.data) == len(frame.data)
        assert (clean.sample_rate, clean.num_channels, clean.samples_per_channel) == (
            frame.sample_rate,
            frame.num_channels,
            frame.samples_per_channel,
        )
        out.append(clean)
    return out


def joined(frames):
    return np.concatenate([np.frombuffer(frame.data, "<i2") for frame in frames]).astype(int)


def offline(sound, rate=RATE):
    return np.rint(sordino.denoise(sound, rate, "default") * 32768).clip(-32768, 32767).astype(int)


def clip(name="office_48k", seconds=2):
    sound, rate = soundfile.read(examples.path(name), dtype="int16")
    return sound[: seconds * rate]


@pytest.fixture
def processor():
    processor = SordinoFrameProcessor()
    yield processor
    processor._close()


async def listened(read, sound):
    """Speak into a track and return what `read`, an async generator, makes of it."""
    source = rtc.AudioSource(RATE, 1)
    track = rtc.LocalAudioTrack.create_audio_track("microphone", source)
    frames = read(track)

    async def speak():
        for frame in frames_of(np.concatenate([sound, np.zeros(RATE, "<i2")])):
            await source.capture_frame(frame)

    heard = []
    async with asyncio.timeout(60):
        speaking = asyncio.create_task(speak())
        async for each in frames:
            heard.append(each)
            if len(heard) == len(sound) // FRAME + 20:
                break
        await speaking
    await frames.aclose()
    await source.aclose()
    return heard


@pytest.fixture
def delivered(monkeypatch):
    """The frames that the track delivers: it begins with silence, and may put some between."""
    frames = []
    process = SordinoFrameProcessor._process

    def spied(self, frame):
        data = bytes(frame.data)
        frames.append(rtc.AudioFrame(data, RATE, 1, frame.samples_per_channel))
        return process(self, frame)

    monkeypatch.setattr(SordinoFrameProcessor, "_process", spied)
    return frames


def check_clean(out, delivered):
    noisy = joined(delivered).astype(np.int16)
    assert np.abs(noisy).max() > 0.5 * np.abs(clip()).max()
    assert np.abs(out[DELAY:] - offline(noisy)[: len(out) - DELAY]).max() <= 1


@pytest.mark.slow
def test_an_audio_stream_hears_what_the_engine_makes_of_a_file(delivered, processor):
    """A microphone track is read through the processor by LiveKit's own AudioStream."""

    async def read(track):
        stream = rtc.AudioStream.from_track(
            track=track, sample_rate=RATE, num_channels=1, noise_cancellation=processor
        )
        async for event in stream:
            yield event.frame
        await stream.aclose()

    heard = asyncio.run(listened(read, clip()))
    assert all(SPEECH_PROBABILITY in frame.userdata for frame in heard)
    check_clean(joined(heard), delivered)


@pytest.mark.slow
def test_the_quick_start_runs(delivered):
    (code,) = fenced("how-to/livekit", "python")
    heard = asyncio.run(listened(run(code)["clean_frames"], clip()))
    check_clean(joined([frame for frame, _ in heard]), delivered)
    assert all(0 <= probability <= 1 for _, probability in heard)


def test_frames_come_back_clean_a_constant_later(processor):
    sound = clip()
    out = joined(through(processor, frames_of(sound)))
    assert not out[:DELAY].any()
    assert np.abs(out[DELAY:] - offline(sound)[:-DELAY]).max() <= 1


def test_inference_never_runs_on_the_callers_thread(processor, monkeypatch):
    names = set()
    run = MaskStream.process

    def spied(self, *args):
        names.add(threading.current_thread().name)
        return run(self, *args)

    monkeypatch.setattr(MaskStream, "process", spied)
    through(processor, frames_of(clip(seconds=1)))
    assert names == {"sordino_0"}


@pytest.mark.parametrize("rate", [8000, 16000, 24000, 44100])
def test_any_rate(processor, rate):
    sound = (noise(rate) * 32768).astype("<i2")
    out = joined(through(processor, frames_of(sound, rate, rate // 100)))
    delay = sordino.Denoiser(sample_rate=rate).latency_samples + rate // 100
    assert np.abs(out[delay:] - offline(sound, rate)[:-delay]).max() <= 2


def test_stereo_channels_are_cleaned_apart(processor):
    sound = np.stack([clip(seconds=1), clip(seconds=2)[RATE:]], axis=1)
    out = joined(through(processor, frames_of(sound))).reshape(sound.shape)
    expected = np.stack([offline(sound[:, 0]), offline(sound[:, 1])], axis=1)
    assert np.abs(out[DELAY:] - expected[:-DELAY]).max() <= 1


def test_the_format_may_change_while_it_runs(processor):
    """A call that moves from one codec to another: each format starts afresh."""
    for rate, channels in [(48000, 1), (16000, 1), (16000, 2), (8000, 1), (48000, 1)]:
        sound = (noise((rate // 2, channels)) * 32768).astype("<i2")
        out = joined(through(processor, frames_of(sound, rate, rate // 100)))
        delay = (rate // 50 + rate // 100) * channels
        assert np.abs(out[delay:] - offline(sound, rate).reshape(-1)[:-delay]).max() <= 1


def test_frames_may_grow_and_shrink(processor):
    """The delay grows with the longest frame so far, and nothing is lost or doubled."""
    sound = (noise(RATE) * 32768).astype("<i2")
    sizes, start, frames = [480, 480, 960, 240, 1920, 1, 480], 0, []
    while start < len(sound):
        size = sizes[len(frames) % len(sizes)]
        frames += frames_of(sound[start : start + size], size=size)
        start += size
    out = joined(through(processor, frames))
    expected, longest, start = np.concatenate([np.zeros(RATE // 50, int), offline(sound)]), 0, 0
    for frame in frames:
        size = frame.samples_per_channel
        if size > longest:  # silence behind what is clean by now
            expected = np.insert(expected, start + longest, np.zeros(size - longest, int))
            longest = size
        start += size
    assert np.abs(out - expected[: len(out)]).max() <= 1


@pytest.mark.parametrize("sizes", [(480, 960), (480, 480, 960), (240, 480, 960, 1920)])
def test_the_event_loop_never_waits_for_the_frame_that_it_brings(processor, sizes, monkeypatch):
    """Frames that have become longer: inference of the newest one need not be done."""
    gate = threading.Event()
    run = MaskStream.process

    def slow(self, *args):
        assert gate.wait(60)
        return run(self, *args)

    for size in (*sizes, *sizes[-1:] * 3):
        monkeypatch.setattr(MaskStream, "process", run)
        if processor._pending is not None:
            processor._pending.result(60)  # the frame before is cleaned long before the next comes
        monkeypatch.setattr(MaskStream, "process", slow)
        gate.clear()
        with ThreadPoolExecutor(1) as caller:
            returned = caller.submit(through, processor, frames_of(clip()[:size], size=size))
            try:
                assert len(returned.result(10)) == 1
            finally:
                gate.set()


@pytest.mark.slow
def test_each_track_starts_afresh_and_a_renewed_token_does_not(processor):
    def news(identity="ada", sid="TR_1"):
        processor._on_stream_info_updated(
            room_name="room", participant_identity=identity, publication_sid=sid
        )

    sound = clip()
    first, second = sound[:RATE], sound[RATE:]
    news()
    heard = through(processor, frames_of(first))
    news()
    processor._on_credentials_updated(token="new", url="wss://example.org")
    heard += through(processor, frames_of(second))
    assert np.abs(joined(heard)[DELAY:] - offline(sound)[:-DELAY]).max() <= 1
    for change in (
        lambda: news(sid="TR_2"),
        lambda: news(identity="ben", sid="TR_2"),
        processor._on_stream_info_cleared,
    ):
        change()
        out = joined(through(processor, frames_of(first)))
        assert np.abs(out[DELAY:] - offline(first)[:-DELAY]).max() <= 1


def test_nothing_from_before_a_pause_is_heard_after_it(processor):
    sound = clip()
    through(processor, frames_of(sound[:RATE]))
    processor.enabled = False
    assert not processor.enabled  # AudioStream passes frames by
    processor.enabled = True
    out = joined(through(processor, frames_of(sound[RATE:])))
    assert not out[:DELAY].any()
    assert np.abs(out[DELAY:] - offline(sound[RATE:])[:-DELAY]).max() <= 1


def test_strength_and_limit_change_while_it_runs(processor):
    sound = (noise(RATE) * 32768).astype("<i2")
    processor.strength = 0
    out = joined(through(processor, frames_of(sound)))
    np.testing.assert_array_equal(out[DELAY:], sound[:-DELAY])
    processor.strength, processor.attenuation_limit_db = 1, 6
    out = joined(through(processor, frames_of(sound)))[RATE // 2 :]
    assert 5 < 20 * np.log10(sound.std() / out.std()) < 6.1
    with pytest.raises(SordinoError, match="strength is 2"):
        processor.strength = 2
    assert (processor.strength, processor.attenuation_limit_db) == (1, 6)


@pytest.mark.slow
def test_frames_tell_the_probability_of_speech_and_keep_their_userdata(processor):
    sound = clip("cafe_16k", 5)
    frames = list(frames_of(sound, 16000, 160))
    for number, frame in enumerate(frames):
        frame.userdata["number"] = number
    heard = through(processor, frames)
    assert [frame.userdata["number"] for frame in heard] == list(range(len(frames)))
    probabilities = [frame.userdata[SPEECH_PROBABILITY] for frame in heard]
    assert 0 <= min(probabilities) < 0.3
    assert 0.7 < max(probabilities) <= 1
    assert processor.speech_probability == probabilities[-1]
    processor._close()
    again = [frame.userdata[SPEECH_PROBABILITY] for frame in through(processor, frames)]
    assert again == probabilities


def test_a_closed_processor_may_be_used_again(processor):
    sound = clip(seconds=1)
    for _ in range(2):
        out = joined(through(processor, frames_of(sound)))
        assert np.abs(out[DELAY:] - offline(sound)[:-DELAY]).max() <= 1
        processor._close()


def test_an_enrolled_voice_is_kept_alone():
    low, high = tone(300, RATE, 1, 0.3), tone(3000, RATE, 1, 0.3)
    processor = SordinoFrameProcessor(models.voices_model(), voice=models.voice(0))
    sound = to_int16(low + high)
    clean = joined(through(processor, frames_of(sound)))
    expected = np.rint(low * 32768).astype(int)
    assert agreement_db(expected[4800:-DELAY], clean[4800 + DELAY :]) > 30
    assert not processor.voice_missing
    processor._close()


def test_a_voice_needs_a_model_for_it():
    with pytest.raises(SordinoError, match="not trained to keep one voice"):
        SordinoFrameProcessor("small", voice=models.voice(0))
