"""Old names that still work for one minor release, each with a DeprecationWarning.

`MODULES` are the modules that were documented under another name; a finder on `sys.meta_path`
gives their successors.  `renamed_names` is for names in a module that keeps its own, and
`renamed_argument` for keyword arguments.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, ParamSpec, TypeVar
from warnings import warn

P = ParamSpec("P")
R = TypeVar("R")

MODULES = {
    "sordino.audio": "sordino.io.audiofile",
    "sordino.bench": "sordino.benchmark",
    "sordino.evaluate.measures": "sordino.evaluate.scores",
    "sordino.evaluate.recogniser": "sordino.evaluate.asr",
    "sordino.evaluate.records": "sordino.evaluate.results",
    "sordino.evaluate.shadow": "sordino.evaluate.noise_removed",
    "sordino.evaluate.summary": "sordino.evaluate.statistics",
    "sordino.files": "sordino.batch.process",
    "sordino.formats": "sordino.io.formats",
    "sordino.jobs": "sordino.batch.plan",
    "sordino.live.ports": "sordino.live.backends.base",
    "sordino.live.ring": "sordino.live.ring_buffer",
    "sordino.live.settings": "sordino.live.config",
    "sordino.live.systems": "sordino.live.backends",
    "sordino.meter": "sordino.levels",
    "sordino.plot": "sordino.spectrogram",
    "sordino.spectrum": "sordino.stft",
    "sordino.train.corpus": "sordino.train.data.corpus",
    "sordino.train.mixing": "sordino.train.data.mixing",
    "sordino.train.shards": "sordino.train.data.decode",
    "sordino.video": "sordino.io.remux",
}
"""Old name -> new name."""

NAMES = {
    "sordino.audio": {"Source": "AudioSource", "Sink": "AudioSink"},
    "sordino.evaluate.records": {"Key": "RecordKey"},
    "sordino.files": {"Settings": "DenoiseSettings"},
    "sordino.live.ring": {"Ring": "RingBuffer"},
    "sordino.live.settings": {"Settings": "LiveSettings"},
    "sordino.live.systems": {"System": "Backend", "choose_system": "choose_backend"},
}
"""Old module -> what it had under another name: old name -> new name."""


class _Renamed(MetaPathFinder, Loader):
    """Finds modules under their old names, and fills them from the new ones."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        """Return a spec for an old name, and None for any other."""
        return ModuleSpec(fullname, self) if fullname in MODULES else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return what the new module holds under the old name."""
        new = MODULES[spec.name]
        warn_renamed(spec.name, new)
        # The import system would write the old name into the new module itself.
        module = ModuleType(spec.name, f"Old name of `{new}`.")
        source = import_module(new)
        module.__dict__.update(
            {key: value for key, value in vars(source).items() if not key.startswith("__")}
        )
        for old, name in NAMES.get(spec.name, {}).items():
            module.__dict__[old] = getattr(source, name)
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: the module is complete."""


def install() -> None:
    """Let the old names of modules be imported."""
    if not any(isinstance(finder, _Renamed) for finder in sys.meta_path):
        sys.meta_path.append(_Renamed())


def warn_renamed(old: str, new: str) -> None:
    """Warn the caller's caller that it uses an old name."""
    message = f"{old} is now called {new}; the old name goes with the next minor release"
    warn(message, DeprecationWarning, stacklevel=3)


def renamed_names(module: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the `__getattr__` of a module that renamed some of its names.

    Args:
        module: its own name.
        names: old name -> new name.
    """

    def getattr_renamed(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        warn_renamed(f"{module}.{name}", names[name])
        return getattr(sys.modules[module], names[name])

    return getattr_renamed


def renamed_argument(old: str, new: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let a function take a keyword argument by its old name, too."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def accepting(*args: P.args, **kwargs: P.kwargs) -> R:
            if old in kwargs:
                warn_renamed(f"{function.__name__}({old}=)", f"{new}=")
                if new in kwargs:
                    raise TypeError(f"{function.__name__}() got both {new!r} and {old!r}")
                kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return accepting

    return decorate
