"""Voice profiles: what tells an enrolled voice from others, and where profiles are kept.

A profile is an embedding of 192 numbers.  No sound is kept, and none can be made of it.  It is
biometric data all the same: a file that only its owner can read, on this machine alone.
"""

import os
import re
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_data_path
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from sordino.errors import SordinoError
from sordino.io.atomic import atomic_write
from sordino.model import LIVE_MODEL, RECORDING_MODEL, Model, load_model
from sordino.voice.encoder import SIZE, VoiceEncoder
from sordino.voice.enrolment import Recording, enrol
from sordino.voice.stream import FALLBACK_SECONDS, VoiceFilter

FORMAT, VERSION = "sordino-voice", 1
SUFFIX = ".voice"
VOICE_MODEL = "default-voice"
MAX_VOICES = 8  # each is one more run of the network
_safe_open = cast(Any, safe_open)  # it has no types
_NAME = re.compile(r"\w[\w .-]{0,63}")
AUTO = "auto"  # in live use: whoever speaks first
_RESERVED = (AUTO, "none")


@dataclass(frozen=True, eq=False, repr=False)
class Voice:
    """The profile of a voice.

    Args:
        embedding: shape = (192,), of unit norm.
        encoder: what made it; embeddings of different encoders cannot be compared.
        name: of the person; "" if unknown.
        seconds: of speech that it was made of.
    """

    embedding: NDArray[np.float32]
    encoder: str
    name: str = ""
    seconds: float = 0.0

    def __repr__(self) -> str:
        # Without the numbers: they would end up in logs.
        return f"Voice(name={self.name!r}, encoder={self.encoder!r})"

    @classmethod
    def enroll(
        cls,
        recordings: Recording | Sequence[Recording],
        name: str = "",
        encoder: VoiceEncoder | None = None,
    ) -> "Voice":
        """Make a profile of one person's recordings, which are averaged.

        Args:
            recordings: one or several files, or pairs of samples and their rate in Hz, with at
                least 3 s of speech; 20 s serve best.
            name: of the person.
            encoder: None is the packaged one.

        Raises:
            SordinoError: a recording cannot be read, clips or is too quiet, there is too little
                speech, or there is more than one voice.
        """
        if name:
            check_name(name)
        single = isinstance(recordings, str | Path | tuple)
        given = [cast(Recording, recordings)] if single else recordings
        enrolled = enrol(given, encoder)
        return cls(enrolled.embedding, enrolled.encoder, name, enrolled.seconds)

    @classmethod
    def load(cls, name_or_path: str | Path) -> "Voice":
        """Load a saved profile by its name, or one in a file by its path.

        Raises:
            SordinoError: there is none, or the file is not a voice profile.
        """
        path = _find(name_or_path)
        about, embedding = _read(path)
        try:
            known = about["format"] == FORMAT
            is_newer = int(about["version"]) > VERSION
            voice = cls(embedding, about["encoder"], about["name"], float(about["seconds"]))
        except (KeyError, ValueError):
            known = is_newer = False
            voice = None
        if is_newer:
            raise SordinoError(f"{path} is newer than this version of Sordino: update it")
        if voice is None or not known:
            raise _no_profile(path)
        return _checked(voice, str(path))

    def save(self, path: str | Path | None = None) -> Path:
        """Save the profile in a file that only its owner can read; return where.

        Args:
            path: None is by its name in `voices_folder`.

        Raises:
            SordinoError: it has no name, or the file cannot be written.
        """
        path = _saved_path(self.name) if path is None else Path(path)
        about = {
            "format": FORMAT,
            "version": str(VERSION),
            "encoder": self.encoder,
            "name": self.name,
            "seconds": f"{self.seconds:.1f}",
        }
        data = save({"embedding": self.embedding}, about)
        try:
            if path.parent == voices_folder():
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with atomic_write(path) as part:
                part.chmod(0o600)
                part.write_bytes(data)
        except OSError as error:
            raise SordinoError(f"cannot write {path}: {error.strerror}") from error
        return path

    def similarity(self, other: "Voice") -> float:
        """Return the cosine similarity to another voice, -1..1; the same person has about 0.7.

        Raises:
            SordinoError: the profiles are of different encoders.
        """
        if self.encoder != other.encoder:
            raise SordinoError(
                f"{self.name or 'a profile'} was made with the voice encoder {self.encoder}, and "
                f"{other.name or 'the other'} with {other.encoder}: enrol both again"
            )
        return float(self.embedding @ other.embedding)

    def to_text(self) -> str:
        """Return the profile as a text without its name, for a server or a browser.

        >>> Voice.from_text(Voice(np.eye(1, 192, dtype=np.float32)[0], "e").to_text()).encoder
        'e'
        """
        return f"{self.encoder}:{b64encode(self.embedding.astype('<f4').tobytes()).decode()}"

    @classmethod
    def from_text(cls, text: str) -> "Voice":
        """Return the profile that `to_text` wrote.

        Raises:
            SordinoError: it is none.
        """
        encoder, _, numbers = text.rpartition(":")
        try:
            embedding = np.frombuffer(b64decode(numbers, validate=True), "<f4")
        except ValueError:
            embedding = np.zeros(0, np.float32)
        return _checked(cls(embedding.astype(np.float32), encoder), "the voice")


