"""Old names of modules work for one release, and say what they are called now."""

import importlib
import subprocess
import sys
import warnings

import pytest

from sordino.deprecated import MODULES, renamed_argument, renamed_names
from sordino.deprecated import NAMES as RENAMED

# What the documentation of 0.11 named in them.
NAMES = {
    "sordino.audio": ["open_source", "open_sink"],
    "sordino.bench": ["bench", "BenchResult"],
    "sordino.evaluate.recogniser": ["word_error_rate"],
    "sordino.evaluate.records": ["read_records", "write_records", "read_figures"],
    "sordino.evaluate.shadow": ["noise_removed"],
    "sordino.evaluate.summary": ["bootstrap", "differences"],
    "sordino.files": ["denoise_files", "FileReport"],
    "sordino.meter": ["NoiseMeter"],
    "sordino.plot": ["Spectrogram", "draw"],
    "sordino.train.corpus": ["CorpusConfig"],
    "sordino.train.mixing": ["MixConfig", "Mixer", "Batch"],
    "sordino.train.shards": ["write_shards"],
    "sordino.spectrum": ["SpectrumConfig", "SpectrumStream", "NATIVE_RATES", "native_rate"],
}


@pytest.mark.parametrize("old", MODULES)
def test_a_module_is_found_under_its_old_name(old, monkeypatch):
    monkeypatch.delitem(sys.modules, old, raising=False)
    with pytest.warns(DeprecationWarning, match=f"{old} is now called {MODULES[old]}"):
        module = importlib.import_module(old)
    new = importlib.import_module(MODULES[old])
    for name in NAMES.get(old, []):
        assert getattr(module, name) is getattr(new, name)
    for old_name, new_name in RENAMED.get(old, {}).items():
        assert getattr(module, old_name) is getattr(new, new_name)
    assert new.__name__ == new.__spec__.name == MODULES[old]


def test_the_warning_points_at_the_import():
    script = "import sordino.spectrum\nfrom sordino.bench import bench\n"
    command = [sys.executable, "-W", "error::DeprecationWarning:__main__", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("DeprecationWarning: sordino.spectrum is now")


RENAMED_CLASSES = [
    ("sordino.batch.process", "Settings", "DenoiseSettings"),
    ("sordino.batch.track", "Settings", "DenoiseSettings"),
    ("sordino.evaluate.results", "Key", "RecordKey"),
    ("sordino.io.audiofile", "Sink", "AudioSink"),
    ("sordino.io.audiofile", "Source", "AudioSource"),
    ("sordino.live.config", "Settings", "LiveSettings"),
    ("sordino.serve.settings", "Settings", "ServerSettings"),
    ("sordino.train.data.corpus", "Source", "CorpusSource"),
]


@pytest.mark.parametrize(("module", "old", "new"), RENAMED_CLASSES)
def test_a_class_is_found_under_its_old_name(module, old, new):
    found = importlib.import_module(module)
    with pytest.warns(DeprecationWarning, match=f"{module}.{old} is now called {new}") as warned:
        assert getattr(found, old) is vars(found)[new]
    assert warned[0].filename == __file__


def test_a_name_that_never_was_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"live\.config' has no attribute"):
        renamed_names("sordino.live.config", {"Settings": "LiveSettings"})("x")


def test_other_modules_are_still_missing():
    with pytest.raises(ModuleNotFoundError, match=r"sordino\.nowhere"):
        importlib.import_module("sordino.nowhere")


def test_a_renamed_argument_works_under_both_names():
    @renamed_argument("size", "length")
    def double(length: int) -> int:
        return 2 * length

    with pytest.warns(DeprecationWarning, match=r"double\(size=\) is now called length="):
        assert double(size=2) == 4  # pyright: ignore[reportCallIssue]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert double(length=3) == double(3) == 6
