"""The engine: the same sound as offline, no clicks, and what it does when it is too slow."""

import time
from contextlib import contextmanager

import numpy as np
import pytest

from sordino import examples
from sordino.denoiser import denoise
from sordino.io.audiofile import open_source
from sordino.live import fallback
from sordino.live.engine import Controls, Engine
from sordino.live.monitor import Monitor
from sordino.model import load_model
from support.live_models import SlowModel
from support.memory_ports import MemorySink, MemorySource
from support.models import constant_mask, recurrent, slices_model
from support.signals import agreement_db, noise, tone

RATE = 48000
FRAME = RATE // 100
TIMEOUT = 120  # seconds; the machine may be busy


@contextmanager
def running(sound, models, controls=None, rate=RATE, realtime=False, out_rate=None, **options):
    """Run an engine on a sound; the caller waits for what it wants to see."""
    source = MemorySource(sound, rate, realtime)
    sink = MemorySink(out_rate or RATE, realtime)
    engine = Engine(source, sink, models, controls or Controls(), Monitor(RATE), **options)
    source.open()
    sink.open()
    engine.start()
    try:
        yield engine
    finally:
        engine.stop()
        source.close()
        sink.close()
        assert engine.failure is None


def wait_until(condition, timeout=TIMEOUT):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.01)


def wait_for_sound(engine, seconds):
    samples = engine._monitor.samples + round(seconds * RATE)
    wait_until(lambda: engine._monitor.samples >= samples)


def cleaned(sound, models, controls=None, **options):
    """Run an engine to the end of a sound, as fast as possible; return what it gave, aligned."""
    with running(sound, models, controls, **options) as engine:
        assert engine.finished.wait(TIMEOUT)
        assert engine.completed
        delay = engine.fallback.delay
    return engine.sink.sound[delay:]


@pytest.fixture(scope="module")
def office():
    with open_source(examples.path("office_48k")) as source:
        assert source.info.sample_rate == RATE
        return np.concatenate(list(source.blocks()))[:, 0]


@pytest.mark.parametrize("make", [lambda: load_model("default"), recurrent])
def test_the_same_sound_as_offline(make, office):
    model, sound = make(), office[: 2 * RATE + 123]
    assert agreement_db(denoise(sound, RATE, model), cleaned(sound, [model])) > 100


def test_a_model_with_another_delay(office):
    model, sound = slices_model(1.0, -20.0), office[: 4 * RATE]
    wanted, out = denoise(sound, RATE, model), cleaned(sound, [model])
    assert len(out) == len(wanted)
    # The last slice uses later samples, of which there are none offline.
    assert agreement_db(wanted[: 2 * RATE], out[: 2 * RATE]) > 100


def test_a_strength_and_a_limit_are_passed_on():
    model, sound = recurrent(), noise(RATE)
    out = cleaned(sound, [model], Controls(strength=0.7, attenuation_limit_db=12))
    assert agreement_db(denoise(sound, RATE, model, 0.7, 12), out) > 100


