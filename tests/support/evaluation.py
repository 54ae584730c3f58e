"""Bundled recordings and the command line, for the tests of sordino.evaluate."""

import json
from importlib.resources import files
from pathlib import Path

from typer.testing import CliRunner

from sordino.evaluate.cli import app
from sordino.evaluate.dataset import read_mono

EXAMPLES = Path(str(files("sordino"))) / "examples"


def example(name):
    """Return a bundled recording: clean, noisy, rate."""
    clean, rate = read_mono(EXAMPLES / "clean" / name)
    noisy, _ = read_mono(EXAMPLES / "noisy" / name)
    return clean, noisy, rate


def command(*arguments, name="evaluate"):
    """Run `sordino evaluate` or `sordino compare` in this process."""
    return CliRunner().invoke(app, [name, "--jobs", "1", *(str(each) for each in arguments)])


def report(*arguments, name="evaluate"):
    """Run a command that must succeed, and return what it prints as JSON."""
    result = command(*arguments, "--json", name=name)
    assert result.exit_code == 0, (result.output, result.exception)
    return json.loads(result.stdout)
