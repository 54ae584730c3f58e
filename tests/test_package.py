"""The package as users install it: light to import, free of torch, complete."""

import json
import os
import re
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import sordino

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "matplotlib", "librosa"}
OFFLINE = re.compile(r"name resolution|establish a new connection|Network is unreachable|timed out")


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True, cwd=ROOT, timeout=300
    )


def pip(*arguments: str | Path) -> str:
    """Run pip and return its output; skip the test where no package index can be reached."""
    done = run(sys.executable, "-m", "pip", "--quiet", "--retries", "1", *arguments)
    if done.returncode and OFFLINE.search(done.stderr):
        pytest.skip("no package index can be reached")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_sordino_imports_nothing_heavy() -> None:
    code = (
        "import sys, sordino, sordino.cli; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    )
    done = run(sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr
    assert not HEAVY & set(done.stdout.split())


@pytest.mark.slow
def test_nothing_is_reported_about_its_use(tmp_path: Path) -> None:
    """ONNX Runtime keeps an identifier of the device and a queue of reports in a cache."""
    code = "import numpy as np, sordino; sordino.denoise(np.zeros(1600, np.float32), 16000)"
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"} | home
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, cwd=ROOT)
    assert not list(tmp_path.rglob("*"))


def test_the_public_names_resolve() -> None:
    assert all(hasattr(sordino, name) for name in sordino.__all__)
    with pytest.raises(AttributeError, match="nonesuch"):
        _ = sordino.nonesuch


def test_the_requirements_without_extras_hold_nothing_heavy() -> None:
    required = map(Requirement, metadata.requires("sordino") or [])
    plain = {r.name for r in required if r.marker is None or r.marker.evaluate({"extra": ""})}
    assert {"numpy", "onnxruntime"} <= plain
    assert not HEAVY & plain


@pytest.mark.slow
def test_installing_without_extras_resolves_to_nothing_heavy(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    pip("install", "--dry-run", "--ignore-installed", "--report", report, ROOT)
    found = {item["metadata"]["name"].lower() for item in json.loads(report.read_text())["install"]}
    assert {"sordino", "numpy", "onnxruntime"} <= found
    assert not HEAVY & found
    assert not any(name.startswith("nvidia") for name in found)


@pytest.mark.slow
def test_the_wheel_holds_weights_examples_and_types_but_no_tests(tmp_path: Path) -> None:
    pip("wheel", "--no-deps", "--wheel-dir", tmp_path, ROOT)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        files = set(archive.namelist())
        registry = json.loads(archive.read("sordino/weights/registry.json"))
    assert {"default", "poc-unet"} <= set(registry)
    for name, entry in registry.items():
        assert {f"sordino/weights/{entry['file']}", f"sordino/weights/{name}.md"} <= files
    here = {p for p in (ROOT / "src" / "sordino" / "examples").rglob("*") if p.is_file()}
    here = {p.relative_to(ROOT / "src").as_posix() for p in here if "__pycache__" not in p.parts}
    assert here <= files
    assert "sordino/py.typed" in files
    assert {name.split("/")[0] for name in files} == {
        "sordino",
        f"sordino-{sordino.__version__}.dist-info",
    }


def test_the_version_is_the_newest_in_the_changelog_and_in_the_citation() -> None:
    released = r"^## \[(\d[^]]*)\] - (\S+)"
    newest = re.search(released, (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == sordino.__version__
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {newest[1]}\ndate-released: {newest[2]}\n" in citation


def test_what_the_documentation_and_messages_install_works_from_a_checkout() -> None:
    """The package is on no index: what names one there would fail, or fetch something else."""
    texts = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "src").rglob("*.py")]
    named = re.compile(r"pip install '?sordino\b|'sordino\[")
    comment = re.compile(r"^\s*#.*$", re.MULTILINE)
    assert not [
        path.name
        for path in texts
        if named.search(comment.sub("", path.read_text(encoding="utf-8")))
    ]


def test_every_extra_that_the_documentation_installs_is_there() -> None:
    extras = set(metadata.metadata("sordino").get_all("Provides-Extra") or [])
    texts = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    asked = {
        extra
        for path in texts
        for group in re.findall(r"pip install [^\n]*'\.\[([\w,]+)\]'", path.read_text("utf-8"))
        for extra in group.split(",")
    }
    assert {"live", "train"} <= asked <= extras
