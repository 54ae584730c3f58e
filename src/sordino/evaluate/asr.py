"""Word error rate (WER) of a speech recogniser on the output.

The recogniser is PocketSphinx with the US English model inside its package: small, nothing is
downloaded, and far below today's large recognisers.  It knows English only and makes errors even
on clean speech; only the difference between systems on the same clips is meaningful.
"""

import re
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from sordino.arrays import Mono, to_int16
from sordino.errors import SordinoError, install_command
from sordino.evaluate.metrics import RATE


def recogniser_installed() -> bool:
    """Whether the word error rate can be measured."""
    return find_spec("pocketsphinx") is not None


def word_error_rate(transcript: str, x: Mono) -> float:
    """Word error rate: substitutions, deletions and insertions per word of the transcript.

    Args:
        transcript: The spoken words, in English; case and punctuation are ignored.
        x: A mono clip at 16 kHz.

    Returns:
        0 (no error) upwards; nan for a transcript without words.

    Raises:
        SordinoError: No recogniser is installed.
    """
    said = words(transcript)
    return word_errors(said, recognise(x).split()) / len(said) if said else float("nan")


def words(text: str) -> list[str]:
    """Split a text into lower-case words without punctuation.

    >>> words("Don't - said Mr. Dashwood.")
    ["don't", 'said', 'mr', 'dashwood']
    """
    return re.findall(r"[\w']+", text.lower())


def word_errors(said: list[str], heard: list[str]) -> int:
    """Levenshtein distance between two lists of words.

    >>> word_errors(["a", "b", "c"], ["a", "x", "c", "d"])
    2
    """
    row = list(range(len(heard) + 1))
    for i, word in enumerate(said, 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (word != other))
    return row[-1]


def recognise(x: Mono) -> str:
    """Return the words recognised in a mono clip at 16 kHz.

    Raises:
        SordinoError: No recogniser is installed.
    """
    decoder = _decoder()
    sound = to_int16(x).astype("<i2", copy=False).tobytes()
    decoder.start_utt()
    decoder.process_raw(sound, full_utt=True)
    decoder.end_utt()
    found = decoder.hyp()
    return found.hypstr if found else ""


@lru_cache(1)
def _decoder() -> Any:
    if not recogniser_installed():
        raise SordinoError(f"word error rate needs a recogniser: {install_command('asr')}")
    pocketsphinx: Any = import_module("pocketsphinx")
    return pocketsphinx.Decoder(samprate=RATE, loglevel="FATAL")
