"""The background of a mixture: one or more noises at once, recorded and synthetic.

Recorded noise is used as it is or scattered anew (single key strokes become typing); babble is
made of other speakers; echo is what an echo canceller leaves of the far speaker's voice.
"""

import numpy as np

from sordino.train.data import synth
from sordino.train.data.augment import imprint, modulate, switch
from sordino.train.data.config import MixConfig
from sordino.train.data.corpus import ClipPool, Corpus
from sordino.train.data.rooms import draw_room
from sordino.train.data.signal import (
    FloatArray,
    active_level,
    db,
    from_frames,
    irfft,
    rfft,
    to_frames,
)
from sordino.train.data.synth import animals, log_uniform, overlay, thump

Rng = np.random.Generator


def excerpt(rng: Rng, pool: ClipPool, number: int, samples: int, sample_rate: int) -> FloatArray:
    """A random stretch of a clip; one shorter than that is repeated with small pauses."""
    seconds, clip = samples / sample_rate, pool.clips[number]
    if clip.seconds >= seconds:
        start = rng.uniform(0, clip.seconds - seconds)
        return pool.read(number, sample_rate, start, samples)
    once = pool.read(number, sample_rate)
    x = np.zeros(samples, np.float32)
    at = -int(rng.integers(0, max(1, len(once))))
    while at < samples:
        overlay(x, once, at)
        at += len(once) + int(rng.uniform(0.05, 0.5) * sample_rate)
    return x


def scatter(
    rng: Rng, pool: ClipPool, number: int, samples: int, sample_rate: int, close: bool = False
) -> FloatArray:
    """The short sounds of a clip at random times: single key strokes become typing.

    Sounds of other clips with the same label come in too, so that a folder of single
    strokes, one a file, makes typing as well.

    Args:
        rng: random numbers.
        pool: of noise.
        number: of a clip with events.
        samples: length of what is returned.
        sample_rate: in Hz.
        close: the microphone stands on the same table, which every stroke shakes.
    """
    kin = pool.kin(number)
    x = np.zeros(samples, np.float32)
    mean_gap = log_uniform(rng, 0.05, 0.8)  # seconds between sounds
    knock = thump(rng, sample_rate) * db(rng.uniform(-18, 0)) if close else None
    at = rng.exponential(mean_gap) - 0.2
    while at < samples / sample_rate:
        clip = pool.clips[number]
        start, stop = clip.events[int(rng.integers(len(clip.events)))]
        sound = pool.read(number, sample_rate, start, int((stop - start) * sample_rate))
        sound = sound * db(rng.uniform(-6, 0))
        stroke = stop - start <= 0.35  # seconds; longer sounds, a bark, are no strokes
        overlay(x, sound, round(at * sample_rate))
        if knock is not None and stroke:
            overlay(x, knock * np.abs(sound).max(initial=0.0), round(at * sample_rate))
        # A long sound is heard out; strokes may overlap as they do on a keyboard.
        at += rng.exponential(mean_gap) + (0.03 if stroke else stop - start)
        number = int(kin[int(rng.integers(len(kin)))])
    return x


def babble(
    rng: Rng, speech: ClipPool, avoid: str, samples: int, sample_rate: int, wide: bool
) -> FloatArray:
    """4 to 10 speakers at once, each within 4 dB of the others; none of them is `avoid`."""
    x = np.zeros(samples, np.float32)
    for _ in range(int(rng.integers(4, 11))):
        voice = other_voice(rng, speech, avoid, samples, sample_rate, wide)
        level = active_level(voice, sample_rate)
        if level > -60:
            x += voice * db(rng.uniform(-4, 0) - 25 - level)
    return x


def other_voice(
    rng: Rng, speech: ClipPool, avoid: str, samples: int, sample_rate: int, wide: bool
) -> FloatArray:
    """An excerpt of another speaker than `avoid`; silence where four draws gave no other."""
    for _ in range(4):
        number = speech.draw(rng, wide)
        if not avoid or speech.clips[number].label != avoid:
            return excerpt(rng, speech, number, samples, sample_rate)
    return np.zeros(samples, np.float32)


def echo(
    rng: Rng, voice: FloatArray, room: tuple[FloatArray, FloatArray] | None, sample_rate: int
) -> FloatArray:
    """The residue of a voice that came out of a loudspeaker; silence where the voice is silent.

    The loudspeaker distorts mildly and passes a band; the canceller takes most of the direct
    sound and of the early reflections, so that reverberation and distortion are what is left;
    the suppressor behind it lets that through in patches.

    Args:
        rng: random numbers.
        voice: of the far speaker, shape `(samples,)`.
        room: whole response and its early part, both of shape `(samples,)` and circular, as
            `sordino.train.data.rooms.split_room` gives them; None without a room.
        sample_rate: in Hz.
    """
    size = len(voice)
    level = active_level(voice, sample_rate)
    if level < -150:
        return voice
    drive, offset = np.float32(log_uniform(rng, 0.5, 4)), np.float32(rng.uniform(-0.3, 0.3))
    driven = voice * np.float32(drive * db(-15 - level)) + offset  # the offset is not heard
    spectrum = rfft(np.tanh(driven)) * _loudspeaker(rng, size, sample_rate)
    if room is not None:
        whole, early = room
        taken = np.float32(1 - db(rng.uniform(-30, -6)))
        spectrum *= rfft((whole - early * taken).astype(np.float32, copy=False))
    x = irfft(spectrum, size) / drive
    return _suppress(rng, x, sample_rate)


