"""DNSMOS: opinion scores predicted from the output alone, by Microsoft's networks.

The ONNX files come with the `speechmos` package.  `speechmos.dnsmos.run` is not used because it
always computes all scales, uses all threads, and refuses samples beyond full scale.

Sources: Reddy, Gopal, Cutler, "DNSMOS: a non-intrusive perceptual objective speech quality
metric to evaluate noise suppressors", ICASSP 2021 (P.808); the same authors, "DNSMOS P.835",
ICASSP 2022.
"""

# No types: onnxruntime and librosa.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime as ort

from sordino.arrays import Mono
from sordino.errors import SordinoError, install_command
from sordino.evaluate.metrics import RATE

SEGMENT_SECONDS = 9.01  # length that the networks were trained on; the hop is 1 s
SEGMENT = int(SEGMENT_SECONDS * RATE)

# Map the network's raw outputs to the listeners' scale; highest power first.
POLYNOMIALS = {
    "sig": (-0.08397278, 1.22083953, 0.0052439),
    "bak": (-0.13166888, 1.60915514, -0.39604546),
    "ovrl": (-0.06766283, 1.11546468, 0.04602535),
}


def dnsmos_p835(x: Mono) -> dict[str, float]:
    """Predict ITU-T P.835 scores: of the speech (sig), the background (bak), overall (ovrl).

    Args:
        x: A mono clip at 16 kHz.  Clips under 9.01 s are repeated until they are that long.

    Returns:
        Means over the segments, each about 1..5.
    """
    session = _session("sig_bak_ovr.onnx")
    raw = np.array(
        [np.asarray(session.run(None, {"input_1": s[None]})[0])[0] for s in _segments(x)]
    )
    return {
        name: float(np.mean(np.polyval(polynomial, raw[:, i])))
        for i, (name, polynomial) in enumerate(POLYNOMIALS.items())
    }


def dnsmos_p808(x: Mono) -> float:
    """Predict the ITU-T P.808 overall score, about 1..5, of a mono clip at 16 kHz."""
    session = _session("model_v8.onnx")
    scores = [
        np.asarray(session.run(None, {"input_1": _log_mel(s[:-160])[None]})[0])[0, 0]
        for s in _segments(x)
    ]
    return float(np.mean(scores))


def _segments(x: Mono) -> Iterator[Mono]:
    x = np.asarray(x, np.float32)
    if not len(x):
        raise SordinoError("A clip without samples has no DNSMOS.")
    x = x / max(1.0, float(np.max(np.abs(x))))
    while len(x) < SEGMENT:
        x = np.concatenate([x, x])
    for i in range(int(len(x) // RATE - SEGMENT_SECONDS) + 1):
        segment = x[i * RATE : i * RATE + SEGMENT]
        if len(segment) == SEGMENT:
            yield segment


def _log_mel(x: Mono) -> Mono:
    import librosa

    mel = librosa.feature.melspectrogram(y=x, sr=RATE, n_fft=321, hop_length=160, n_mels=120)
    return ((librosa.power_to_db(mel, ref=np.max) + 40) / 40).T.astype(np.float32)


@lru_cache
def _session(name: str) -> ort.InferenceSession:
    package = find_spec("speechmos")
    if package is None or not package.submodule_search_locations:
        raise SordinoError(f"DNSMOS needs its networks: {install_command('evaluate')}")
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    path = Path(package.submodule_search_locations[0]) / "dnsmos_models" / name
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