def voices_from_texts(texts: Sequence[str]) -> tuple[Voice, ...]:
    """Return the profiles in texts of `Voice.to_text`.

    Raises:
        SordinoError: one is none, or they do not fit together.
    """
    return load_voices([Voice.from_text(each) for each in texts])


AnyVoice = Voice | str | Path
AnyVoices = AnyVoice | Sequence[AnyVoice] | None
"""One voice or several, as profiles, names or files."""


@dataclass(frozen=True)
class VoiceChoice:
    """Which voices a stream is to keep; see `sordino.denoiser.Denoiser`."""

    voices: tuple[Voice, ...] = ()
    others_db: float | None = None
    fallback_seconds: float | None = FALLBACK_SECONDS

    def options(self, model: Model) -> dict[str, Any]:
        """Return the arguments of a Denoiser; none if the model keeps everybody anyway."""
        if not self.voices or not model.keeps_voices:
            return {}
        return {
            "voice": self.voices,
            "others_db": self.others_db,
            "voice_fallback": self.fallback_seconds,
        }

    @property
    def most_runs(self) -> int:
        """How often the network is run for each channel, at most: also while it falls back."""
        return len(self.voices) + (self.fallback_seconds is not None) if self.voices else 1

    @property
    def names(self) -> str:
        """Who is meant, for people; "" for nobody."""
        return " and ".join(each.name or "the voice" for each in self.voices)


EVERYBODY = VoiceChoice()


def voices_folder() -> Path:
    """Return the folder of this user's saved profiles; it may not exist yet."""
    return user_data_path("sordino", appauthor=False) / "voices"


def saved_voices() -> dict[str, Path]:
    """Return the files of the saved profiles by name, sorted."""
    files = voices_folder().glob(f"*{SUFFIX}")
    return {path.name.removesuffix(SUFFIX): path for path in sorted(files)}


def rename_voice(old: str, new: str) -> Path:
    """Give a saved profile another name; return its file.

    Raises:
        SordinoError: there is none, the name cannot be used, or it is taken.
    """
    voice, path = Voice.load(_saved(old)), _saved_path(new)
    if path.exists():
        raise SordinoError(f"a voice is called {new!r} already: delete it first")
    replace(voice, name=new).save(path)
    _saved(old).unlink()
    return path


def delete_voice(name: str) -> Path:
    """Delete a saved profile; return where it was.

    Raises:
        SordinoError: there is none, or it cannot be deleted.
    """
    path = _saved(name)
    try:
        path.unlink()
    except OSError as error:
        raise SordinoError(f"cannot delete {path}: {error.strerror}") from error
    return path


def load_voices(voices: AnyVoices) -> tuple[Voice, ...]:
    """Return the profiles that are meant, in any of the ways to name them.

    Raises:
        SordinoError: there is no such profile, there are too many, or they do not fit together.
    """
    if voices is None:
        return ()
    several = [voices] if isinstance(voices, Voice | str | Path) else list(voices)
    if len(several) > MAX_VOICES:
        raise SordinoError(f"there are {len(several)} voices: at most {MAX_VOICES} can be kept")
    loaded = tuple(each if isinstance(each, Voice) else Voice.load(each) for each in several)
    for each in loaded[1:]:
        loaded[0].similarity(each)  # which is possible only between those of one encoder
    return loaded


def voice_model(model: str | Path | Model) -> str | Path | Model:
    """Return the model that keeps voices in the place of `model`."""
    stands_for_all = isinstance(model, str) and model in (LIVE_MODEL, RECORDING_MODEL)
    return VOICE_MODEL if stands_for_all else model


def load_voice_model(model: str | Path | Model) -> Model:
    """Load the model that keeps voices in the place of `model`.

    Raises:
        SordinoError: it cannot be loaded, or cannot single out a voice.
    """
    wanted = voice_model(model)
    return checked_voice_model(wanted if isinstance(wanted, Model) else load_model(wanted))


def checked_voice_model(model: Model) -> Model:
    """Return a model; raise SordinoError if it cannot single out a voice."""
    if not model.keeps_voices:
        raise SordinoError(
            f"the model {model.info.name!r} was not trained to keep one voice only: leave the "
            f"voice out, or choose the model {VOICE_MODEL!r}"
        )
    return model


