"""A speaker encoder from elsewhere tells the bundled speakers apart, through noise as well."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sordino.errors import SordinoError
from sordino.evaluate.dataset import read_mono
from sordino.evaluate.metrics import resample
from sordino.evaluate.voice import in_noise
from sordino.evaluate.voice_judge import Judge
from sordino.examples import FOLDER

RATE = 16000


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Judge:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--no-deps", "-d", folder, "resemblyzer"],
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("*.whl")
    return Judge(wheel)


def speech(name: str) -> np.ndarray:
    x, rate = read_mono(FOLDER / "train" / "speech" / f"{name}.opus")
    return resample(x, rate, RATE)[: 6 * RATE]


@pytest.mark.tools
def test_speakers_are_told_apart(judge: Judge) -> None:
    texts = ("vm_intro", "vm_opts", "dir_instr")
    own, other = ([speech(f"{who}-{text}") for text in texts] for who in ("allison", "carlo"))
    for x in (own[1], in_noise(own[1], 10.0), 0.01 * own[1]):
        assert judge.nearer(x, own[0], other[0])
    assert not judge.nearer(other[2], own[0], other[0])
    assert np.linalg.norm(judge.embed(own[0])) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("content", [b"", b"no wheel"])
def test_what_is_no_wheel_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.whl"
    path.write_bytes(content)
    with pytest.raises(SordinoError, match="pip download"):
        Judge(path)
