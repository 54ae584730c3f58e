"""The table of commands: help, examples, and what is said where an extra is missing."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from sordino import commands, examples
from sordino.errors import install_command
from support.commands import caller

EXAMPLES = Path(examples.__file__).parent
SORDINO = [sys.executable, "-m", "sordino"]


@pytest.fixture
def sordino(monkeypatch, capsys):
    """Call the command in this process: (exit code, standard output, standard error)."""
    return caller(monkeypatch, capsys)


def test_help_names_all_commands_and_loads_none(sordino, monkeypatch):
    monkeypatch.setattr(commands, "import_module", lambda name: pytest.fail(f"{name} loaded"))
    code, out, _ = sordino("--help")
    assert code == 0
    for name in ("denoise", "plot", "models", "bench", *commands.COMMANDS):
        assert f"│ {name} " in out


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize("name", ["denoise", "plot", "models", "bench", *commands.COMMANDS])
def test_each_command_has_help(sordino, name, flag):
    code, out, err = sordino(name, flag)
    assert (code, err) == (0, "")
    assert f"Usage: sordino {name} " in out


def test_usage_of_a_benchmark_names_the_whole_command(sordino):
    assert "Usage: sordino bench serve " in sordino("bench", "serve", "-h")[1]


def test_h_is_help_of_the_whole(sordino):
    assert sordino("-h") == sordino("--help")


@pytest.mark.parametrize(
    "name", ["", "denoise", "plot", "models", "bench", "bench serve", *commands.COMMANDS]
)
def test_help_ends_with_examples_of_options_that_exist(sordino, name):
    reference, _, examples = sordino(*name.split(), "-h")[1].partition("Examples:")
    assert f"sordino {name}".strip() in examples
    for option in re.findall(r" (--?[a-z-]+)", examples):
        assert not name or option in reference or name == "data"  # those of `sordino data fetch`


def test_every_command_of_training_is_in_the_table():
    from sordino.train.cli import app

    names = set(typer.main.get_command(app).commands)
    assert names == {name for name, each in commands.COMMANDS.items() if "train" in each.app}


# What a name of a package is when it is imported, for each extra.
OF_EXTRAS = {
    "train": ["torch", "tensorboard", "onnx", "pytorch_optimizer", "webdataset"],
    "evaluate": ["pesq", "pystoi", "speechmos", "librosa", "threadpoolctl", "matplotlib"],
    "compare": ["df", "pyrnnoise", "webrtc_noise_gain", "noisereduce", "logmmse", "pyarrow"],
    "live": ["sounddevice", "pulsectl", "cffi", "PySide6"],
    "serve": ["fastapi", "fastapi_offline", "uvicorn", "websockets", "prometheus_client", "aiortc"],
}


def without_extras(*arguments):
    """Call the command where no package of any extra is installed."""
    missing = [name for names in OF_EXTRAS.values() for name in names]
    script = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({missing!r}))\n"
        "from sordino.cli import main\n"
        f"sys.argv = ['sordino', *{list(arguments)!r}]\n"
        "main()\n"
    )
    environment = {**os.environ, "DISPLAY": ":99"}  # the tray looks for a desktop first
    command = [sys.executable, "-c", script]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", commands.COMMANDS)
def test_help_works_without_extras(name):
    done = without_extras(name, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"Usage: sordino {name} " in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (["export", "x.safetensors"], "train"),
        (["evaluate", str(EXAMPLES), "--limit", "1"], "evaluate"),
        (["compare", str(EXAMPLES), "--limit", "1"], "evaluate"),  # the metrics come first
        (["serve"], "serve"),
        (["tray"], "gui"),
    ],
)
def test_missing_packages_name_the_right_extra(arguments, extra):
    done = without_extras(*arguments)
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert re.fullmatch(rf"sordino: .*{re.escape(install_command(extra))}", last), done.stderr


def test_mistakes_in_a_package_are_not_hidden(sordino, monkeypatch):
    lost = commands.LazyCommand("sordino.nowhere:app", "live", "More", "Nothing.")
    monkeypatch.setitem(commands.COMMANDS, "lost", lost)
    with pytest.raises(ModuleNotFoundError, match=r"sordino\.nowhere"):
        sordino("lost")


@pytest.mark.slow
def test_shells_complete_commands_and_options():
    """As bash asks: the words so far and the number of the one at the cursor."""

    def completed(words, number):
        environment = {
            **os.environ,
            "_SORDINO_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(number),
        }
        done = subprocess.run(SORDINO, env=environment, capture_output=True, text=True)
        return done.stdout.split()

    assert set(completed("sordino de", 1)) == {"denoise", "devices"}
    assert "--strength" in completed("sordino denoise --st", 2)
    assert "--input" in completed("sordino live --in", 2)


@pytest.mark.slow
@pytest.mark.parametrize("arguments", ["--help", "denoise --help", "--version"])
def test_help_is_light(arguments):
    script = (
        "import sys; from sordino.cli import main; "
        f"sys.argv = ['sordino', *{arguments.split()!r}]\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'matplotlib', 'onnxruntime', 'av', 'numpy', 'soundfile'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
