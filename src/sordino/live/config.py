"""What the user wants of a live session."""

from dataclasses import dataclass
from math import inf
from pathlib import Path

from sordino.denoiser import HIGHEST_RATE, LOWEST_RATE
from sordino.deprecated import renamed_names
from sordino.errors import SordinoError
from sordino.levels import checked_attenuation_limit, checked_strength
from sordino.live.backends.base import LOUDSPEAKER, MICROPHONE
from sordino.model import LIVE_MODEL, Model, available_models, load_model
from sordino.voice import (
    AUTO,
    AnyVoices,
    VoiceChoice,
    check_voice_options,
    load_voice_model,
    load_voices,
)
from sordino.voice.stream import FALLBACK_SECONDS

LIGHTER_MODEL = "small"
__getattr__ = renamed_names(__name__, {"Settings": "LiveSettings"})


@dataclass(frozen=True)
class LiveSettings:
    """How a live session is to run; what may change while it runs is changed on the session.

    Args:
        input: name of the microphone, as `sordino devices` lists it; None is the system's
            default, followed when it changes.
        channel: of the microphone, counted from 1; None: the one with sound.
        output: name of the device that plays the clean sound; None is the virtual microphone
            (or, if there is to be none, the default output).
        model: name of a packaged model, or path of an .onnx file.
        strength: share of the noise that is removed, 0 to 1.
        attenuation_limit_db: the maximum attenuation of any sound, in dB; None: no limit.
        voice: the only voice to keep, enrolled, or several; None keeps every voice, "auto" enrols
            whoever speaks first, for this session.
        others_db: the maximum attenuation of other voices, in dB; None: no limit.
        voice_fallback: seconds of speech without the voice after which everybody is kept until it
            is heard again; None: never.
        virtual_mic: make the device that meeting programs can choose as their microphone.
        speaker: the other direction: clean what the others send, before the loudspeaker.
        record: folder in which to record all of the session, noisy and clean; None: nowhere.
        seconds: when to stop, in seconds from the first sound, or from the start where none
            comes; None: when told to.
        wait: at the start, wait for a sound server or for devices of the given names that are
            not there, instead of raising.
        on_demand: open the microphone only while a program records the virtual one.
        echo_cancel: remove from the microphone what other programs play to the default
            loudspeaker, by the sound server's echo canceller.
        sample_rate: at which the engine works and devices are asked to run, in Hz.

    Raises:
        SordinoError: a value is out of range.

    >>> LiveSettings(strength=0.8).model
    'default'
    """

    input: str | None = None
    channel: int | None = None
    output: str | None = None
    model: str | Path = "default"
    strength: float = 1.0
    attenuation_limit_db: float | None = None
    voice: AnyVoices = None
    others_db: float | None = None
    voice_fallback: float | None = FALLBACK_SECONDS
    virtual_mic: bool = True
    speaker: bool = False
    record: Path | None = None
    seconds: float | None = None
    wait: bool = False
    on_demand: bool = False
    echo_cancel: bool = False
    sample_rate: int = 48000

    def __post_init__(self) -> None:
        if self.on_demand and self.virtual_label != MICROPHONE:
            raise SordinoError(
                "on_demand is for the virtual microphone: leave out --speaker, --output and "
                "--no-virtual-mic"
            )
        if self.echo_cancel and (self.speaker or self.channel is not None):
            raise SordinoError(
                "echo_cancel is for a microphone, of which the server mixes all channels: leave "
                "out --speaker and --channel"
            )
        checked_strength(self.strength)
        if self.channel is not None and self.channel < 1:
            raise SordinoError(f"the channel is {self.channel}: they are counted from 1")
        checked_attenuation_limit(self.attenuation_limit_db)
        check_voice_options(self.others_db, self.voice_fallback)
        if self.seconds is not None and not 0 < self.seconds < inf:
            raise SordinoError(
                f"seconds is {self.seconds}: expected more than 0, or leave it out for no end"
            )
        if not LOWEST_RATE <= self.sample_rate <= HIGHEST_RATE:
            raise SordinoError(
                f"the sample rate is {self.sample_rate} Hz: expected {LOWEST_RATE} to "
                f"{HIGHEST_RATE}; 48000 is right for nearly all devices"
            )

    @property
    def virtual_label(self) -> str:
        """What meeting programs call the virtual device; "" if none is wanted."""
        if self.speaker:
            return LOUDSPEAKER
        return MICROPHONE if self.virtual_mic and self.output is None else ""

    @property
    def enrols(self) -> bool:
        """Whether the voice is to be enrolled from what is said first."""
        return self.voice in (AUTO, [AUTO], (AUTO,))

    def load_voices(self) -> VoiceChoice:
        """Load the profiles that are wanted.

        Raises:
            SordinoError: there is no such profile, or it is damaged.
        """
        voices = () if self.enrols else load_voices(self.voice)
        return VoiceChoice(voices, self.others_db, self.voice_fallback)

    def load_models(self) -> list[Model]:
        """Load the model that is wanted, and after it a lighter one for a busy processor.

        Raises:
            SordinoError: it cannot be loaded, looks ahead, or cannot single out a voice that is
                wanted.
        """
        if self.enrols:
            load_voice_model(self.model)  # which takes over later
        has_voice = bool(self.load_voices().voices)
        model = load_voice_model(self.model) if has_voice else load_model(self.model)
        if model.info.ahead_frames:
            raise SordinoError(
                f"the model {model.info.name!r} looks ahead and is for recordings: choose another "
                f"for live sound, such as {LIVE_MODEL!r}"
            )
        if self.model == "default" and LIGHTER_MODEL in available_models():
            return [model, load_model(LIGHTER_MODEL)]
        return [model]
