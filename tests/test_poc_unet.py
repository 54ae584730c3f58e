import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
import soundfile as sf
import torch
from onnx import TensorProto

from sordino import examples, slices
from sordino.denoiser import Denoiser, denoise
from sordino.errors import SordinoError
from sordino.model import SLICE_MAGNITUDE, available_models, load_model
from sordino.slices import from_image, noise_to_image, spectrum_config, to_image
from sordino.stft import StreamingAnalysis
from sordino.train.baselines.poc_unet import (
    PocUNet,
    PocUNetConfig,
    draw_pictures,
    picture_loss,
    without_noise,
)
from sordino.train.checkpoint import Checkpoint, Progress, corpus_of, load_checkpoint
from sordino.train.data.mixing import MixConfig
from sordino.train.export import export_checkpoint, measure
from sordino.train.loop import train
from sordino.train.objective import TensorBatch, make_objective
from sordino.train.recipe import LoopConfig, Recipe, load_recipe
from support.signals import agreement_db, level_db, noise, tone

RATE, PICTURE = slices.RATE, slices.FRAMES * slices.HOP
SMALL = PocUNetConfig(channels=(4, 8, 16))
TRAINED = "poc-unet"


def recipe(poc=SMALL, **changes):
    mix = MixConfig(rates={RATE: 1.0}, seconds=PICTURE / RATE)
    loop = LoopConfig(bf16=False)
    return Recipe("test", "a test", SLICE_MAGNITUDE, mix=mix, poc=poc, train=loop, **changes)


def melody(seconds, seed=0):
    """Something like speech: harmonics that come and go."""
    random = np.random.default_rng(seed)
    notes = [
        sum(tone(f * k, RATE, 0.2, 0.1 / k) for k in range(1, 6)) * np.hanning(round(0.2 * RATE))
        for f in random.uniform(100, 250, round(seconds / 0.2))
    ]
    return np.concatenate(notes).astype(np.float32)


