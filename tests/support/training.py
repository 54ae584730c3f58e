"""What runs of training have in common, whatever disturbed them."""

from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sordino.train.checkpoint import load_checkpoint
from sordino.train.loop import LAST


def assert_same_course(folder: Path, unbroken: Path, steps: int) -> None:
    """The loss of every update is that of a run that nothing disturbed, within noise."""
    assert load_checkpoint(folder / LAST).progress == load_checkpoint(unbroken / LAST).progress
    whole, resumed = (dict(_curve(each)) for each in (unbroken, folder))
    assert whole.keys() == resumed.keys() == set(range(1, steps + 1))
    # The learning rates of a run that is to be longer differ; moments are rounded.
    for step, loss in whole.items():
        assert resumed[step] == pytest.approx(loss, rel=0.05)


def _curve(folder: Path) -> list[tuple[int, float]]:
    """(step, loss) of a run that was begun several times: the last of each step counts."""
    events = [
        event
        for path in sorted((folder / "logs").iterdir(), key=lambda p: p.stat().st_mtime)
        for event in _scalars(path)
    ]
    return [(event.step, event.value) for event in events]


def _scalars(path: Path) -> list[Any]:
    events = EventAccumulator(str(path))
    events.Reload()
    return events.Scalars("train/loss") if "train/loss" in events.Tags()["scalars"] else []
