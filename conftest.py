"""Which packages of the code, and their tests and doctests, this environment can import."""

import os
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parent
os.environ["SORDINO_MODELS"] = str(
    ROOT / "out" / "no-models"
)  # not those of whoever runs the tests
# Package -> (extra, a module of that extra which the package imports).
NEEDS = {
    "train": ("train", "torch"),
    "evaluate": ("evaluate", "pesq"),
    "corpora": ("data", "pooch"),
    "live": ("live", "sounddevice"),
    "live/tray": ("gui", "PySide6"),
    "serve": ("serve", "fastapi"),
    "plugins": ("plugins", "pipecat"),
    "cluster": ("cluster", "ray"),
}
MISSING = {
    package: extra for package, (extra, module) in NEEDS.items() if find_spec(module) is None
}
IGNORED = [ROOT / kind / package for package in MISSING for kind in ("src/sordino", "tests")]


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out what needs an extra that is not installed."""
    if any(collection_path.is_relative_to(path) for path in IGNORED):
        return True
    return None


def pytest_report_header() -> list[str]:
    """Say what is left out; in CI, where everything is to be installed, fail."""
    if not MISSING:
        return []
    line = f"left out, because these extras are not installed: {', '.join(MISSING.values())}"
    if os.environ.get("CI") == "true":
        raise SystemExit(line)
    return [line]
