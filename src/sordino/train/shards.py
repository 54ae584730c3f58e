"""Shards: folders of audio packed into tar files in the layout of webdataset.

A sample is `NAME.EXT` (speech, noise, rooms) or `NAME.noisy.EXT` and `NAME.clean.EXT`
(pairs); the files go in as they are, NAME being the path inside the folder.
"""

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from pathlib import Path

from sordino.errors import SordinoError
from sordino.train.decoding import (
    AUDIO_SUFFIXES,
    UNREADABLE,
    Recording,
    audio_files,
    decode,
    decode_pair,
    warn_skipped,
)


def write_shards(source: str | Path, target: str | Path, megabytes: float = 1000) -> list[Path]:
    """Pack the audio of a folder into `target/000000.tar`, `000001.tar` and so on.

    A folder that has the folders `noisy` and `clean` becomes shards of pairs.

    Args:
        source: folder to pack, recursively.
        target: folder for the shards, made where it is missing; it may hold no shards yet.
        megabytes: size after which the next shard is begun.

    Returns:
        The shards' paths.

    Raises:
        SordinoError: `source` holds no audio, or `target` holds shards already.
    """
    from webdataset.writer import ShardWriter

    source, target = Path(source), Path(target)
    files = audio_files(source)
    if not files:
        raise SordinoError(f"{source}: holds no audio files to pack")
    if sorted(target.glob("*.tar")):
        raise SordinoError(f"{target}: holds shards already; name another folder")
    paired = (source / "noisy").is_dir() and (source / "clean").is_dir()
    samples: dict[str, dict[str, Path]] = {}
    for path in files:
        name, field = path.relative_to(source), path.suffix[1:].lower()
        if paired:
            if name.parts[0] not in ("noisy", "clean"):
                continue
            name, field = Path(*name.parts[1:]), f"{name.parts[0]}.{field}"
        # webdataset ends a sample's name at its first dot.
        key = str(name.with_suffix("")).replace(".", "_")
        if field in samples.setdefault(key, {}):
            raise SordinoError(f"{path}: two files would be called {key} in a shard; rename one")
        samples[key][field] = path
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target, prefix=".writing-") as work:
        # What os.replace moves is complete: an interrupted run leaves no half shard.
        with ShardWriter(f"{work}/%06d.tar", maxsize=megabytes * 1e6, verbose=0) as writer:
            for key, fields in samples.items():
                content = {field: path.read_bytes() for field, path in fields.items()}
                writer.write({"__key__": key, **content})
        for shard in sorted(Path(work).glob("*.tar")):
            os.replace(shard, target / shard.name)
    return sorted(target.glob("*.tar"))


def read_shards(
    kind: str, root: Path, files: Sequence[Path], advance: Callable[[], None]
) -> Iterator[Recording]:
    """Decode the samples of shards one after another.

    Samples that cannot be read are skipped with a warning that names them.

    Args:
        kind: "pair" for noisy/clean pairs, else one signal a sample.
        root: folder that the shards lie in.
        files: the shards.
        advance: called once per shard.
    """
    from webdataset.compat import WebDataset

    for shard in files:
        advance()
        for sample in WebDataset(str(shard), shardshuffle=False, empty_check=False):
            sounds = {
                field: BytesIO(content)
                for field, content in sample.items()
                if Path(f"_.{field}").suffix in AUDIO_SUFFIXES
            }
            halves = {field.split(".")[0]: sound for field, sound in sounds.items()}
            key = sample["__key__"]
            try:
                if kind == "pair" and {"noisy", "clean"} <= halves.keys():
                    signals, rate = decode_pair(halves["noisy"], halves["clean"])
                elif kind != "pair" and len(sounds) == 1:
                    signal, rate = decode(next(iter(sounds.values())))
                    signals = (signal,)
                else:
                    wanted = "noisy and clean sound" if kind == "pair" else "one sound"
                    raise ValueError(f"a sample of {kind} holds {wanted}")
            except UNREADABLE as error:
                warn_skipped(f"{shard.relative_to(root)}: {key}", error)
            else:
                yield Recording(f"{key}.{next(iter(sounds))}", signals, rate)
