from dataclasses import replace

import pytest
import torch

from sordino.errors import SordinoError
from sordino.train.optim import AveragedWeights, make_optimizer, set_learning_rate
from sordino.train.recipe import LoopConfig
from sordino.train.unet import UNet
from train.conftest import TINY


def rates(config: LoopConfig) -> dict[str, float]:
    """Learning rate of every trainable weight by its name."""
    network = UNet(TINY)
    optimizer = make_optimizer(network, config)
    set_learning_rate(optimizer, 1.0)
    by_id = {id(w): g["lr"] for g in optimizer.param_groups for w in g["params"]}
    return {n: by_id[id(w)] for n, w in network.named_parameters() if id(w) in by_id}


def test_fine_tuning_learns_slower_far_from_the_output() -> None:
    by_name = rates(LoopConfig(layer_decay=0.5))
    assert by_name["head.weight"] == 1
    assert by_name["down.0.conv.weight"] == 0.5**4
    assert by_name["down.0.conv.weight"] < by_name["blocks.0.time.weight_hh_l0"] < 1


def test_a_frozen_encoder_is_left_out() -> None:
    names = rates(LoopConfig(freeze_encoder=True))
    assert not any(n.startswith("down") for n in names)
    assert "up.0.conv.weight" in names


def test_the_running_mean_of_the_features_is_never_trained() -> None:
    assert not any(n.startswith("features") for n in rates(LoopConfig()))


def test_only_matrices_decay() -> None:
    groups = make_optimizer(UNet(TINY), LoopConfig(weight_decay=0.1)).param_groups
    for group in groups:
        assert all((w.ndim > 1) == (group["weight_decay"] > 0) for w in group["params"])


def test_average_follows_early_and_smooths_late() -> None:
    network = UNet(TINY)
    average = AveragedWeights(network, decay=0.99)
    with torch.no_grad():
        network.head.bias.fill_(1.0)
    early = replace_average(average, network, step=0)
    late = replace_average(average, network, step=10_000)
    assert abs(early - 0.9) < 1e-6  # decay 1 / 10
    assert abs(late - 0.01) < 1e-6


def replace_average(average: AveragedWeights, network: UNet, step: int) -> float:
    """The averaged bias after one update from zero."""
    average.network.head.bias.zero_()
    average.update(network, step)
    return average.network.head.bias[0].item()


def test_steps_without_warm_up_begin_at_the_full_rate() -> None:
    from sordino.train.optim import learning_rate

    config = replace(LoopConfig(), warmup=0, learning_rate=3.0)
    assert learning_rate(0, config) == 3.0


def test_an_unknown_optimizer_is_refused_by_name() -> None:
    with pytest.raises(SordinoError, match="'sgd' is unknown; known: adamw, soap"):
        make_optimizer(UNet(TINY), LoopConfig(optimizer="sgd"))
