"""Word errors: what a speech recogniser still understands of the output.

The recogniser is PocketSphinx with the US English model that its package carries: small, free
of downloads, and far below today's large recognisers.  It knows English only, and errs even on
clean speech; what counts is the difference between systems on the same clips.
"""

import re
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from sordino.errors import SordinoError, install_command
from sordino.evaluate.metrics import RATE, Signal


def recogniser_installed() -> bool:
    """Whether word errors can be counted."""
    return find_spec("pocketsphinx") is not None


def word_error_rate(transcript: str, x: Signal) -> float:
    """Errors per word of the transcript: words changed, left out and put in.

    Args:
        transcript: What is said, in English; case and punctuation do not count.
        x: A mono clip at 16 kHz.

    Returns:
        0 (all understood) upwards; nan for a transcript without words.

    Raises:
        SordinoError: No recogniser is installed.
    """
    said = words(transcript)
    return word_errors(said, recognise(x).split()) / len(said) if said else float("nan")


def words(text: str) -> list[str]:
    """Cut a text into words of lower case, without punctuation.

    >>> words("Don't - said Mr. Dashwood.")
    ["don't", 'said', 'mr', 'dashwood']
    """
    return re.findall(r"[\w']+", text.lower())


def word_errors(said: list[str], heard: list[str]) -> int:
    """Count the least changes that make one list of words the other (Levenshtein's distance).

    >>> word_errors(["a", "b", "c"], ["a", "x", "c", "d"])
    2
    """
    row = list(range(len(heard) + 1))
    for i, word in enumerate(said, 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (word != other))
    return row[-1]


def recognise(x: Signal) -> str:
    """Return the words heard in a mono clip at 16 kHz.

    Raises:
        SordinoError: No recogniser is installed.
    """
    decoder = _decoder()
    sound = (np.clip(x, -1, 1) * 32767).astype("<i2").tobytes()
    decoder.start_utt()
    decoder.process_raw(sound, full_utt=True)
    decoder.end_utt()
    found = decoder.hyp()
    return found.hypstr if found else ""


@lru_cache(1)
def _decoder() -> Any:
    if not recogniser_installed():
        raise SordinoError(f"word errors need a recogniser: {install_command('asr')}")
    pocketsphinx: Any = import_module("pocketsphinx")
    return pocketsphinx.Decoder(samprate=RATE, loglevel="FATAL")
