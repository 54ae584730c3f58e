"""Lines: gain, lost packets and muting are the same for a mixture and its target."""

import numpy as np
import pytest

from sordino.train.data.codecs import automatic_gain, draw_losses, lose_packets
from support.mixtures import batch
from support.signals import noise, tone


@pytest.mark.slow
def test_automatic_gain_is_the_same_for_mixture_and_target(corpus):
    fixed = {"level_dbfs": (-20.0, -20.0), "coloured": 1.0, "pause": 1.0, "snr_db": (15.0, 15.0)}
    plain = batch(corpus, **fixed)
    drawn = batch(corpus, agc=1.0, agc_db=(15.0, 15.0), **fixed)
    moved = 0
    for noisy, clean, before, target in zip(
        drawn.noisy, drawn.clean, plain.noisy, plain.clean, strict=True
    ):
        heard = np.abs(before) > 1e-3
        gain = (noisy / np.where(heard, before, 1))[heard]
        same = np.abs(target) > 1e-3
        np.testing.assert_allclose(
            (clean / np.where(same, target, 1))[heard & same], gain[same[heard]], rtol=0.02
        )
        moved += 20 * np.log10(gain.max() / gain.min()) > 6
    assert moved >= 4


def test_what_automatic_gain_pumps_up_is_not_called_speech(corpus):
    fixed = {"coloured": 1.0, "pause": 1.0, "snr_db": (15.0, 15.0), "size": 12}
    drawn = batch(corpus, agc=1.0, agc_db=(18.0, 18.0), **fixed)
    np.testing.assert_allclose(drawn.speech.mean(), batch(corpus, **fixed).speech.mean(), atol=0.02)


def test_lost_packets_are_lost_in_mixture_and_target(corpus):
    fixed = {"level_dbfs": (-20.0, -20.0), "coloured": 1.0, "snr_db": (5.0, 5.0)}
    loss = {"packet_loss": 1.0, "packet_loss_share": (0.2, 0.2), "size": 12}
    plain, drawn = batch(corpus, size=12, **fixed), batch(corpus, **loss, **fixed)
    changed = (drawn.noisy != plain.noisy).mean()
    assert 0.12 < changed < 0.35
    untouched = drawn.noisy == plain.noisy
    # What replaces a packet may happen to equal a sample or two of it.
    assert (drawn.clean[untouched] != plain.clean[untouched]).mean() < 1e-4
    assert (drawn.clean[~untouched] != plain.clean[~untouched]).mean() > 0.7
    # The mixture is still the target and noise: no packet of the target is left where it was.
    silent = (drawn.noisy == 0) & (plain.noisy != 0)
    assert silent.mean() > 0.02
    assert np.count_nonzero(drawn.clean[silent]) < 1e-3 * silent.sum()


def test_a_muted_microphone_is_silent_for_a_while_in_mixture_and_target(corpus):
    fixed = {"level_dbfs": (-20.0, -20.0), "coloured": 1.0, "size": 12}
    plain = batch(corpus, **fixed)
    drawn = batch(corpus, mute=1.0, mute_seconds=(0.2, 0.4), **fixed)
    starts = []
    for noisy, clean, before, target in zip(
        drawn.noisy, drawn.clean, plain.noisy, plain.clean, strict=True
    ):
        start, stop = np.flatnonzero(noisy != before)[[0, -1]]
        starts.append(start)
        muted = slice(start, stop + 1)
        # What ends the example may cut the time short, and its ends may have been silent before.
        assert (stop - start) / drawn.sample_rate <= 0.4
        assert not noisy[muted].any()
        assert not clean[muted].any()
        clean[muted] = target[muted]
        np.testing.assert_array_equal(clean, target)
    assert 0 < sum(start < 10 for start in starts) < 12
    assert 0 < drawn.speech.mean() < plain.speech.mean()