@pytest.mark.parametrize("rate", [8000, 22050, 44100])
def test_an_engine_at_another_rate(rate):
    model, sound = recurrent(), noise(2 * rate + 77)
    source, sink = MemorySource(sound, rate), MemorySink(rate)
    engine = Engine(source, sink, [model], Controls(), Monitor(rate))
    source.open()
    sink.open()
    engine.start()
    assert engine.finished.wait(TIMEOUT)
    source.close()
    sink.close()
    assert engine.failure is None
    out, wanted = sink.sound[engine.fallback.delay :], denoise(sound, rate, model)
    assert len(out) == len(wanted)
    settled = slice(0, -rate // 10)  # resampled, the end depends on what follows it
    assert agreement_db(wanted[settled], out[settled]) > 100


def test_a_source_at_another_rate():
    sound = tone(1000, 44100, 2)
    out = cleaned(sound, [constant_mask(0)], rate=44100)
    assert len(out) == pytest.approx(2 * RATE, abs=FRAME)
    middle = slice(RATE // 2, RATE)
    assert agreement_db(tone(1000, RATE, 2)[middle], out[middle]) > 80


def test_bypass_is_aligned_and_untouched():
    sound = noise(RATE)
    out = cleaned(sound, [constant_mask(1)], Controls(bypass=True))
    assert np.array_equal(out, sound)


def test_mute_is_silent_and_recorded_nowhere():
    with running(noise(RATE), [constant_mask(0)], Controls(muted=True)) as engine:
        assert engine.finished.wait(TIMEOUT)
        monitor = engine._monitor
    assert not engine.sink.sound[engine.fallback.delay + FRAME :].any()
    noisy, clean = monitor.recent(0.5)
    assert not noisy.any()
    assert not clean.any()


class Switcher(MemorySource):
    """A source that uses the controls at certain samples, in step with the sound."""

    def __init__(self, sound, deeds, monitor):
        super().__init__(sound)
        self._deeds, self._monitor = deeds, monitor

    def _run(self):
        done = 0
        for sample, deed in [*self._deeds, (len(self._sound), lambda: None)]:
            while done < sample and not self._stopping.is_set():
                done += self.buffer.write(self._sound[done:sample])
                self._stopping.wait(0.0005)
            while self._monitor.samples < sample and not self._stopping.is_set():
                self._stopping.wait(0.0005)
            deed()
        self.ended = True


def test_no_switch_clicks_or_echoes():
    frequency, amplitude = 100, 0.5
    sound = tone(frequency, RATE, 3, amplitude)
    controls = Controls()
    changes = [
        (0.3, "bypass", True),
        (0.6, "bypass", False),
        (0.9, "muted", True),
        (1.2, "muted", False),
        (1.5, "strength", 0.0),
        (1.8, "strength", 1.0),
        (2.1, "strength", 0.5),
        (2.4, "bypass", True),
    ]
    deeds = [
        (round(at * RATE), lambda name=name, value=value: setattr(controls, name, value))
        for at, name, value in changes
    ]
    monitor = Monitor(RATE)
    source, sink = Switcher(sound, deeds, monitor), MemorySink()
    engine = Engine(source, sink, [constant_mask(0.5)], controls, monitor)
    source.open()
    sink.open()
    engine.start()
    assert engine.finished.wait(TIMEOUT)
    source.close()
    sink.close()
    out = sink.sound[engine.fallback.delay :]
    # At any moment it is the input times a gain that moves by at most 1 in 10 ms: so there is
    # neither a jump nor a second, shifted copy.
    steepest = amplitude * 2 * np.pi * frequency / RATE + amplitude / FRAME
    assert np.abs(np.diff(out)).max() < 1.05 * steepest
    gains = {0.25: 0.5, 0.55: 1, 0.85: 0.5, 1.15: 0, 1.45: 0.5, 1.75: 1, 2.05: 0.5, 2.35: 0.75}
    for at, gain in {**gains, 2.9: 1}.items():
        place = slice(round(at * RATE), round((at + 0.03) * RATE))
        assert np.allclose(out[place], gain * sound[place], atol=2e-3), at


def test_what_a_device_should_not_send_does_no_harm():
    sound = noise(RATE)
    sound[5000], sound[6000], sound[7000] = np.nan, np.inf, 1e30
    out = cleaned(sound, [constant_mask(0)])
    assert np.isfinite(out).all()
    assert agreement_db(sound[RATE // 2 :], out[RATE // 2 :]) > 100


def test_it_stops_after_so_many_samples():
    with running(noise(2 * RATE), [constant_mask(0)], until=RATE) as engine:
        assert engine.finished.wait(TIMEOUT)
        assert engine.completed
        assert engine._monitor.samples == RATE


@pytest.mark.slow
def test_real_time_is_steady_and_its_latency_short():
    with running(noise(40 * RATE), [load_model("default")], realtime=True) as engine:
        wait_for_sound(engine, 3)
        wait_until(lambda: 0.02 < engine.latency < 0.06)
        wait_until(lambda: 0 < engine.cpu_share < 0.9)
        wait_until(lambda: abs(engine.output.drift_ppm) < 500)
        assert not engine.finished.is_set()


@pytest.fixture
def quick_fallback(monkeypatch):
    monkeypatch.setattr(fallback, "FIRST_PAUSE", 0.5)
    monkeypatch.setattr(fallback, "TRIAL_SECONDS", 0.3)


@pytest.mark.usefixtures("quick_fallback")
@pytest.mark.slow
def test_too_slow_a_model_gives_way_and_comes_back():
    """From the best model to the lighter one, to none, and up again."""
    frequency, amplitude = 100, 0.4
    best, lighter = SlowModel(0, 0.75, "best"), SlowModel(0, 0.5, "lighter")
    sound = tone(frequency, RATE, 60, amplitude)
    with running(sound, [best, lighter], realtime=True) as engine:

        def gain():
            wait_for_sound(engine, 0.5)
            noisy, clean = engine._monitor.recent(0.2)
            return np.sqrt(np.mean(clean**2) / np.mean(noisy**2))

        wait_until(lambda: engine._monitor.samples > RATE)
        assert gain() == pytest.approx(0.25, abs=0.01)
        best.seconds = 0.03
        wait_until(lambda: engine.fallback.level == 1)
        assert gain() == pytest.approx(0.5, abs=0.01)
        lighter.seconds = 0.03
        wait_until(lambda: engine.fallback.level == 2)
        assert engine.fallback.speech_probability is None
        assert gain() == pytest.approx(1, abs=0.01)
        wait_for_sound(engine, 2)
        assert engine.fallback.level == 2, "its trials must fail"
        lighter.seconds = 0
        wait_until(lambda: engine.fallback.level == 1)
        best.seconds = 0
        wait_until(lambda: engine.fallback.level == 0)
        assert gain() == pytest.approx(0.25, abs=0.01)
        clean = engine._monitor.recent(30)[1]
        steepest = amplitude * 2 * np.pi * frequency / RATE + amplitude / FRAME
        assert np.abs(np.diff(clean)).max() < 1.05 * steepest, "a click"


@pytest.mark.slow
def test_a_short_stall_is_no_overload():
    model = SlowModel(0)
    with running(noise(20 * RATE), [model], realtime=True) as engine:
        wait_until(lambda: engine._monitor.samples > RATE)
        model.stall = 0.2
        wait_for_sound(engine, 1)
        assert model.stall == 0
        assert engine.fallback.level == 0
        assert engine.source.xruns == 0


@pytest.mark.slow
def test_slow_files_are_denoised_all_the_same():
    sound, model = noise(RATE // 2), SlowModel(0.02)
    with running(sound, [model]) as engine:
        assert engine.finished.wait(TIMEOUT)
        assert engine.fallback.level == 0
    assert (
        agreement_db(denoise(sound, RATE, model), engine.sink.sound[engine.fallback.delay :]) > 100
    )


def test_a_failure_is_kept_for_who_asks():
    class Broken(SlowModel):
        def open(self, channels, strength):
            def fail(spectra):
                raise RuntimeError("broken")

            stream = super().open(channels, strength)
            stream.process = fail
            return stream

    source, sink = MemorySource(noise(RATE)), MemorySink()
    engine = Engine(source, sink, [Broken(0)], Controls(), Monitor(RATE))
    source.open()
    sink.open()
    engine.start()
    assert engine.finished.wait(TIMEOUT)
    assert "broken" in str(engine.failure)
    assert not engine.completed
    engine.stop()
    source.close()
    sink.close()
