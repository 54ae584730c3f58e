import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sordino.stft import NATIVE_RATES, bins
from sordino.train.export import count_parameters
from sordino.train.unet import Features, UNet, UNetConfig, stft

SMALL = UNetConfig(channels=(4, 8), blocks=2, hidden=8)


def network(seed: int = 0) -> UNet:
    torch.manual_seed(seed)
    net = UNet(SMALL).eval()
    for learnt in (net.gate.weight, net.noise.weight, net.presence.out.weight):
        torch.nn.init.normal_(learnt)
    return net


def frames(t: int, rate: int = 16000, seed: int = 0, batch: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.01 * torch.randn(batch, t, bins(rate), 2, generator=generator)


def run(net: UNet, x: Tensor, voice: Tensor | None = None) -> tuple[Tensor, Tensor]:
    voice = torch.zeros(len(x), SMALL.voice_size) if voice is None else voice
    with torch.no_grad():
        mask, speech, *_ = net(x, voice, net.initial_state(len(x)))
    return mask, speech


@pytest.mark.parametrize("rate", NATIVE_RATES)
def test_one_network_serves_every_rate(rate: int) -> None:
    x = frames(5, rate, batch=3)
    mask, speech = run(network(), x)
    assert mask.shape == x.shape
    assert speech.shape == (3, 5)
    assert mask[..., 0].max() <= 1


def test_bins_that_a_rate_lacks_are_as_good_as_empty() -> None:
    low = frames(20, 16000)
    full = torch.zeros(1, 20, bins(48000), 2)
    full[:, :, : bins(16000)] = low
    torch.testing.assert_close(
        run(network(), full)[0][:, :, : bins(16000)], run(network(), low)[0], atol=1e-5, rtol=0
    )


@pytest.mark.slow
@given(cut=st.integers(1, 19), seed=st.integers(0, 99))
@settings(max_examples=20)
def test_the_future_changes_nothing(cut: int, seed: int) -> None:
    net, x = network(), frames(20, seed=seed)
    other = x.clone()
    other[:, cut:] = frames(20, seed=seed + 100)[:, cut:]
    for ours, theirs in zip(run(net, x), run(net, other), strict=True):
        torch.testing.assert_close(ours[:, :cut], theirs[:, :cut], atol=1e-6, rtol=0)
        assert not torch.allclose(ours[:, cut:], theirs[:, cut:], atol=1e-6)


@pytest.mark.slow
@given(cuts=st.lists(st.integers(1, 29), min_size=1, max_size=6, unique=True).map(sorted))
@settings(max_examples=20)
def test_pieces_equal_the_whole(cuts: list[int]) -> None:
    net, x = network(), frames(30)
    state, voice = net.initial_state(1), torch.zeros(1, SMALL.voice_size)
    masks = []
    with torch.no_grad():
        for a, b in zip([0, *cuts], [*cuts, 30], strict=True):
            output = net(x[:, a:b], voice, state)
            masks.append(output.mask)
            state = output.state
    torch.testing.assert_close(torch.cat(masks, 1), run(net, x)[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("gain", [1e-3, 0.1, 30.0])
def test_level_makes_no_difference(gain: float) -> None:
    net, x = network(), frames(30)
    torch.testing.assert_close(run(net, gain * x)[0], run(net, x)[0], atol=1e-3, rtol=0)


def test_no_voice_is_the_universal_network() -> None:
    net, x = network(), frames(8)
    anyone, someone = torch.zeros(1, SMALL.voice_size), torch.ones(1, SMALL.voice_size)
    before = run(net, x, anyone)[0]
    torch.testing.assert_close(run(net, x, someone)[0], before)  # FiLM starts at zero
    torch.nn.init.normal_(net.film.weight)
    torch.testing.assert_close(run(net, x, anyone)[0], before)
    assert not torch.allclose(run(net, x, someone)[0], before, atol=1e-3)


def test_a_closed_gate_takes_everything_and_an_open_one_nothing_away() -> None:
    net, x = network(), frames(10)
    for learnt in (net.gate.weight, net.presence.out.weight):
        torch.nn.init.zeros_(learnt)
    torch.nn.init.constant_(net.gate.bias, -30.0)
    everything = torch.zeros_like(x)
    everything[..., 0] = 1
    torch.testing.assert_close(run(net, x)[0], everything)
    kept = []
    for logit in (30.0, 0.0):  # gates of 1 and 1/2
        torch.nn.init.constant_(net.gate.bias, logit)
        kept.append(everything - run(net, x)[0])
    torch.testing.assert_close(kept[1], kept[0] / 2, atol=1e-6, rtol=0)


def test_without_noise_nothing_is_taken() -> None:
    net, x = network(), frames(10)
    for learnt in (net.noise.weight, net.gate.weight, net.presence.out.weight):
        torch.nn.init.zeros_(learnt)
    torch.nn.init.constant_(net.gate.bias, 30.0)
    taken = []
    for logit in (30.0, 0.0, -30.0):
        torch.nn.init.constant_(net.noise.bias, logit)
        taken.append(run(net, x)[0])
    assert taken[0].abs().max() > 0.01
    torch.testing.assert_close(taken[1], taken[0] / 2, atol=1e-6, rtol=0)
    torch.testing.assert_close(taken[2], torch.zeros_like(x), atol=1e-6, rtol=0)


def test_silence_and_onset_stay_finite() -> None:
    x = frames(30)
    x[:, :20] = 0
    mask, speech = run(network(), x)
    assert torch.isfinite(mask).all()
    assert torch.isfinite(speech).all()


def test_default_size_is_within_the_house_limits() -> None:
    assert count_parameters(UNet(UNetConfig())) < 1_000_000


@pytest.mark.parametrize("rate", [8000, 16000, 48000])
def test_a_constant_offset_is_not_heard(rate: int) -> None:
    """An offset of 0.1 of full scale leaves features of quiet sound as they are."""
    x = 0.01 * torch.randn(1, rate, generator=torch.Generator().manual_seed(1))
    features = Features(UNetConfig())
    plain, offset = (
        features(stft(sound, rate), torch.zeros(1, 2))[0][:, 5:] for sound in (x, x + 0.1)
    )
    assert (offset - plain).abs().mean() < 0.06 * plain.abs().mean()


WIDE = UNetConfig(channels=(8,), strides=(4,), blocks=2, hidden=8, recurrence="gru", expansion=2)


def test_strides_recurrence_and_expansion_keep_the_contract() -> None:
    """One stage that divides the bands by four, GRUs and wide layers: pieces equal the whole."""
    torch.manual_seed(0)
    net = UNet(WIDE).eval()
    x = frames(12, batch=2)
    state = net.initial_state(2)
    assert {name for name in state if name.startswith(("hidden", "cell"))} == {"hidden0", "hidden1"}
    voice = torch.zeros(2, WIDE.voice_size)
    with torch.no_grad():
        whole = net(x, voice, state).mask
        first = net(x[:, :5], voice, state)
        rest = net(x[:, 5:], voice, first.state).mask
    torch.testing.assert_close(torch.cat([first.mask, rest], 1), whole, atol=1e-5, rtol=1e-4)
    assert whole.shape == x.shape