def speech_and_pause(rate, background):
    """Bursts of a tone of 0.3 s with pauses of 0.3 s for 3 s, then a pause of 3 s; in noise."""
    x = tone(300, rate, 6.0, 0.3)
    x *= np.arange(6 * rate) % (6 * rate // 10) < 3 * rate // 10
    x[3 * rate :] = 0
    return x.astype(np.float32) + noise(6 * rate, level=background)


@pytest.mark.parametrize("rate", [8000, 48000])
def test_automatic_gain_rises_slowly_in_a_pause_and_falls_fast(rate):
    x = speech_and_pause(rate, 0.003)
    x = np.concatenate([x, x])
    gain = automatic_gain(x, rate, 12.0, 0.05, 0.5)
    assert gain.shape == x.shape
    level = 20 * np.log10(gain)
    assert np.abs(level).max() <= 12.001
    pause = slice(3 * rate, 6 * rate)
    assert level[6 * rate - rate // 50] == pytest.approx(12, abs=0.3)  # behind 3 s of pause
    start = level[pause][0]
    halfway = level[3 * rate + rate // 2]  # one time constant of the release
    assert (halfway - start) / (12 - start) == pytest.approx(1 - np.exp(-1), abs=0.05)
    assert level[6 * rate + rate // 5] < 2  # four time constants of the attack
    assert np.abs(np.diff(level)).max() < 0.5  # no steps to be heard


def test_automatic_gain_leaves_what_is_level():
    gain = automatic_gain(tone(300, 16000, 2.0, 0.01), 16000, 18.0, 0.05, 0.5)
    np.testing.assert_allclose(gain, 1, rtol=0.01)
    assert np.isfinite(automatic_gain(np.zeros(16000, np.float32), 16000, 18.0, 0.05, 0.5)).all()


@pytest.mark.parametrize("share", [0.01, 0.1, 0.3])
@pytest.mark.parametrize("burst", [1.0, 1.5, 3.0])
def test_losses_have_their_share_and_burst(share, burst):
    lost = draw_losses(np.random.default_rng(1), 200_000, share, burst)
    assert lost.mean() == pytest.approx(share, rel=0.1)
    starts = (np.diff(lost.astype(int), prepend=0) == 1).sum()
    assert lost.sum() / starts == pytest.approx(burst, rel=0.1)


def test_losses_can_begin_with_the_first_packet():
    first = [draw_losses(np.random.default_rng(i), 1, 0.3, 2.0)[0] for i in range(1000)]
    assert np.mean(first) == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize("rate", [8000, 16000, 24000, 48000])
def test_repetition_carries_a_period_on_and_fades(rate):
    x = tone(150, rate, 1.0)
    lost = np.zeros(10, bool)
    lost[4:6] = True  # 200 ms
    y = lose_packets(x[None], lost, rate, 0.1, repeat=True)[0]
    gone = slice(4 * rate // 10, 6 * rate // 10)
    np.testing.assert_array_equal(y[: gone.start], x[: gone.start])
    after = gone.stop + rate // 200
    np.testing.assert_array_equal(y[after:], x[after:])
    held = slice(gone.start, gone.start + rate // 100)
    # The period is found to a sample, so at 8 kHz the tone is a little off.
    assert np.corrcoef(x[held], y[held])[0, 1] > 0.98
    middle = slice(gone.start + rate * 30 // 1000, gone.start + rate * 40 // 1000)
    assert 0.3 < np.std(y[middle]) / np.std(x[middle]) < 0.7
    assert not y[gone.start + rate * 60 // 1000 : gone.stop - 1].any()


@pytest.mark.parametrize("repeat", [True, False])
def test_concealment_is_linear_so_the_target_is_the_speech_in_the_mixture(repeat):
    speech, background = tone(170, 16000, 2.0), noise(32000, 3)
    lost = draw_losses(np.random.default_rng(4), 100, 0.2, 2.0)
    both = np.stack([speech + background, speech, background])
    mixture, target, rest = lose_packets(both, lost, 16000, 0.02, repeat)
    np.testing.assert_allclose(mixture, target + rest, atol=1e-6)
    changed = (mixture != both[0]).reshape(100, 320).mean(1)
    assert (changed[lost] > 0.99).all()
    assert (changed[~lost] <= 0.26).all()  # the cross-fade
    assert np.abs(mixture).max() <= np.abs(both[0]).max()


def test_silence_where_there_is_no_past_to_repeat():
    x = noise(16000)
    lost = np.zeros(50, bool)
    lost[[0, 49]] = True
    y = lose_packets(x[None], lost, 16000, 0.02, repeat=True)[0]
    assert not y[:320].any()
    np.testing.assert_array_equal(y[320:-320], x[320:-320])
    assert np.isfinite(y).all()