def batch(size=2, pictures=1, bandwidth=RATE / 2):
    samples = pictures * PICTURE
    clean = np.stack([melody(2 * pictures, i)[:samples] for i in range(size)])
    noisy = clean + noise((size, samples), seed=1, level=0.02)
    return TensorBatch(
        torch.from_numpy(noisy),
        torch.from_numpy(clean),
        RATE,
        torch.full((size,), float(bandwidth)),
        torch.ones(size, samples // 80),
    )


def random_network(config=SMALL):
    torch.manual_seed(0)
    network = PocUNet(config).eval()
    # As the file keeps them, so that what is compared is the graph and not the rounding.
    return network.half().float()


def exported(network, config, path):
    weights = {f"average.{k}": v for k, v in network.state_dict().items()}
    about = export_checkpoint(Checkpoint(recipe(config), Progress(7, 0.5), weights), path, "1")
    return load_model(path), about


def random_pictures(size=3):
    return np.random.default_rng(0).uniform(-1, 1, (size, 1, 128, 128)).astype(np.float32)


@pytest.mark.slow
def test_the_network_has_the_size_of_the_proof_of_concept():
    network = random_network(PocUNetConfig())
    assert sum(weight.numel() for weight in network.parameters()) == 1_941_093
    assert len([x for x in network.modules() if isinstance(x, torch.nn.Conv2d)]) == 24
    with torch.no_grad():
        picture = network(torch.from_numpy(random_pictures(2)))
    assert picture.shape == (2, 1, 128, 128)
    assert picture.abs().max() <= 1
    assert picture.std() > 1e-3


def test_dropout_is_in_training_only():
    network = random_network()
    x = torch.from_numpy(random_pictures(1))
    with torch.no_grad():
        assert torch.equal(network(x), network(x))
        network.train()
        assert not torch.equal(network(x), network(x))


def test_pictures_are_those_of_the_run_time():
    noisy, clean, *_ = batch(size=2, pictures=3)
    extra = torch.zeros(2, PICTURE - 1)  # not a whole picture: left out
    pictures = draw_pictures(torch.cat([noisy, extra], 1), torch.cat([clean, extra], 1), 24)
    assert pictures.noisy.shape == pictures.noise.shape == (6, 1, 128, 128)
    most = from_image(pictures.noise.numpy()).max()
    assert most == pytest.approx(1 - 10 ** (-24 / 20), abs=1e-5)
    for i, (x, s) in enumerate(zip(noisy.numpy(), clean.numpy(), strict=True)):
        # As SliceFilter gets them: frames from a stream, 128 at a time.
        frames = [np.abs(StreamingAnalysis(spectrum_config(), 1)(y[None]))[0] for y in (x, s)]
        for j in range(3):
            magnitude, speech = (y[128 * j : 128 * (j + 1)].T for y in frames)
            np.testing.assert_array_equal(pictures.noisy[3 * i + j, 0], to_image(magnitude))
            expected = noise_to_image(magnitude, np.maximum(speech, magnitude * 10**-1.2))
            np.testing.assert_array_equal(pictures.noise[3 * i + j, 0], expected)


def test_the_wanted_picture_takes_the_noise_out():
    noisy, clean, *_ = batch(pictures=3)
    pictures = draw_pictures(noisy, clean, 80)
    sound = without_noise(pictures.spectra, pictures.noise).numpy()
    heard = slice(500, -500)
    best = agreement_db(clean.numpy()[:, : sound.shape[1]][:, heard], sound[:, heard])
    before = agreement_db(clean.numpy()[:, heard], noisy.numpy()[:, heard])
    assert best > before + 8
    nothing = torch.full_like(pictures.noise, -slices.NOISE_OFFSET_DB / slices.NOISE_SCALE_DB)
    same = without_noise(pictures.spectra, nothing).numpy()
    assert agreement_db(noisy.numpy()[:, : same.shape[1]], same) > 90


def test_the_loss_of_pictures():
    noise_db = torch.from_numpy(random_pictures(4))
    bandwidth = torch.full((2,), 4000.0)
    loss, terms = picture_loss(noise_db, noise_db, bandwidth)
    assert loss == terms["error_db"] == 0
    loss, terms = picture_loss(noise_db + 1 / slices.NOISE_SCALE_DB, noise_db, bandwidth)
    assert loss == pytest.approx(0.5 / slices.NOISE_SCALE_DB**2, rel=1e-4)
    assert terms["error_db"] == pytest.approx(1, rel=1e-4)


def test_bins_above_the_bandwidth_do_not_count():
    noise_db = torch.from_numpy(random_pictures(4))
    first = int(np.ceil(2000 / (RATE / slices.WINDOW)))
    wrong = noise_db.clone()
    wrong[2:, :, first:] += 0.5  # of the second waveform
    bandwidth = torch.tensor([4000.0, 2000.0])
    assert picture_loss(wrong, noise_db, bandwidth)[0] == 0
    assert picture_loss(wrong, noise_db, bandwidth.flip(0))[0] > 0
    wrong[2:, :, :first] += 0.5
    # A narrow example counts as much as a wide one.
    assert picture_loss(wrong, noise_db, bandwidth)[0] == pytest.approx(0.5 * 0.125, rel=1e-4)


@pytest.mark.slow
def test_the_loss_falls_on_a_fixed_set():
    torch.manual_seed(0)
    objective = make_objective(recipe(PocUNetConfig((4, 8, 16), dropout=0.0)))
    optimizer = torch.optim.AdamW(objective.parameters(), 5e-3)
    example = batch(size=2)
    losses = []
    for _ in range(60):
        step = objective(example)
        optimizer.zero_grad()
        step.loss.backward()
        optimizer.step()
        losses.append(step.loss.item())
    assert losses[-1] < 0.2 * losses[0]
    assert step.estimate.shape[0] == 2
    assert torch.isfinite(step.estimate).all()


@pytest.mark.slow
@pytest.mark.parametrize("config", [SMALL, PocUNetConfig()], ids=["small", "full"])
def test_the_export_equals_the_network(config, tmp_path):
    network = random_network(config)
    model, _ = exported(network, config, tmp_path / "test.onnx")
    x = random_pictures()
    with torch.no_grad():
        expected = network(torch.from_numpy(x)).numpy()
    assert agreement_db(expected, model.noise(x)) > 80
    assert agreement_db(expected[1:2], model.noise(x[1:2])) > 80


@pytest.mark.slow
def test_16_bit_weights_change_next_to_nothing(tmp_path):
    torch.manual_seed(0)
    network = PocUNet(PocUNetConfig()).eval()
    path = tmp_path / "test.onnx"
    model, _ = exported(network, PocUNetConfig(), path)
    x = random_pictures(1)
    with torch.no_grad():
        assert agreement_db(network(torch.from_numpy(x)).numpy(), model.noise(x)) > 50
    assert path.stat().st_size < 4e6
    matrices = [w for w in onnx.load(path).graph.initializer if len(w.dims) > 1]
    assert len(matrices) == 24
    assert {w.data_type for w in matrices} == {TensorProto.FLOAT16}


@pytest.mark.slow
def test_the_file_tells_what_it_is(tmp_path):
    path = tmp_path / "test.onnx"
    model, about = exported(random_network(), SMALL, path)
    info = model.info
    assert info.kind == SLICE_MAGNITUDE
    assert info.native_rates == (8000,)
    assert (info.hop_seconds, info.window_seconds) == (63 / 8000, 255 / 8000)
    assert (info.bands, dict(info.states), info.voice_size) == (128, {}, 0)
    assert info.training["step"] == 7
    assert info.training["recipe"]["poc"]["channels"] == [4, 8, 16]
    assert (info.parameters, info.macs_per_second) == measure(recipe())
    assert json.loads(json.dumps(about))["name"] == "test"


def test_cost_per_second_counts_the_overlap():
    _, macs = measure(recipe(PocUNetConfig((1, 1), dropout=0.0)))
    full, quarter = 128 * 128, 64 * 64
    down = full * (9 + 9) + quarter * (9 + 9)
    up = full * (4 + 18 + 9)
    head = full * (18 + 2)
    assert macs == round((down + up + head) * 8000 / (63 * 96))


@pytest.mark.slow
def test_an_exported_network_runs_in_the_engine(tmp_path):
    path = tmp_path / "test.onnx"
    exported(random_network(), SMALL, path)
    x = noise(20000)
    y = denoise(x, RATE, path)
    assert y.shape == x.shape
    assert np.isfinite(y).all()
    assert Denoiser(str(path), 48000, channels=2).latency > 1


@pytest.mark.parametrize(
    "mix",
    [MixConfig(), MixConfig(rates={8000: 1.0, 16000: 1.0}), MixConfig(1.0, rates={8000: 1.0})],
)
def test_a_recipe_that_makes_no_pictures_is_refused(mix):
    with pytest.raises(SordinoError, match=r"mix\.rates = \{ 8000 = 1\.0 \} and mix\.seconds"):
        make_objective(Recipe(kind=SLICE_MAGNITUDE, mix=mix))


@pytest.mark.slow
def test_it_trains_in_the_common_loop(tmp_path):
    data = replace(corpus_of(examples.FOLDER / "train"), cache=str(tmp_path / "cache"))
    short = LoopConfig(steps=2, batch=2, threads=1, media_every=2)
    checkpoint = load_checkpoint(train(replace(recipe(), data=data, train=short), tmp_path / "run"))
    assert checkpoint.progress.step == 2
    path = tmp_path / "test.onnx"
    export_checkpoint(checkpoint, path, "1")
    assert np.isfinite(load_model(path).noise(random_pictures())).all()


def test_the_packaged_recipe_is_the_proof_of_concept():
    chosen = load_recipe("recipes/poc-unet.toml")
    assert (chosen.name, chosen.kind) == (TRAINED, SLICE_MAGNITUDE)
    assert chosen.poc == PocUNetConfig()
    assert chosen.mix.rates == {8000: 1.0}
    assert chosen.mix.seconds * RATE % PICTURE == 0


@pytest.mark.slow
def test_the_packaged_model_takes_noise_and_leaves_speech():
    assert available_models()[TRAINED].kind == SLICE_MAGNITUDE
    hiss = noise(3 * RATE, level=0.01)
    assert level_db(denoise(hiss, RATE, TRAINED)) < level_db(hiss) - 10
    noisy, rate = sf.read(examples.path("phone_8k"), dtype="float32")
    speech, _ = sf.read(examples.path("phone_8k", "clean"), dtype="float32")
    estimate = denoise(noisy, rate, TRAINED)
    assert estimate.shape == noisy.shape
    assert agreement_db(speech, estimate) > agreement_db(speech, noisy) + 1
    assert level_db(estimate) > level_db(speech) - 6
