"""An enrolled voice conditions the network; no voice leaves it as it is, bit for bit."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from sordino.model import load_model
from sordino.stft import NATIVE_RATES, bins
from sordino.train.checkpoint import Checkpoint, Progress, load_pretrained, restore_weights
from sordino.train.export import export_checkpoint
from sordino.train.recipe import Recipe, load_recipe
from sordino.train.unet import Output, UNet, UNetConfig

SMALL = UNetConfig(channels=(4, 8), blocks=2, hidden=8, voice_units=6, match=7, match_size=5)
RECIPE = Path(__file__).parents[2] / "recipes" / "default-voice.toml"


def network(learnt: bool = True) -> UNet:
    """With random weights; `learnt`: also where they start as nothing."""
    torch.manual_seed(0)
    net = UNet(SMALL).eval()
    if learnt:
        for weight in net.parameters():
            if weight.requires_grad and not weight.any():
                torch.nn.init.normal_(weight, std=0.3)
    return net


def frames(t: int, rate: int = 16000, batch: int = 1) -> Tensor:
    return 0.01 * torch.randn(
        batch, t, bins(rate), 2, generator=torch.Generator().manual_seed(t + rate)
    )


def voices(*seeds: int) -> Tensor:
    drawn = [torch.randn(192, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return functional.normalize(torch.stack(drawn), dim=1)


@torch.no_grad()
def run(net: UNet, x: Tensor, voice: Tensor | None = None) -> Output:
    voice = torch.zeros(len(x), 192) if voice is None else voice
    return net(x, voice, net.initial_state(len(x)))


@pytest.mark.parametrize("rate", NATIVE_RATES)
def test_the_weights_of_default_make_default_bit_for_bit(rate: int) -> None:
    saved = load_pretrained("default")
    plain, conditioned = UNet(saved.recipe.network), UNet(load_recipe(RECIPE).network)
    for net in (plain, conditioned):
        restore_weights(net, saved.part("average"), "default")
    x = frames(20, rate, 2)
    before = run(plain, x)
    for voice in (None, voices(1, 2)):  # a profile has nothing to say yet, either
        after = run(conditioned, x, voice)
        assert torch.equal(after.mask, before.mask)
        assert torch.equal(after.speech, before.speech)


def test_zeros_are_any_voice_whatever_was_learnt() -> None:
    net, x = network(), frames(20)
    before = run(net, x)
    for weights in (net.conditioning.out, net.film, net.match.out):
        torch.nn.init.zeros_(weights.weight)
    assert torch.equal(run(net, x).mask, before.mask)
    assert torch.equal(run(net, x, voices(1)).mask, before.mask)


def test_each_voice_has_a_mask_of_its_own() -> None:
    net, x = network(), frames(20)
    any_voice, one, other = (run(net, x, v).mask for v in (None, voices(1), voices(2)))
    assert (one - other).abs().max() > 1e-3
    assert (one - any_voice).abs().max() > 1e-3


def test_voices_of_a_batch_do_not_mix() -> None:
    net, x = network(), frames(20, batch=2)
    both = run(net, x, voices(1, 2))
    for i, seed in enumerate((1, 2)):
        alone = run(net, x[i : i + 1], voices(seed))
        torch.testing.assert_close(both.mask[i : i + 1], alone.mask, atol=1e-5, rtol=0)
        torch.testing.assert_close(both.target[i : i + 1], alone.target, atol=1e-4, rtol=0)


@pytest.mark.slow
@given(cuts=st.lists(st.integers(1, 29), min_size=1, max_size=6, unique=True).map(sorted))
@settings(max_examples=10, deadline=None)
def test_pieces_equal_the_whole(cuts: list[int]) -> None:
    net, x, voice = network(), frames(30), voices(3)
    state, parts = net.initial_state(1), []
    with torch.no_grad():
        for a, b in zip([0, *cuts], [*cuts, 30], strict=True):
            parts.append(net(x[:, a:b], voice, state))
            state = parts[-1].state
    whole = run(net, x, voice)
    for name in ("mask", "target"):
        pieces = torch.cat([getattr(part, name) for part in parts], 1)
        torch.testing.assert_close(pieces, getattr(whole, name), atol=1e-4, rtol=0)


def test_the_future_changes_nothing() -> None:
    net, x, voice = network(), frames(20), voices(3)
    other = x.clone()
    other[:, 12:] = frames(21)[:, 12:20]
    ours, theirs = run(net, x, voice), run(net, other, voice)
    for name in ("mask", "target"):
        one, two = getattr(ours, name), getattr(theirs, name)
        torch.testing.assert_close(one[:, :12], two[:, :12], atol=1e-6, rtol=0)
        assert not torch.allclose(one[:, 12:], two[:, 12:], atol=1e-6)


def exported(net: UNet, folder: Path) -> Path:
    recipe = Recipe(name="test", network=net.config)
    weights = {f"average.{name}": weight for name, weight in net.state_dict().items()}
    path = folder / "test.onnx"
    export_checkpoint(Checkpoint(recipe, Progress(), weights), path, "1")
    return path


@pytest.mark.slow
def test_format_4_has_the_target_and_equals_the_network(tmp_path: Path) -> None:
    net, x, voice = network(), frames(9, batch=2), voices(1, 2)
    path = exported(net, tmp_path)
    model = load_model(path)
    assert model.info.format == 4
    assert model.keeps_voices
    state = {name: value.numpy() for name, value in net.initial_state(2).items()}
    conditions = model.condition(voice.numpy())
    assert conditions.shape == (2, model.info.voice_size)
    assert not model.condition(np.zeros((1, 192), np.float32)).any()  # any voice
    step = model.run(x.numpy(), conditions, state)
    once_more = model.run(x.numpy(), voice.numpy(), state)
    np.testing.assert_array_equal(once_more.mask, step.mask)
    # Weights are stored in 16 bits.
    np.testing.assert_allclose(step.mask, run(net, x, voice).mask, atol=5e-3)
    saved = load_pretrained(path)
    same = UNet(SMALL).eval()
    restore_weights(same, saved.part("average"), "test")
    np.testing.assert_allclose(step.mask, run(same, x, voice).mask, atol=5e-4)


@pytest.mark.slow
def test_a_network_without_a_target_stays_format_1(tmp_path: Path) -> None:
    net = UNet(replace(SMALL, voice_units=0, match=0))
    model = load_model(exported(net, tmp_path))
    assert model.info.format == 1
    assert not model.keeps_voices
    assert "target" not in {each.name for each in onnx.load(tmp_path / "test.onnx").graph.output}


@pytest.mark.slow
def test_a_step_costs_at_most_three_tenths_more(tmp_path: Path) -> None:
    net = UNet(load_recipe(RECIPE).network)
    macs = load_model(exported(net, tmp_path)).info.macs_per_second
    assert macs <= 1.3 * load_model("default").info.macs_per_second
