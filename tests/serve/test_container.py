"""The container image is built from the wheel, and its server denoises."""

import json
import os
import re
import shutil
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile as sf

import sordino
from sordino import examples
from support.served import DEADLINE, TOKEN

ROOT = Path(__file__).parents[2]
NEEDED = ("buildah", "debootstrap")
pytestmark = [
    pytest.mark.tools,
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(map(shutil.which, NEEDED)) or os.geteuid() != 0,
        reason=f"needs {' and '.join(NEEDED)}, and root",
    ),
]


def run(*command: object, **options: object) -> str:
    done = subprocess.run(
        [str(each) for each in command], capture_output=True, text=True, **options
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the image is built from: the Containerfile, and wheels of this Python's version."""
    folder = tmp_path_factory.mktemp("image")
    shutil.copy(ROOT / "Containerfile", folder)
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir")
    run(*pip, folder / "dist", "--no-deps", ROOT)
    run(*pip, folder / "wheels", f"{ROOT}[serve]")
    (folder / "pip.conf").write_text("[global]\nno-index = true\nfind-links = /wheels\n")
    return folder


@pytest.fixture(scope="module")
def storage(folder):
    """Storage of buildah's that needs no rights on the machine's own."""
    return ("--root", folder / "root", "--runroot", folder / "run", "--storage-driver", "vfs")


@pytest.fixture(scope="module")
def buildah(storage):
    return lambda *command: run("buildah", *storage, *command)


@pytest.fixture(scope="module")
def base(folder, buildah):
    """A small Debian with Python, since no registry is asked for an image."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    asked = ("apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)")
    sources = [line.split() for line in run(*asked).splitlines()]
    mirror, release = next(each for each in sources if "-" not in each[1])  # this machine's own
    command = ["debootstrap", "--variant=minbase", f"--include={version}-venv,python3-distutils"]
    done = subprocess.run(
        [*command, release, str(folder / "debian"), mirror], capture_output=True, text=True
    )
    if done.returncode:  # no mirror can be reached, or nothing may be mounted here
        pytest.skip(f"debootstrap: {done.stdout[-200:]}")
    shutil.rmtree(folder / "debian" / "dev")  # a device that is copied as a file never ends
    (folder / "debian" / "dev").mkdir()
    container = buildah("from", "scratch").strip()
    buildah("add", container, folder / "debian", "/")
    buildah("commit", "--rm", container, "base")
    return "localhost/base"


def test_the_image_of_the_wheel_serves(folder, storage, buildah, base):
    buildah(
        *("build", "--format", "docker", "--isolation", "chroot", "--tag", "sordino"),
        *("--build-arg", f"BASE={base}"),
        *("--volume", f"{folder}/wheels:/wheels:ro"),
        *("--volume", f"{folder}/pip.conf:/etc/pip.conf:ro"),
        *("--file", folder / "Containerfile", folder),
    )
    container = buildah("from", "sordino").strip()
    image = json.loads(buildah("inspect", container))["OCIv1"]["config"]
    assert image["User"] == "sordino"
    command = ["buildah", *storage, "run", "--isolation", "chroot"]
    command += ["--env", f"SORDINO_TOKEN={TOKEN}"]
    command += [container, "--", *image["Entrypoint"], "--port", "0"]
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True)
    try:
        address = re.search(r"http://\S+:(\d+)/", process.stdout.readline())
        url = f"http://127.0.0.1:{address[1]}/v1/denoise?model=default&format=wav"
        sound = examples.path("office_48k").read_bytes()
        headers = {"Authorization": f"Bearer {TOKEN}"}
        answer = httpx.post(
            url, content=sound, headers=headers, timeout=DEADLINE
        ).raise_for_status()
    finally:
        process.terminate()
        process.wait()
    clean, rate = sf.read(BytesIO(answer.content), dtype="float32")
    noisy, _ = sf.read(examples.path("office_48k"), dtype="float32")
    expected = sordino.denoise(noisy, rate, "default")
    assert np.abs(clean - expected).max() < 1e-3
