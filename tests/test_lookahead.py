"""Networks that look ahead: blocks, their state, and how far they see."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sordino.denoiser import Denoiser
from sordino.inference import MaskNetwork
from sordino.lookahead import LookaheadNetwork
from sordino.model import Model, available_models, load_model
from sordino.stft import bins
from sordino.train.checkpoint import Progress, load_checkpoint, save_weights
from sordino.train.export import export_checkpoint
from sordino.train.recipe import Recipe
from sordino.train.unet import UNet, UNetConfig

SMALL = {"bands": 96, "channels": (6, 8), "hidden": 8, "presence": 4}
BINS = bins(16000)
BLOCK, AHEAD = 40, 15


def network(backward: int, silent_future: bool = False) -> UNet:
    """A small random network; with a silent future, the one that looks ahead gives as the other."""
    torch.manual_seed(3)
    causal = UNet(UNetConfig(**SMALL))
    for weight in causal.parameters():
        if weight.requires_grad:
            torch.nn.init.normal_(weight, std=0.3)
    net = UNet(UNetConfig(**SMALL, backward=backward))
    net.load_state_dict(causal.state_dict(), strict=False)
    if backward and not silent_future:
        for each in net.backward:
            torch.nn.init.normal_(each.out.weight, std=0.3)
    return net.eval()


def export(net: UNet, path: Path) -> Model:
    recipe = Recipe(network=net.config)
    beside = path.with_name(f"{path.stem}-weights.safetensors")
    save_weights(beside, recipe, Progress(), net.state_dict())
    export_checkpoint(load_checkpoint(beside), path, "1")
    return load_model(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def ahead(folder: Path) -> Model:
    return export(network(8), folder / "ahead.onnx")


def small_blocks(model: Model) -> LookaheadNetwork:
    """The same graph in blocks that a test can wait for."""
    whole = model._network
    assert isinstance(whole, LookaheadNetwork)
    return LookaheadNetwork(whole.graph, whole.states, whole.voice_size, BLOCK, AHEAD)


def spectra(frames: int, channels: int = 2, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(channels, frames, BINS)) + 1j * rng.normal(size=(channels, frames, BINS))
    return (0.1 * x).astype(np.complex64)


def through(net: LookaheadNetwork | MaskNetwork, x: np.ndarray, step: int) -> np.ndarray:
    stream = net.open(x.shape[0], 1.0)
    parts = [stream.process(x[:, i : i + step]) for i in range(0, x.shape[1], step)]
    last = stream.flush()
    return np.concatenate([*parts, *([last] if last.shape[1] else [])], axis=1)


@pytest.mark.slow
def test_a_graph_that_looks_ahead_says_so(ahead: Model) -> None:
    assert ahead.info.format == 3
    assert (ahead.info.block_frames, ahead.info.ahead_frames) == (1000, 100)
    entries = available_models()
    assert (entries["studio"].looks_ahead, entries["studio"].live) == (True, False)
    assert (entries["default"].looks_ahead, entries["default"].live) == (False, True)


@pytest.mark.slow
def test_without_use_of_the_future_blocks_are_one_causal_pass(folder: Path) -> None:
    """So the state that a block begins with is that of before its future."""
    causal = export(network(0), folder / "causal.onnx")._network
    blocks = small_blocks(export(network(8, silent_future=True), folder / "blind.onnx"))
    x = spectra(2 * BLOCK + AHEAD + 7)
    x[0, 10:50] = 0  # muted in one channel, over the end of a block
    x[1, 35:60] = 0
    assert isinstance(causal, MaskNetwork)
    expected = through(causal, x, x.shape[1])
    np.testing.assert_allclose(through(blocks, x, x.shape[1]), expected, atol=1e-5)


def test_the_first_block_is_what_the_network_makes_of_it_and_its_future(ahead: Model) -> None:
    x = spectra(BLOCK + AHEAD, channels=1)
    net = network(8)
    with torch.no_grad():
        pairs = torch.from_numpy(x.view(np.float32).reshape(1, -1, BINS, 2))
        mask = net(pairs, *net.start(1, torch.device("cpu"))).mask.contiguous().numpy()
    stream = small_blocks(ahead).open(1, 1.0)
    noise = stream.process(x)
    assert noise.shape[1] == BLOCK
    expected = mask.view(np.complex64)[..., 0][:, :BLOCK] * x[:, :BLOCK]
    np.testing.assert_allclose(noise, expected, atol=1e-5)


@pytest.mark.parametrize("step", [1, 13, BLOCK + AHEAD, 500])
def test_how_it_is_fed_does_not_matter(ahead: Model, step: int) -> None:
    net, x = small_blocks(ahead), spectra(3 * BLOCK + 5)
    np.testing.assert_array_equal(through(net, x, step), through(net, x, x.shape[1]))


def test_it_sees_what_is_ahead_and_nothing_beyond(ahead: Model) -> None:
    net, x = small_blocks(ahead), spectra(3 * BLOCK)
    before = through(net, x, 50)
    for changed, same in ((BLOCK + AHEAD, BLOCK), (BLOCK + AHEAD - 1, 0)):
        other = x.copy()
        other[:, changed:] *= 3
        after = through(net, other, 50)
        np.testing.assert_array_equal(after[:, :same], before[:, :same])
        if not same:
            assert not np.allclose(after[:, BLOCK - 1], before[:, BLOCK - 1])


def test_it_holds_no_more_than_a_block_and_its_future(ahead: Model) -> None:
    stream = small_blocks(ahead).open(1, 1.0)
    inside = 0
    for start in range(0, 10 * BLOCK, 7):
        x = spectra(7, channels=1, seed=start)
        inside += 7 - stream.process(x).shape[1]
        assert inside <= stream.delay_frames


def test_a_denoiser_returns_every_sample_in_its_place(ahead: Model) -> None:
    rng = np.random.default_rng(1)
    x = (0.1 * rng.normal(size=12 * 44100)).astype(np.float32)
    whole = Denoiser(ahead, 44100)
    assert whole.latency == pytest.approx(11.02, abs=0.05)
    expected = np.concatenate([whole.feed(x), whole.flush()])
    assert len(expected) == len(x)
    parts = Denoiser(ahead, 44100)
    got = [parts.feed(x[i : i + 100000]) for i in range(0, len(x), 100000)]
    np.testing.assert_allclose(np.concatenate([*got, parts.flush()]), expected, atol=1e-6)
    nothing = Denoiser(ahead, 44100, strength=0.0)
    np.testing.assert_allclose(np.concatenate([nothing.feed(x), nothing.flush()]), x, atol=1e-6)


def test_a_warm_up_changes_what_follows_and_is_not_returned(ahead: Model) -> None:
    rng = np.random.default_rng(2)
    sound = (0.1 * rng.normal(size=32000)).astype(np.float32)
    cold, warm = Denoiser(ahead, 16000), Denoiser(ahead, 16000)
    warm.warm_up(sound[:16000])
    first = np.concatenate([cold.feed(sound), cold.flush()])
    second = np.concatenate([warm.feed(sound), warm.flush()])
    assert len(first) == len(second) == len(sound)
    assert not np.allclose(first, second, atol=1e-5)
