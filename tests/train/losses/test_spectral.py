import math

import pytest
import torch

from sordino.train.losses.spectral import (
    LossConfig,
    band_distortion,
    noise_presence,
    residual_loss,
    spectral_loss,
    start_weight,
    total_loss,
    waveform_loss,
)

RATE = 16000
CONFIG = LossConfig()
FULL = torch.tensor([8000.0, 8000.0])


def noise(seed: int = 0) -> torch.Tensor:
    return torch.randn(2, RATE, generator=torch.Generator().manual_seed(seed))


def test_a_perfect_estimate_costs_nothing() -> None:
    x = noise()
    assert max(v.item() for v in spectral_loss(x, x, FULL, RATE, CONFIG).values()) < 1e-8
    terms = waveform_loss(x, x)
    assert terms["sdr"].item() == pytest.approx(-30, abs=1e-3)
    assert terms["attenuation"].item() == pytest.approx(0, abs=1e-4)


def test_halved_speech_is_six_decibels_of_attenuation() -> None:
    assert waveform_loss(noise() / 2, noise())["attenuation"].item() == pytest.approx(
        6.02, abs=0.01
    )
    assert waveform_loss(noise() * 2, noise())["attenuation"].item() == 0


def test_distortion_of_equal_power_is_zero_decibels() -> None:
    clean = noise()
    sdr = waveform_loss(clean + noise(1), clean)["sdr"].item()
    assert sdr == pytest.approx(10 * math.log10(1 + 1e-3), abs=0.1)


def test_a_band_counts_by_its_own_ratio_not_by_its_energy() -> None:
    t = torch.arange(RATE) / RATE
    low, high = torch.sin(2 * torch.pi * 400 * t), 0.03 * torch.sin(2 * torch.pi * 5000 * t)
    clean = torch.stack([low + high, low + high])
    without_high, with_half = torch.stack([low, low]), torch.stack([low + high / 2] * 2)
    lost = band_distortion(without_high, clean, FULL, RATE).item()
    half = band_distortion(with_half, clean, FULL, RATE).item()
    perfect = band_distortion(clean, clean, FULL, RATE).item()
    assert perfect == pytest.approx(-30, abs=1e-3)
    assert waveform_loss(without_high, clean)["sdr"].item() < -27  # nobody would learn to keep it
    bands_hit = (lost - perfect) / 30
    assert half - perfect == pytest.approx(bands_hit * (30 - 6.02), abs=0.1)
    assert 0.1 < bands_hit < 0.9


@pytest.mark.parametrize("rate", [8000, 16000, 24000, 48000])
def test_white_noise_distorts_every_band_of_white_noise_alike(rate: int) -> None:
    full = torch.full((2,), rate / 2)
    generator = torch.Generator().manual_seed(3)
    clean, error = torch.randn(2, 2, 2 * rate, generator=generator)
    value = band_distortion(clean + 0.1 * error, clean, full, rate).item()
    assert value == pytest.approx(10 * math.log10(0.01 + 1e-3), abs=0.3)
    above = band_distortion(clean + 0.1 * error, clean, full / 2, rate).item()
    assert above == pytest.approx(value, abs=0.3)


def test_silent_targets_have_no_waveform_terms() -> None:
    terms = waveform_loss(noise(), torch.zeros(2, RATE))
    assert all(v.item() == 0 for v in terms.values())
    assert band_distortion(noise(), torch.zeros(2, RATE), FULL, RATE).item() == 0


def test_eating_speech_costs_more_than_leaving_noise() -> None:
    clean = noise()
    eaten = spectral_loss(clean * 10**-0.3, clean, FULL, RATE, CONFIG)["over"]
    left = spectral_loss(clean * 10**0.3, clean, FULL, RATE, CONFIG)["over"]
    assert eaten > 0.01
    assert left < 1e-8


def test_above_the_bandwidth_nothing_counts() -> None:
    t = torch.arange(RATE) / RATE
    low, high = torch.sin(2 * torch.pi * 500 * t), torch.sin(2 * torch.pi * 6000 * t)
    clean = torch.stack([low, low])
    estimate = torch.stack([low + high, low + high])
    narrow = torch.tensor([4000.0, 4000.0])
    hidden = spectral_loss(estimate, clean, narrow, RATE, CONFIG)["magnitude"]
    seen = spectral_loss(estimate, clean, FULL, RATE, CONFIG)["magnitude"]
    assert hidden < 0.01 * seen


def test_residual_is_the_level_of_noise_where_nobody_speaks() -> None:
    speech = torch.ones(2, 100)
    speech[:, 50:] = 0
    estimate = noise()
    estimate[:, RATE // 2 :] *= 0.1
    left = residual_loss(estimate, noise(), speech, RATE).item()
    assert left == pytest.approx(-20, abs=0.1)
    assert residual_loss(noise(), noise(), torch.ones(2, 100), RATE) == 0
    assert residual_loss(0 * noise(), 0 * noise(), speech, RATE) == 0
    assert residual_loss(0 * noise(), noise(), speech, RATE).item() == pytest.approx(-40)


def test_noise_is_present_until_half_a_second_after_it() -> None:
    sound = torch.zeros(2, RATE)
    sound[0, 1600:3200] = 0.02
    sound[1] = 0.009
    there = noise_presence(sound, RATE)
    assert there.shape == (2, 100)
    assert there[0].nonzero()[:, 0].tolist() == list(range(10, 70))
    assert not there[1].any()


def test_a_constant_offset_is_no_noise() -> None:
    assert noise_presence(torch.full((1, RATE), 0.5), RATE).max() == 0


def test_the_first_second_weighs_more_and_the_mean_stays_one() -> None:
    weight = start_weight(400, 100, 0.5, torch.device("cpu"))
    assert weight.mean().item() == pytest.approx(1)
    assert (weight[:100] / weight[100]).tolist() == pytest.approx([1.5] * 100)


def test_the_level_of_the_recording_does_not_count() -> None:
    noisy, clean = noise(1) + noise(), noise()
    speech, logits = torch.ones(2, 100), (torch.zeros(2, 100), torch.ones(2, 100))

    def loss(gain: float) -> float:
        batch = (gain * noisy, gain * clean, FULL, speech)
        return total_loss(0.7 * gain * noisy, batch, logits, RATE, CONFIG)[0].item()

    assert loss(1e-3) == pytest.approx(loss(1.0), rel=1e-3)


def test_a_batch_is_the_mean_of_its_halves() -> None:
    noisy, clean = noise(1) + noise(), noise()
    clean[1] = 0  # one example without speech
    width = torch.tensor([8000.0, 3000.0])
    speech, logits = torch.ones(2, 100), (torch.zeros(2, 100), torch.ones(2, 100))

    def loss(part: slice) -> torch.Tensor:
        batch = (noisy[part], clean[part], width[part], speech[part])
        here = (logits[0][part], logits[1][part])
        return total_loss(0.5 * noisy[part], batch, here, RATE, CONFIG)[0]

    halves = (loss(slice(0, 1)) + loss(slice(1, 2))) / 2
    torch.testing.assert_close(loss(slice(0, 2)), halves)
