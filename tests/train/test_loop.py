import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sordino.errors import SordinoError
from sordino.train.checkpoint import load_checkpoint
from sordino.train.loop import LAST, train
from sordino.train.recipe import LoopConfig, Recipe, to_tree
from sordino.train.unet import UNet
from support.training import assert_same_course

SCRIPT = """
import json, sys
from pathlib import Path
from sordino.train.loop import train
from sordino.train.recipe import Recipe, from_tree
train(from_tree(Recipe, json.loads(Path(sys.argv[1]).read_text())), Path(sys.argv[2]))
"""


def with_loop(recipe: Recipe, **changes: object) -> Recipe:
    return replace(recipe, train=replace(recipe.train, **changes))


def losses(folder: Path) -> list[float]:
    events = EventAccumulator(str(folder / "logs"))
    events.Reload()
    return [event.value for event in events.Scalars("train/loss")]


def child_processes(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def start(
    recipe: Recipe, folder: Path, processes: int = 1, restarts: int = 0
) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    (folder / "recipe.json").write_text(json.dumps(to_tree(recipe)))
    (folder / "run.py").write_text(SCRIPT)
    launcher = [sys.executable]
    if processes > 1:
        launcher += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        launcher.append(f"--max-restarts={restarts}")
    command = [*launcher, str(folder / "run.py"), str(folder / "recipe.json"), str(folder)]
    # With PyTorch 2.13, restarted processes would else find the addresses of those that died.
    environment = {**os.environ, "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)


@pytest.mark.slow
def test_the_loss_falls(recipe: Recipe, tmp_path: Path) -> None:
    long = with_loop(recipe, steps=24, warmup=3, learning_rate=1e-2)
    train(long, tmp_path)
    values = losses(tmp_path)
    assert sum(values[-6:]) < 0.9 * sum(values[:6])


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adamw", "soap"])
def test_a_resumed_run_goes_the_way_of_an_unbroken_one(
    recipe: Recipe, tmp_path: Path, optimizer: str
) -> None:
    recipe = with_loop(recipe, optimizer=optimizer)
    train(recipe, tmp_path / "whole")
    half = with_loop(recipe, steps=2)
    train(half, tmp_path / "parts")
    assert load_checkpoint(tmp_path / "parts" / LAST).progress.step == 2
    train(recipe, tmp_path / "parts")
    whole, parts = (load_checkpoint(tmp_path / d / LAST) for d in ("whole", "parts"))
    assert whole.progress == parts.progress
    for name, weight in whole.part("network").items():
        # The schedules of the first two steps differ a little; Adam's moments are rounded.
        torch.testing.assert_close(parts.part("network")[name], weight, atol=2e-3, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize(("first", "second"), [("adamw", "soap"), ("soap", "adamw")])
def test_a_run_goes_on_with_another_optimizer(
    recipe: Recipe, tmp_path: Path, first: str, second: str
) -> None:
    train(with_loop(recipe, steps=2, optimizer=first), tmp_path)
    saved = load_checkpoint(train(with_loop(recipe, optimizer=second), tmp_path))
    assert saved.progress.step == recipe.train.steps
    assert all(torch.isfinite(weight).all() for weight in saved.part("network").values())
    assert any(name.startswith("Q0.") for name in saved.part("adam")) == (second == "soap")


@pytest.mark.slow
def test_two_processes_follow_one_with_the_doubled_batch(recipe: Recipe, tmp_path: Path) -> None:
    with start(with_loop(recipe, threads=1), tmp_path / "two", processes=2) as two:
        errors = two.communicate(timeout=180)[1]
    assert two.returncode == 0, errors
    train(with_loop(recipe, batch=2 * recipe.train.batch), tmp_path / "one")
    ours, theirs = (load_checkpoint(tmp_path / d / LAST) for d in ("one", "two"))
    assert ours.progress == theirs.progress
    for name, weight in ours.part("network").items():
        torch.testing.assert_close(theirs.part("network")[name], weight, atol=1e-4, rtol=0)


@pytest.mark.slow
def test_gradients_that_are_added_up_are_those_of_the_whole_batch(
    recipe: Recipe, tmp_path: Path
) -> None:
    parts = with_loop(recipe, batch=1, global_batch=4)
    train(parts, tmp_path / "parts")
    train(with_loop(recipe, batch=4), tmp_path / "whole")
    ours, theirs = (load_checkpoint(tmp_path / d / LAST) for d in ("parts", "whole"))
    assert ours.progress == theirs.progress
    assert ours.progress.batch == 4
    for name, weight in ours.part("network").items():
        torch.testing.assert_close(theirs.part("network")[name], weight, atol=1e-4, rtol=0)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds the ranks in /proc")
def test_a_killed_rank_costs_nothing_but_time_on_one_process_or_two(
    recipe: Recipe, tmp_path: Path
) -> None:
    """Kill one of two ranks; torchrun starts both again, then one goes on alone, then two do."""
    steps = 10
    recipe = with_loop(recipe, steps=steps, threads=1, save_every=0.0)
    train(with_loop(recipe, batch=2 * recipe.train.batch), tmp_path / "unbroken")

    folder = tmp_path / "broken"
    with start(with_loop(recipe, steps=6), folder, processes=2, restarts=1) as launcher:
        assert launcher.stderr is not None
        while not (line := launcher.stderr.readline()).startswith("step 2 "):
            assert line, "the run ended before its second step"
        victim = max(child_processes(launcher.pid))  # the second rank
        os.kill(victim, signal.SIGKILL)
        errors = launcher.communicate(timeout=300)[1]
    assert launcher.returncode == 0, errors
    assert load_checkpoint(folder / LAST).progress.step == 6
    train(with_loop(recipe, steps=8), folder)  # a smaller world, with the same batch
    assert load_checkpoint(folder / LAST).progress.step == 8
    with start(recipe, folder, processes=2) as launcher:  # a larger one
        errors = launcher.communicate(timeout=300)[1]
    assert launcher.returncode == 0, errors
    assert_same_course(folder, tmp_path / "unbroken", steps)


@pytest.mark.slow
def test_two_compiled_processes_in_bfloat16_add_up_gradients(
    recipe: Recipe, tmp_path: Path
) -> None:
    shared = with_loop(recipe, batch=2, global_batch=8, threads=1, steps=2)
    fast = with_loop(shared, bf16=True, compile=True)
    with start(fast, tmp_path / "two", processes=2) as two:
        errors = two.communicate(timeout=600)[1]
    assert two.returncode == 0, errors
    train(shared, tmp_path / "one")
    assert load_checkpoint(tmp_path / "two" / LAST).progress.batch == 8
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=0.05)


def test_the_share_of_waiting_for_data_is_logged(recipe: Recipe, tmp_path: Path) -> None:
    train(with_loop(recipe, steps=2), tmp_path)
    events = EventAccumulator(str(tmp_path / "logs"))
    events.Reload()
    shares = [event.value for event in events.Scalars("train/data_wait")]
    assert len(shares) == 2
    assert all(0 < share < 1 for share in shares)  # without workers, mixing is waiting


def test_hours_of_sound_a_minute_and_the_load_of_a_gpu_are_logged(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sordino.train.monitor._gpu_utilisation", lambda: 0.75)
    train(with_loop(recipe, steps=3, log_every=1), tmp_path)
    events = EventAccumulator(str(tmp_path / "logs"))
    events.Reload()
    speeds = [event.value for event in events.Scalars("train/hours_per_minute")]
    assert len(speeds) == 3
    assert all(speed > 0 for speed in speeds[1:])  # of the first update, no time is known
    assert [event.value for event in events.Scalars("train/gpu")] == [0.75] * 3


def test_a_checkpoint_of_an_earlier_version_goes_on(recipe: Recipe, tmp_path: Path) -> None:
    path = train(with_loop(recipe, steps=1), tmp_path)
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["sordino"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    del about["batch"], about["recipe"]["train"]["global_batch"]
    save_file(tensors, path, {"sordino": json.dumps(about)})
    assert load_checkpoint(path).progress.batch == 0
    assert load_checkpoint(train(recipe, tmp_path)).progress.step == recipe.train.steps


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_saves(recipe: Recipe, tmp_path: Path, number: signal.Signals) -> None:
    with start(with_loop(recipe, steps=100_000), tmp_path / "run") as process:
        assert process.stderr is not None
        while not (line := process.stderr.readline()).startswith("step"):
            assert line, "the run ended before its first step"
        process.send_signal(number)
        errors = process.communicate(timeout=120)[1]
    assert process.returncode == 0, errors
    assert load_checkpoint(tmp_path / "run" / LAST).progress.step > 0


def test_fine_tuning_starts_from_the_averaged_weights(
    recipe: Recipe, trained: Path, tmp_path: Path
) -> None:
    still = with_loop(recipe, learning_rate=0.0, steps=1)
    tuned = load_checkpoint(train(still, tmp_path / "tuned", init=trained))
    for name, weight in load_checkpoint(trained).part("average").items():
        torch.testing.assert_close(tuned.part("network")[name], weight)


def test_a_network_can_grow_from_an_earlier_one(recipe: Recipe, tmp_path: Path) -> None:
    path = train(with_loop(recipe, learning_rate=0.0, steps=1), tmp_path / "base")
    old = load_checkpoint(path)
    without = {k: v for k, v in old.tensors.items() if ".noise." not in k and ".presence." not in k}
    assert len(without) < len(old.tensors)
    with safe_open(path, "pt") as file:
        about = file.metadata()
    save_file(without, tmp_path / "older.safetensors", about)
    still = with_loop(recipe, learning_rate=0.0, steps=1, seed=2)
    grown = load_checkpoint(train(still, tmp_path / "grown", init=tmp_path / "older.safetensors"))
    spectrum = torch.randn(1, 20, 257, 2, generator=torch.Generator().manual_seed(0))
    masks = []
    for checkpoint in (old, grown):
        network = UNet(checkpoint.recipe.network)
        network.load_state_dict(checkpoint.part("average"))
        voice = torch.zeros(1, network.config.voice_size)
        masks.append(network(spectrum, voice, network.initial_state()).mask)
    torch.testing.assert_close(*masks)


def test_a_checkpoint_of_another_network_is_refused(
    recipe: Recipe, trained: Path, tmp_path: Path
) -> None:
    other = replace(recipe, network=replace(recipe.network, hidden=4))
    with pytest.raises(SordinoError, match="does not fit the network"):
        train(other, tmp_path / "other", init=trained)


def test_a_damaged_checkpoint_is_named(tmp_path: Path, recipe: Recipe) -> None:
    (tmp_path / LAST).write_bytes(b"not a checkpoint")
    with pytest.raises(SordinoError, match="cannot read the checkpoint"):
        train(recipe, tmp_path)


def test_sound_and_spectrograms_are_logged(recipe: Recipe, tmp_path: Path) -> None:
    train(with_loop(recipe, steps=1, media_every=1), tmp_path)
    events = EventAccumulator(str(tmp_path / "logs"))
    events.Reload()
    assert {"0/noisy", "0/estimate", "0/clean"} <= set(events.Tags()["audio"])
    assert {"0/noisy", "0/estimate", "0/clean"} <= set(events.Tags()["images"])


def test_bfloat16_learns_too(recipe: Recipe, tmp_path: Path) -> None:
    train(replace(recipe, train=LoopConfig(steps=2, batch=2, log_every=1, threads=0)), tmp_path)
    assert all(0 < value < 10 for value in losses(tmp_path))


@pytest.mark.slow
def test_a_run_goes_on_from_a_small_copy_of_its_checkpoint(recipe: Recipe, tmp_path: Path) -> None:
    """Without moments and in half precision, as training/ keeps it."""
    first, second = tmp_path / "first", tmp_path / "second"
    train(with_loop(recipe, steps=2, batch=2), first)
    second.mkdir()
    script = Path(__file__).parents[2] / "scripts" / "keep_checkpoint.py"
    subprocess.run([sys.executable, script, first / LAST, second / LAST], check=True)
    assert (second / LAST).stat().st_size < (first / LAST).stat().st_size / 2
    assert str(tmp_path).encode() not in (second / LAST).read_bytes()
    before = load_checkpoint(first / LAST)
    for name, weight in load_checkpoint(second / LAST).part("average").items():
        torch.testing.assert_close(
            weight.float(), before.part("average")[name], atol=1e-3, rtol=1e-3
        )
    train(with_loop(recipe, steps=3, batch=2), second)
    after = load_checkpoint(second / LAST)
    assert after.progress.step == 3
    assert after.progress.hours > before.progress.hours