def voice_filter(
    model: Model,
    voices: Sequence[Voice],
    others_db: float | None = None,
    fallback_seconds: float | None = FALLBACK_SECONDS,
) -> VoiceFilter | None:
    """Return how a model is to keep these voices; None if there are none.

    Args:
        model: that was trained with voices.
        voices: to keep; empty keeps everybody.
        others_db: attenuate other voices by at most this many dB; None is no limit.
        fallback_seconds: of speech without these voices, after which everybody is kept; None is
            never.

    Raises:
        SordinoError: the model cannot, or an argument is out of range.
    """
    check_voice_options(others_db, fallback_seconds)
    if not voices:
        return None
    checked_voice_model(model)
    known = model_encoder(model)
    for each in voices:
        if known and each.encoder != known:
            raise SordinoError(
                f"{each.name or 'the voice'} was made with the voice encoder {each.encoder}, and "
                f"the model {model.info.name!r} knows voices by {known}: enrol again"
            )
    embeddings = np.stack([each.embedding for each in voices])
    return VoiceFilter(embeddings, others_db, fallback_seconds)


def model_encoder(model: Model) -> str:
    """Return which voice encoder's profiles a model knows; "" if it does not say."""
    enrolment = model.info.training.get("recipe", {}).get("enrolment", {})
    return str(enrolment.get("encoder", ""))


def check_voice_options(others_db: float | None, fallback_seconds: float | None) -> None:
    """Raise SordinoError if a number is out of range."""
    if others_db is not None and not 0 <= others_db < np.inf:
        raise SordinoError(f"other voices by {others_db} dB: expected 0 or more, or leave it out")
    if fallback_seconds is not None and not 1 <= fallback_seconds < np.inf:
        raise SordinoError(
            f"the fallback is after {fallback_seconds} s without the voice: expected 1 or more, or "
            "never"
        )


def read_fallback(text: str) -> float | None:
    """Return the seconds of `--voice-fallback`; None is never.

    Raises:
        SordinoError: it is neither a number nor "never".
    """
    if text.lower() == "never":
        return None
    try:
        return float(text)
    except ValueError:
        raise SordinoError(
            f"--voice-fallback {text} is neither seconds nor never: write --voice-fallback 6"
        ) from None


def check_name(name: str) -> None:
    """Raise SordinoError if a profile cannot have this name."""
    if not _NAME.fullmatch(name) or name.lower() in _RESERVED or name.endswith(SUFFIX):
        raise SordinoError(
            f"a voice cannot be called {name!r}: use letters, digits, spaces, - and _, at most 64, "
            f"and not {' or '.join(_RESERVED)}"
        )


def _saved_path(name: str) -> Path:
    if not name:
        raise SordinoError("the voice has no name to be saved by: give one")
    check_name(name)
    return voices_folder() / f"{name}{SUFFIX}"


def _saved(name: str) -> Path:
    path = saved_voices().get(name)
    if path is None:
        names = ", ".join(saved_voices()) or "none are saved"
        raise SordinoError(f"no voice is called {name!r} ({names}): `sordino enroll` makes one")
    return path


def _find(name_or_path: str | Path) -> Path:
    """Return the file of a profile: saved by this name, or at this path."""
    given = str(name_or_path)
    if isinstance(name_or_path, str) and given in saved_voices():
        return saved_voices()[given]
    is_name = isinstance(name_or_path, str) and _NAME.fullmatch(given) and SUFFIX not in given
    if is_name and not os.path.exists(given):
        return _saved(given)
    return Path(name_or_path)


def _read(path: Path) -> tuple[dict[str, str], NDArray[np.float32]]:
    """Return what a file says about itself, and its numbers."""
    try:
        with _safe_open(path, "numpy") as file:
            return dict(file.metadata() or {}), np.asarray(file.get_tensor("embedding"), np.float32)
    except OSError as error:
        raise SordinoError(f"cannot read the voice {path}: {error.strerror or error}") from None
    except SafetensorError:
        raise _no_profile(path) from None


def _no_profile(path: Path) -> SordinoError:
    return SordinoError(
        f"{path} is not a voice profile: `sordino enroll RECORDING --name NAME` makes one"
    )


def _checked(voice: Voice, source: str) -> Voice:
    """Return a profile that was read.

    Raises:
        SordinoError: its embedding is damaged.
    """
    embedding = voice.embedding
    if embedding.shape != (SIZE,) or not np.isclose(np.linalg.norm(embedding), 1, atol=1e-3):
        raise SordinoError(f"{source} is damaged or no voice profile: enrol again")
    return voice
