import asyncio
from contextlib import suppress

import numpy as np
import pytest

from sordino.denoiser import Denoiser, denoise
from sordino.errors import SordinoError
from sordino.serve.errors import Draining, Overloaded, Refusal
from sordino.serve.metrics import Metrics
from sordino.serve.scheduler import BATCH_FRAMES, Scheduler
from sordino.serve.settings import ServerSettings
from sordino.stft import NATIVE_RATES
from support import models
from support.served import speech
from support.signals import agreement_db, noise

RECURRENT = models.recurrent()


@pytest.fixture
def scheduler():
    scheduler = Scheduler(ServerSettings(calibrate=False, threads=2, late_share=1.0), Metrics())
    scheduler.start()
    yield scheduler
    scheduler.close()


def together(denoisers, sounds, size):
    """Run streams side by side, a block of each at a time."""
    heard = [[] for _ in denoisers]
    for begin in range(0, len(sounds[0]), size):
        for denoiser, sound in zip(denoisers, sounds, strict=True):
            denoiser.analyse(sound[begin : begin + size])
        Denoiser.run_batch(denoisers)
        for denoiser, blocks in zip(denoisers, heard, strict=True):
            blocks.append(denoiser.synthesise())
    return [
        np.concatenate([*blocks, denoiser.flush()])
        for blocks, denoiser in zip(heard, denoisers, strict=True)
    ]