def _loudspeaker(rng: Rng, size: int, sample_rate: int) -> FloatArray:
    """Gain per FFT bin: from about 300 to 3400 .. 7000 Hz, 24 dB per octave beside that."""
    frequency = np.fft.rfftfreq(size, 1 / sample_rate)
    low, high = rng.uniform(200, 400), log_uniform(rng, 3400, 7000)
    ratio = np.minimum(frequency / low, 1) * np.minimum(high / np.maximum(frequency, high), 1)
    return (ratio**4).astype(np.float32)


def _suppress(rng: Rng, x: FloatArray, sample_rate: int) -> FloatArray:
    """`x` in patches of 60 ms and 400 Hz, the others 15 to 40 dB lower, with breaks in all."""
    hop = sample_rate // 100
    frames = to_frames(x, hop)
    count, bins = frames.shape
    passed = rng.random((count // 6 + 1, bins // 8 + 1)) < rng.uniform(0.2, 0.7)
    bursts = rng.random((count // 18 + 1, 1)) < rng.uniform(0.4, 1)
    passed &= np.repeat(bursts, 3, axis=0)[: len(passed)]
    gain = np.where(passed, np.float32(1), db(-rng.uniform(15, 40)))
    gain = gain.repeat(6, 0)[:count].repeat(8, 1)[:, :bins]
    gain[1:] = 0.5 * (gain[1:] + gain[:-1])
    return from_frames(frames * gain, len(x))


MADE = {
    "fan": synth.fan,
    "hum": synth.hum,
    "clicks": synth.clicks,
    "tones": synth.tones,
    "wind": synth.wind,
    "handling": synth.handling,
    "keyboard": synth.keyboard,
    "engine": synth.engine,
    "bursts": synth.bursts,
    "impacts": synth.impacts,
    "animals": animals,
}
CLOSE = ("wind", "handling", "keyboard")


class Background:
    """Draws the background of the speech.

    Args:
        config: how.
        corpus: from what; what `draw` needs is speech and noise.
    """

    def __init__(self, config: MixConfig, corpus: Corpus):
        self.config = config
        self.corpus = corpus
        kinds = ("babble", "coloured", *MADE, "echo")
        self.shares: dict[str, float] = {kind: getattr(config, kind) for kind in kinds}

    def draw(self, rng: Rng, samples: int, rate: int, avoid: str) -> tuple[FloatArray, float]:
        """The sum of one or more noises, the first at an active level of -25 dBFS.

        Args:
            rng: random numbers.
            samples: length.
            rate: in Hz.
            avoid: the speaker in front of the background; empty when nobody is.

        Returns:
            The noise, and by how many dB it is to be louder than other noise.
        """
        config = self.config
        weights = np.cumsum(config.noises)
        count = 1 + int(np.searchsorted(weights / weights[-1], rng.random(), "right"))
        total = np.zeros(samples, np.float32)
        louder = 0.0
        for i in range(count):
            kind = self.kind(rng, avoid)
            x = self._noise(rng, kind, samples, rate, avoid)
            if i == 0 and kind in CLOSE:
                louder = rng.uniform(*config.close_db)
            elif i == 0 and kind == "echo":
                louder = -rng.uniform(*config.echo_db)
            if rng.random() < config.modulate:
                depth = rng.uniform(*config.modulate_db)
                x = modulate(rng, x, rate, depth, rng.uniform(*config.modulate_seconds))
            if rng.random() < config.switch:
                x = switch(rng, x, rate)
            level = active_level(x, rate)
            if level > -150:
                under = rng.uniform(0, config.noise_range_db) if i else 0.0
                total += x * db(-25 - under - level)
        return total, louder

    def kind(self, rng: Rng, avoid: str) -> str:
        """The kind of one noise, by the shares of the configuration."""
        place = rng.random()
        for kind, share in self.shares.items():
            place -= share
            if place < 0:
                # A voice alone, in whatever state, is not to be called noise.
                return "recorded" if kind == "echo" and not avoid else kind
        return "recorded"

    def _noise(self, rng: Rng, kind: str, samples: int, rate: int, avoid: str) -> FloatArray:
        if kind in MADE:
            return MADE[kind](rng, samples, rate)
        if kind == "coloured":
            return synth.coloured(rng, samples, rate, rng.uniform(-7, 2))
        wide = rate > 16000 and rng.random() < self.config.wide_speech
        if kind == "recorded":
            x = self._recorded(rng, samples, rate, wide)
            if rng.random() < self.config.imprint:
                other = self._recorded(rng, samples, rate, wide)
                x = imprint(x, other, rate, rng.uniform(0.5, 1))
            return x
        speech, rirs = self.corpus.speech, self.corpus.rirs
        assert speech is not None
        if kind == "babble":
            return babble(rng, speech, avoid, samples, rate, wide)
        room = None
        if rirs is not None:
            seconds, early = self.config.room_seconds, self.config.early_seconds
            room = draw_room(rng, rirs, rate, samples, seconds, early)
        return echo(rng, other_voice(rng, speech, avoid, samples, rate, wide), room, rate)

    def _recorded(self, rng: Rng, samples: int, rate: int, wide: bool) -> FloatArray:
        config, pool = self.config, self.corpus.noise
        assert pool is not None
        read_rate = round(rate / log_uniform(rng, *config.noise_speed))
        for _ in range(4):
            number = pool.draw(rng, wide)
            if pool.clips[number].events and rng.random() < config.scatter:
                close = rng.random() < config.thump
                x = scatter(rng, pool, number, samples, read_rate, close)
            else:
                x = excerpt(rng, pool, number, samples, read_rate)
            if active_level(x, rate) > -65:
                return x[::-1] if rng.random() < config.backwards else x
        return synth.coloured(rng, samples, rate, -3.0)
