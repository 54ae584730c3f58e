"""Voices: enrolment, profiles, and streams that keep one voice only.

What programs need is in `profile` and can be imported from here.  It is loaded at its first use,
because the network's own stream (`stream`) lies below the model and the profiles above it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sordino.voice.profile import (
        AUTO,
        EVERYBODY,
        MAX_VOICES,
        SUFFIX,
        VOICE_MODEL,
        AnyVoice,
        AnyVoices,
        Voice,
        VoiceChoice,
        check_name,
        check_voice_options,
        checked_voice_model,
        delete_voice,
        load_voice_model,
        load_voices,
        model_encoder,
        read_fallback,
        rename_voice,
        saved_voices,
        voice_filter,
        voice_model,
        voices_folder,
        voices_from_texts,
    )

__all__ = [
    "AUTO",
    "EVERYBODY",
    "MAX_VOICES",
    "SUFFIX",
    "VOICE_MODEL",
    "AnyVoice",
    "AnyVoices",
    "Voice",
    "VoiceChoice",
    "check_name",
    "check_voice_options",
    "checked_voice_model",
    "delete_voice",
    "load_voice_model",
    "load_voices",
    "model_encoder",
    "read_fallback",
    "rename_voice",
    "saved_voices",
    "voice_filter",
    "voice_model",
    "voices_folder",
    "voices_from_texts",
]


def __getattr__(name: str) -> Any:
    """Import what is used of the profiles."""
    if name in __all__:
        return getattr(import_module("sordino.voice.profile"), name)
    raise AttributeError(f"module 'sordino.voice' has no attribute {name!r}")
