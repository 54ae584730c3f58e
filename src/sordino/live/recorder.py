"""Noisy and clean sound into files, in a thread of its own."""

import atexit
import os
import threading
import wave
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from queue import SimpleQueue

import numpy as np

from sordino.arrays import Mono, to_int16
from sordino.errors import SordinoError

try:
    import fcntl
except ImportError:  # Windows, where nobody can rename a file that is open
    fcntl = None

PART = ".part"
HOURS_PER_FILE = 6  # a wav file ends at 4 GB, which is 12 h

Pair = tuple[Mono, Mono]


class Recorder:
    """Writes two wav files, 16 bit mono, which appear under their names when complete.

    While it is being written, a file is called `NAME.wav.part` and is a complete wav file after
    each second: what a crash or a power cut leaves is found and renamed by `recover`.

    Args:
        folder: is made if it is not there.
        sample_rate: in Hz.
        seconds: after which to stop; None: when closed.

    Raises:
        SordinoError: the folder cannot be written to.
    """

    def __init__(self, folder: Path, sample_rate: int, seconds: float | None = None) -> None:
        self.sample_rate = sample_rate
        self.problem = ""
        """Why it had to stop, in words; "" if it did not."""
        self.done = threading.Event()
        self._folder = folder
        self._left = None if seconds is None else round(seconds * sample_rate)
        self._blocks: SimpleQueue[Pair | None] = SimpleQueue()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            recover(folder)
            self._files = _Files(folder, sample_rate)
        except OSError as error:
            raise SordinoError(
                f"cannot record to {folder}: {error.strerror or error}: choose another folder"
            ) from error
        self.paths = self._files.paths
        """Of the noisy and the clean file; of the latest pair, if there are several."""
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def feed(self, noisy: Mono, clean: Mono) -> None:
        """Take a block of both; for one thread."""
        if self.done.is_set() or self._left == 0:
            return
        if self._left is not None:
            noisy, clean = noisy[: self._left], clean[: self._left]
            self._left -= len(noisy)
        self._blocks.put((noisy.copy(), clean.copy()))
        if self._left == 0:
            self._blocks.put(None)

    def close(self) -> None:
        """Write what is still to be written, complete the files and give them their names."""
        atexit.unregister(self.close)
        self._blocks.put(None)
        self._thread.join()

    def _run(self) -> None:
        per_file = HOURS_PER_FILE * 3600 * self.sample_rate
        try:
            ended = False
            while not ended:
                pairs, ended = self._next_second()
                if self._files.samples >= per_file:
                    self._files.complete()
                    self._files = _Files(self._folder, self.sample_rate)
                    self.paths = self._files.paths
                self._files.write(pairs)
        except OSError as error:
            self.problem = f"the recording has stopped: {error.strerror or error}"
        finally:
            with suppress(OSError):
                self._files.complete()
            self.done.set()

    def _next_second(self) -> tuple[list[Pair], bool]:
        pairs: list[Pair] = []
        count = 0
        while count < self.sample_rate:
            pair = self._blocks.get()
            if pair is None:
                return pairs, True
            pairs.append(pair)
            count += len(pair[0])
        return pairs, False


class _Files:
    """A pair of wav files under temporary names."""

    def __init__(self, folder: Path, sample_rate: int) -> None:
        self.samples = 0
        self.paths = _free_names(folder)
        self._parts = tuple(path.with_name(path.name + PART) for path in self.paths)
        self._opened = [part.open("xb") for part in self._parts]
        self._waves: list[wave.Wave_write] = []
        for file in self._opened:
            if fcntl:
                fcntl.flock(file, fcntl.LOCK_EX)
            writer = wave.open(file, "wb")  # noqa: SIM115
            writer.setparams((1, 2, sample_rate, 0, "NONE", ""))
            self._waves.append(writer)

    def write(self, pairs: list[Pair]) -> None:
        """Append blocks and bring the headers up to date."""
        for index, (writer, file) in enumerate(zip(self._waves, self._opened, strict=True)):
            sound = np.concatenate([pair[index] for pair in pairs] or [np.zeros(0, np.float32)])
            writer.writeframes(to_int16(sound).astype("<i2", copy=False).tobytes())
            file.flush()
        self.samples += sum(len(pair[0]) for pair in pairs)

    def complete(self) -> None:
        """Close the files and give them their names."""
        for writer, file, part, path in zip(
            self._waves, self._opened, self._parts, self.paths, strict=True
        ):
            writer.close()
            if not fcntl:
                file.close()
            os.replace(part, path)
            file.close()


def recover(folder: Path) -> list[Path]:
    """Give their names to recordings that a killed run has left in a folder; return them."""
    recovered: list[Path] = []
    for part in sorted(folder.glob(f"*.wav{PART}")):
        with suppress(OSError):
            if fcntl:
                with part.open("rb") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path = part.with_name(part.name.removesuffix(PART))
            if not path.exists():
                os.replace(part, path)
                recovered.append(path)
    return recovered


def _free_names(folder: Path) -> tuple[Path, Path]:
    moment = f"{datetime.now():%Y-%m-%d-%H-%M-%S}"
    for number in range(1000):
        suffix = f"-{number}" if number else ""
        noisy, clean = (folder / f"{moment}{suffix}-{kind}.wav" for kind in ("noisy", "clean"))
        if not any(path.exists() or Path(f"{path}{PART}").exists() for path in (noisy, clean)):
            return noisy, clean
    raise FileExistsError(17, "too many recordings in one second", str(folder))
