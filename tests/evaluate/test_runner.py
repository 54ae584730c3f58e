import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from sordino.evaluate import FAST, evaluate_set, means
from sordino.evaluate.dataset import find_clips
from sordino.evaluate.runner import ScoringTask, run_tasks
from sordino.evaluate.systems import Function


def test_evaluate_set_scores_any_callable(dataset):
    rows = evaluate_set(dataset, lambda x, rate: x / 2, metrics=("att_db", "nr_db"))
    assert list(rows) == ["clip0", "clip1", "clip2"]
    assert means(rows)["att_db"] == pytest.approx(6.02, abs=0.1)
    assert means(rows)["nr_db"] == pytest.approx(6.02, abs=0.1)
    assert list(evaluate_set(dataset, lambda x, rate: x, metrics=["sisdr"], limit=1)) == ["clip0"]


@pytest.mark.slow
def test_fast_measures_are_a_subset_for_checkpoints(dataset):
    rows = evaluate_set(dataset, lambda x, rate: x, limit=2)
    assert set(means(rows)) == set(FAST)


@pytest.mark.slow
def test_processes_change_nothing(dataset):
    alone = evaluate_set(dataset, lambda x, rate: x, metrics=("sisdr", "lsd_db"))
    shared = evaluate_set(dataset, lambda x, rate: x, metrics=("sisdr", "lsd_db"), jobs=2)
    assert list(alone) == list(shared)
    # Sums of floats depend on how arrays happen to lie in memory, in the last digits.
    for clip, scores in alone.items():
        assert scores == pytest.approx(shared[clip], rel=1e-9)


class Fatal(np.ndarray):
    """A signal that ends the process that unpickles it, as a native crash would."""

    def __reduce__(self):
        return os._exit, (3,)


@pytest.mark.slow
def test_a_crash_while_scoring_costs_one_clip_only(dataset):
    def enhancer(x, rate):
        return x.view(Fatal) if rate == 16000 else x / 2

    tasks = [ScoringTask(Function("fatal", enhancer), clip) for clip in find_clips(dataset)]
    results = list(run_tasks(tasks, ["att_db"], jobs=2))
    assert [result.key.clip for result in results] == ["clip0", "clip1", "clip2"]
    assert [bool(result.error) for result in results] == [False, True, False]
    assert "fatal, clip1.wav: the process that scored it crashed" in results[1].error
    assert results[2].row["att_db"] == pytest.approx(6.02, abs=0.1)


@pytest.mark.slow
def test_a_killed_scoring_process_is_replaced(dataset):
    def enhancer(x, rate):
        if rate == 44100:
            for process in multiprocessing.active_children():
                os.kill(process.pid, signal.SIGKILL)
        return x / 2

    rows = evaluate_set(dataset, enhancer, metrics=["att_db"], jobs=2)
    assert [row["att_db"] for row in rows.values()] == pytest.approx([6.02] * 3, abs=0.1)


# Prints its scoring processes and is killed by the second clip.
KILLED = """
import multiprocessing, os, signal, sys
from sordino.evaluate import evaluate_set

def enhancer(x, rate):
    if rate == 16000:
        print(*(each.pid for each in multiprocessing.active_children()), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    return x

if __name__ == "__main__":
    evaluate_set(sys.argv[1], enhancer, metrics=["att_db"], jobs=2)
"""


def lives(pid):
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and ") Z " not in stat.read_text()


@pytest.mark.slow
def test_scoring_processes_end_with_a_killed_run(dataset, tmp_path):
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    # A file for the output: a worker that lives on would keep a pipe open.
    with (tmp_path / "pids").open("w") as out:
        done = subprocess.run([sys.executable, script, dataset], stdout=out, check=False)
    assert done.returncode == -signal.SIGKILL
    workers = (tmp_path / "pids").read_text().split()
    assert workers
    deadline = time.monotonic() + 120
    while any(map(lives, workers)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