@pytest.mark.parametrize("rate", [*NATIVE_RATES, 44100])
def test_streams_that_share_a_run_sound_as_each_alone(rate):
    sounds = [noise(rate // 2, seed) for seed in range(5)]
    results = together([Denoiser(RECURRENT, rate) for _ in sounds], sounds, rate // 100)
    for sound, clean in zip(sounds, results, strict=True):
        assert agreement_db(denoise(sound, rate, RECURRENT), clean) > 100


def test_streams_of_all_rates_and_channels_share_the_engine():
    stereo = noise((8000, 2))
    sounds = [noise(8000), stereo, noise(8000, 3), noise(8000, 4)]
    kinds = [(16000, 1), (16000, 2), (48000, 1), (11025, 1)]
    denoisers = [Denoiser(RECURRENT, rate, channels) for rate, channels in kinds]
    for (rate, _), sound, clean in zip(
        kinds, sounds, together(denoisers, sounds, 137), strict=True
    ):
        assert agreement_db(denoise(sound, rate, RECURRENT), clean) > 100


def test_the_default_model_in_batches_equals_it_alone():
    sound, rate = speech(seconds=2)
    sounds = [np.roll(sound, 1000 * k) for k in range(8)]
    results = together([Denoiser("default", rate) for _ in sounds], sounds, rate // 100)
    assert agreement_db(denoise(sound, rate, "default"), results[0]) > 100
    assert agreement_db(denoise(sounds[7], rate, "default"), results[7]) > 100


def test_live_streams_equal_the_offline_engine(scheduler):
    sound, rate = speech(seconds=1)
    sounds = [np.roll(sound, 500 * k) for k in range(12)]

    async def run(sound, size):
        with scheduler.open(rate) as stream:
            blocks = [await stream.process(sound[i : i + size]) for i in range(0, len(sound), size)]
            return np.concatenate([*blocks, await stream.flush()])

    async def main():
        return await asyncio.gather(*(run(s, 80 + 97 * k) for k, s in enumerate(sounds)))

    for sound, clean in zip(sounds, asyncio.run(main()), strict=True):
        assert clean.shape == sound.shape
        assert agreement_db(denoise(sound, rate, "default"), clean) > 100


def test_blocks_that_wait_share_runs():
    metrics = Metrics()
    scheduler = Scheduler(ServerSettings(calibrate=False, threads=1), metrics)

    async def main():
        streams = [scheduler.open(16000) for _ in range(2 * BATCH_FRAMES)]
        answers = asyncio.gather(*(each.process(np.zeros(160, "f4")) for each in streams))
        await asyncio.sleep(0)  # all of them ask before the scheduler begins
        scheduler.start()
        await answers
        scheduler.close()

    asyncio.run(main())
    assert f"sordino_batch_size_sum {2.0 * BATCH_FRAMES}" in metrics.text().decode()
    assert "sordino_batch_size_count 2.0" in metrics.text().decode()


def test_who_sends_faster_than_real_time_waits_for_who_does_not():
    scheduler = Scheduler(ServerSettings(calibrate=False, threads=1), Metrics())
    order = []

    async def ask(name, stream, seconds):
        await stream.process(np.zeros(round(16000 * seconds), "f4"))
        order.append(name)

    async def main():
        fast, *others = (scheduler.open(16000) for _ in range(6))
        fast.clock = 1e12  # it has sent hours of sound
        tasks = [asyncio.create_task(ask("fast", fast, 0.16))]
        await asyncio.sleep(0)
        tasks += [asyncio.create_task(ask("live", each, 0.04)) for each in others]
        await asyncio.sleep(0)
        scheduler.start()
        await asyncio.gather(*tasks)
        scheduler.close()

    asyncio.run(main())
    assert order == ["live"] * 5 + ["fast"]


def test_a_bad_block_is_left_out_and_hurts_nobody(scheduler):
    sound, rate = speech(seconds=0.5)
    bad = np.full(160, np.nan, "f4")

    async def good():
        with scheduler.open(rate) as stream:
            blocks = [await stream.process(sound[i : i + 160]) for i in range(0, len(sound), 160)]
            return np.concatenate([*blocks, await stream.flush()])

    async def evil():
        with scheduler.open(rate) as stream:
            for _ in range(20):
                with pytest.raises(SordinoError, match="NaN"):
                    await stream.process(bad)

    async def main():
        return (await asyncio.gather(good(), evil(), evil()))[0]

    assert agreement_db(denoise(sound, rate, "default"), asyncio.run(main())) > 100


def test_strength_reset_and_probability(scheduler):
    sound, rate = speech(seconds=1)

    async def main():
        with scheduler.open(rate, strength=0.0) as stream:
            unchanged = np.concatenate([await stream.process(sound), await stream.flush()])
            assert agreement_db(sound, unchanged) > 60
            stream.strength = 1.0
            await stream.process(sound[:5000])
            stream.reset()
            clean = np.concatenate([await stream.process(sound), await stream.flush()])
            assert agreement_db(denoise(sound, rate, "default"), clean) > 100
            await stream.process(sound[4000:8000])
            assert 0 <= stream.speech_probability <= 1

    asyncio.run(main())


def test_room_is_measured_taken_and_given_back():
    scheduler = Scheduler(ServerSettings(threads=1, late_share=1.0), Metrics())
    scheduler.start()

    async def main():
        streams = []
        with suppress(Overloaded):
            while len(streams) < 1000:
                streams.append(scheduler.open(48000))
        assert 1 <= len(streams) < 1000
        assert scheduler.admission.load > 0.8
        streams.pop().close()
        scheduler.open(48000)
        with pytest.raises(Overloaded):
            scheduler.open(48000, channels=8)
        for stream in scheduler.streams.copy():
            stream.close()
            stream.close()  # twice is once
        assert scheduler.admission.load == 0

    asyncio.run(main())
    scheduler.close()


def test_most_streams():
    scheduler = Scheduler(ServerSettings(calibrate=False, threads=1, max_streams=2), Metrics())
    first, _ = scheduler.open(8000), scheduler.open(48000, channels=8)
    with pytest.raises(Overloaded, match="2 places"):
        scheduler.open(8000)
    with pytest.raises(Overloaded):
        scheduler.check()
    first.close()
    scheduler.check()


def test_the_door_closes_while_blocks_are_late():
    scheduler = Scheduler(ServerSettings(calibrate=False, threads=1), Metrics())
    for _ in range(200):
        scheduler.admission.report(0.001)
    scheduler.check()
    for _ in range(20):
        scheduler.admission.report(0.011)
    with pytest.raises(Overloaded, match="too busy"):
        scheduler.check()


@pytest.mark.parametrize("name", ["poc-unet", "nothing", "../weights/default.onnx", "/etc/passwd"])
def test_models_that_cannot_run_live_or_are_paths(scheduler, name):
    with pytest.raises(Refusal) as refused:
        scheduler.open(16000, model=name)
    assert refused.value.code == "unknown_model"


def test_nobody_is_let_in_while_the_server_ends(scheduler):
    scheduler.drain(5)
    with pytest.raises(Draining):
        scheduler.open(16000)
    with pytest.raises(Draining):
        scheduler.check()


def test_a_stream_is_a_denoiser_with_the_same_latency(scheduler):
    assert scheduler.open(44100).latency == Denoiser(sample_rate=44100).latency
