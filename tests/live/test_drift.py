"""The interpolator keeps sines clean at any ratio and any block size."""

import numpy as np
import pytest
from hypothesis import given

from sordino.live.drift import HALF_TAPS, LARGEST, DriftController, Interpolator
from support.signals import agreement_db, block_sizes, cut, noise, tone

RATES = [(48000, 48000), (48000, 44100), (44100, 48000), (48000, 16000), (16000, 48000)]


@pytest.mark.parametrize(("in_rate", "out_rate"), RATES)
@pytest.mark.parametrize("correction", [0.0, 200e-6, -LARGEST])
@pytest.mark.parametrize("share", [0.01, 0.3, 0.7])
def test_a_sine_stays_clean(in_rate, out_rate, correction, share):
    frequency = share * min(in_rate, out_rate) / 2
    interpolator = Interpolator(in_rate, out_rate)
    out = interpolator(tone(frequency, in_rate), correction)
    assert abs(len(out) / (out_rate / (1 + correction)) - 1) < 0.003
    step = in_rate / out_rate * (1 + correction)
    time = np.arange(len(out)) * step / in_rate - interpolator.latency
    wanted = 0.5 * np.sin(2 * np.pi * frequency * time)
    settled = slice(round(2.1 * interpolator.latency * out_rate), None)
    assert agreement_db(wanted[settled], out[settled]) > 85


def test_what_the_lower_rate_cannot_hold_is_removed():
    out = Interpolator(48000, 16000)(tone(10000, 48000))
    assert np.abs(out[200:]).max() < 0.5e-4


@given(sizes=block_sizes(900))
def test_blocks_leave_no_seams(sizes):
    sound = noise(6000)
    whole = Interpolator(48000, 44100)(sound, 1e-4)
    interpolator = Interpolator(48000, 44100)
    parts = np.concatenate([interpolator(block, 1e-4) for block in cut(sound, sizes)])
    assert agreement_db(whole, parts) > 100


def test_equal_rates_are_a_pure_delay():
    sound = noise(4800)
    out = Interpolator(48000, 48000)(sound)
    assert agreement_db(sound[:-HALF_TAPS], out[HALF_TAPS:]) > 120


def test_a_change_of_the_ratio_is_smooth():
    interpolator = Interpolator(48000, 48000)
    blocks = [
        interpolator(block, correction)
        for block, correction in zip(
            cut(tone(1000, 48000), [480]), np.linspace(-LARGEST, LARGEST, 100), strict=True
        )
    ]
    out = np.concatenate(blocks)[100:]
    curvature = np.abs(np.diff(out, 2)).max()
    assert curvature < 1.02 * 0.5 * (2 * np.pi * 1000 / 48000) ** 2


@pytest.mark.parametrize("ppm", [-500, 20, 500])
def test_the_controller_finds_the_drift(ppm):
    controller, delay, worst = DriftController(), 0.0, 0.0
    for _ in range(600):
        delay += ppm * 1e-6 - controller.correction
        controller.update(delay, 1.0)
        worst = max(worst, abs(delay))
    assert controller.correction == pytest.approx(ppm * 1e-6, abs=1e-6)
    assert abs(delay) < 1e-5
    assert worst < 16 * abs(ppm) * 1e-6


def test_the_correction_is_never_audible():
    controller = DriftController()
    for _ in range(100):
        controller.update(10.0, 1.0)
    assert controller.correction == LARGEST
    for _ in range(60):
        controller.update(-0.1, 1.0)
    assert controller.correction == -LARGEST
