"""Mixing: noisy speech and its clean target, made on the fly from a corpus."""

from typing import NamedTuple

import numpy as np

from sordino.errors import SordinoError
from sordino.train.data.augment import (
    band_limit,
    clip_peaks,
    expand,
    insert_pause,
    move_formants,
    raise_voice,
    random_eq,
    rumble_filter,
)
from sordino.train.data.codecs import (
    PACKETS,
    automatic_gain,
    draw_codec,
    draw_losses,
    draw_mute,
    lose_packets,
    through_codec,
)
from sordino.train.data.config import MixConfig
from sordino.train.data.corpus import Corpus
from sordino.train.data.noise import Background, excerpt
from sordino.train.data.rooms import draw_room
from sordino.train.data.signal import (
    HOPS_PER_SECOND,
    FloatArray,
    active_level,
    activity,
    background_level,
    db,
    good_size,
    irfft,
    rfft,
)
from sordino.train.data.synth import log_uniform

Rng = np.random.Generator

__all__ = ["Batch", "MixConfig", "Mixer", "mix"]


class Batch(NamedTuple):
    """Noisy speech and what the network should make of it."""

    noisy: FloatArray  # [B, N], |noisy| <= 1
    clean: FloatArray  # [B, N], early-reflection speech at its level in the mixture
    sample_rate: int  # Hz
    bandwidth: FloatArray  # [B], Hz; above it the target is unknown
    speech: FloatArray  # [B, T], T = N // hop; 1 where the target is active


def mix(speech: FloatArray, noise: FloatArray, snr_db: float, sample_rate: int) -> FloatArray:
    """`noise` at the level that makes the active-level ratio of `speech` to it `snr_db`.

    Silent noise stays silent.  Active levels leave pauses out on both sides, see
    `sordino.train.data.signal.active_level`.

    Shape: speech and noise (samples,).
    """
    level = active_level(noise, sample_rate)
    if level < -150:
        return noise
    return noise * db(active_level(speech, sample_rate) - snr_db - level)


class Mixer:
    """Draws batches from a corpus.

    Args:
        config: how.
        corpus: from what; it needs speech and noise, or pairs.

    Raises:
        SordinoError: the corpus has nothing to mix, or a rate is not one of 8, 16, 24, 48 kHz.
    """

    def __init__(self, config: MixConfig, corpus: Corpus):
        if corpus.pairs is None and (corpus.speech is None or corpus.noise is None):
            raise SordinoError("mixing needs a folder of speech and one of noise, or pairs")
        for rate in config.rates:
            if rate not in (8000, 16000, 24000, 48000):
                raise SordinoError(f"rates: {rate} Hz is not one of 8000, 16000, 24000, 48000")
        self.config = config
        self.corpus = corpus
        self.background = Background(config, corpus)

    def batch(self, seed: int, index: int, size: int, first: int = 0) -> Batch:
        """Batch number `index` of the run `seed`, a pure function of its arguments.

        Args:
            seed: of the training run.
            index: number of the batch; all its examples have one sampling rate.
            size: examples; none depends on how many others there are.
            first: number of the first example, for processes that share a batch.
        """
        rates = self.config.rates
        weights = np.array(list(rates.values())) / sum(rates.values())
        rate = int(_rng(seed, index, 0).choice(list(rates), p=weights))
        examples = [self._example(_rng(seed, index, 1 + first + i), rate) for i in range(size)]
        noisy, clean, bandwidth, speech = zip(*examples, strict=True)
        return Batch(
            noisy=np.stack(noisy),
            clean=np.stack(clean),
            sample_rate=rate,
            bandwidth=np.array(bandwidth, np.float32),
            speech=np.stack(speech),
        )

    def _example(self, rng: Rng, rate: int) -> tuple[FloatArray, FloatArray, float, FloatArray]:
        """(noisy, clean, bandwidth in Hz, speech activity) of one example.

        What happens behind the microphone is here: clipping, gain, level, codec, packets, mute.
        """
        config = self.config
        samples = round(config.seconds * rate)
        if rng.random() < config.silence:
            silence = np.zeros(samples, np.float32)
            frames = samples // (rate // HOPS_PER_SECOND)
            return silence, silence.copy(), rate / 2, np.zeros(frames, np.float32)
        limit = rate / 2
        if rng.random() < config.band_limit:
            limit = min(limit, float(rng.choice(config.band_limits)))
        codec = None
        if rng.random() < config.codec:
            codec = draw_codec(rng, config.opus_kbps)
            limit = min(limit, codec.bandwidth)
        only_pairs = self.corpus.speech is None or self.corpus.noise is None
        if self.corpus.pairs is not None and (only_pairs or rng.random() < config.pairs):
            noisy, clean, bandwidth = self._pair(rng, samples, rate, limit)
        else:
            noisy, clean, bandwidth = self._mixture(rng, samples, rate, limit)
        if rng.random() < config.clipping:
            noisy = clip_peaks(noisy, rng.uniform(*config.clipping_db))
        curve = np.ones(1, np.float32)
        if rng.random() < config.agc:
            most, attack = rng.uniform(*config.agc_db), rng.uniform(*config.agc_attack)
            curve = automatic_gain(noisy, rate, most, attack, rng.uniform(*config.agc_release))
            noisy, clean = noisy * curve, clean * curve
        power = float(np.dot(noisy, noisy)) / samples
        peak = max(float(np.abs(noisy).max()), float(np.abs(clean).max()), 1e-9)
        gain = db(rng.uniform(*config.level_dbfs)) / np.sqrt(max(power, 1e-18))
        gain = np.float32(min(gain, config.peak / peak))
        noisy, clean = noisy * gain, clean * gain
        if codec is not None:
            noisy = np.clip(through_codec(noisy, rate, codec), -1, 1)
        if rng.random() < config.packet_loss:
            noisy, clean = self._packets(rng, noisy, clean, rate)
        if rng.random() < config.offset:
            offset = log_uniform(rng, *config.offset_level) * rng.choice([-1.0, 1.0])
            noisy = np.clip(noisy + np.float32(offset), -1, 1)
        if rng.random() < config.mute:
            start, stop = draw_mute(rng, samples, rate, config.mute_seconds)
            noisy[start:stop] = clean[start:stop] = 0
        # What automatic gain pumps up in the pauses of the target is no speech.
        speech = activity(clean / curve, rate, config.active_range_db, config.active_floor_dbfs)
        return noisy, clean, bandwidth, speech

    def _packets(
        self, rng: Rng, noisy: FloatArray, clean: FloatArray, rate: int
    ) -> tuple[FloatArray, FloatArray]:
        """Both with the same packets lost, and concealed in the same way."""
        config = self.config
        seconds = float(rng.choice(PACKETS))
        share = rng.uniform(*config.packet_loss_share)
        burst = rng.uniform(*config.packet_loss_burst)
        lost = draw_losses(rng, int(config.seconds / seconds), share, burst)
        both = np.stack([noisy, clean])
        noisy, clean = lose_packets(both, lost, rate, seconds, rng.random() < 0.7)
        return noisy, clean

    def _pair(
        self, rng: Rng, samples: int, rate: int, limit: float
    ) -> tuple[FloatArray, FloatArray, float]:
        """An excerpt of a recorded pair as it is, but for the band limit."""
        pairs = self.corpus.pairs
        assert pairs is not None
        number = pairs.draw(rng)
        clip = pairs.clips[number]
        start = rng.uniform(0, max(0.0, clip.seconds - samples / rate))
        noisy, clean = pairs.read(number, rate, start, samples)
        if limit < rate / 2:
            gain = band_limit(samples, rate, limit)
            noisy, clean = (irfft(rfft(x) * gain, samples) for x in (noisy, clean))
        return noisy, clean, min(clip.bandwidth, limit)

    def _mixture(
        self, rng: Rng, samples: int, rate: int, limit: float
    ) -> tuple[FloatArray, FloatArray, float]:
        """Speech and noises from the pools, each through its own filter and room."""
        config = self.config
        kind = rng.random()
        with_noise = not kind < config.speech_only
        with_speech = not config.speech_only <= kind < config.speech_only + config.noise_only
        # Sound before the example's start is there to reverberate into it; the circular
        # convolution wraps into that lead-in only, which is cut off again.
        size = good_size(samples + round(config.room_seconds * rate))
        lead = size - samples
        wide = rate > 16000 and rng.random() < config.wide_speech
        in_room = self.corpus.rirs is not None and rng.random() < config.room
        # Where there is no speech, the target is known to be zero in every band.
        bandwidth, label = rate / 2, ""
        clean = wet = np.zeros(samples, np.float32)
        if with_speech:
            source, target, label, source_bandwidth = self._speech(
                rng, size, rate, wide, with_noise
            )
            bandwidth = min(limit, source_bandwidth)
            spectrum = self._filter(rng, size, rate, limit, config.eq_db)
            target_spectrum = rfft(target) * spectrum
            if with_noise:  # otherwise rumble is part of the recording
                target_spectrum *= rumble_filter(size, rate)
            spectrum = rfft(source) * spectrum
            if in_room:
                room, early = self._room(rng, size, rate)
                spectrum *= rfft(room)
                target_spectrum *= rfft(early)
            wet = irfft(spectrum, size)[lead:]
            clean = irfft(target_spectrum, size)[lead:]
        if not with_noise:
            return wet, clean, bandwidth
        noise, louder = self.background.draw(rng, size, rate, label)
        spectrum = rfft(noise)
        spectrum *= self._filter(rng, size, rate, limit, config.noise_eq_db)
        if in_room and rng.random() < config.noise_room:
            spectrum *= rfft(self._room(rng, size, rate)[0])
        noise = irfft(spectrum, size)[lead:]
        if with_speech:
            snr = rng.normal(config.snr_mean_db - louder, config.snr_spread_db)
            noise = mix(clean, noise, float(np.clip(snr, *config.snr_db)), rate)
        return wet + noise, clean, bandwidth

    def _filter(self, rng: Rng, size: int, rate: int, limit: float, eq_db: float) -> FloatArray:
        """Gain per bin of a random equaliser, perhaps, and of the band limit."""
        gain = band_limit(size, rate, limit)
        if rng.random() < self.config.eq:
            gain = gain * random_eq(rng, size, rate, eq_db)
        return gain

    def _room(self, rng: Rng, size: int, rate: int) -> tuple[FloatArray, FloatArray]:
        rirs, config = self.corpus.rirs, self.config
        assert rirs is not None
        return draw_room(rng, rirs, rate, size, config.room_seconds, config.early_seconds)

    def _speech(
        self, rng: Rng, samples: int, rate: int, wide: bool, with_noise: bool
    ) -> tuple[FloatArray, FloatArray, str, float]:
        """(excerpt, target, speaker, bandwidth in Hz) with pauses where drawn.

        Where no noise is added, a quiet background is part of a clean recording and stays.
        """
        config, pool = self.config, self.corpus.speech
        assert pool is not None
        # Sound read at another rate than it is taken for is played at another speed.
        speed, length = log_uniform(rng, *config.speech_speed), samples
        raised = config.raised > 0 and rng.random() < config.raised
        if raised:
            speed = log_uniform(rng, *config.raised_pitch)
            length = round(samples / log_uniform(rng, 1.0, 1.5 * speed))
        tries = 4
        while True:
            number = pool.draw(rng, wide)
            x = excerpt(rng, pool, number, length, round(rate / speed))
            quiet = background_level(x, rate) < config.background_db
            tries -= 1
            # A long pause or a noisy recording is no good target: draw again.
            if tries == 0 or (quiet and active_level(x, rate) > -50):
                break
        if raised:
            formants = min(log_uniform(rng, *config.raised_formants), speed)
            tilt_db = rng.uniform(*config.raised_tilt_db)
            x = raise_voice(x, rate, speed, formants, tilt_db, samples)
        paused = x
        if rng.random() < config.late_start:
            start = config.room_seconds + rng.uniform(0.05, 1) * config.pause_seconds[1]
            paused = insert_pause(paused, rate, 0.0, start)
        if rng.random() < config.pause:
            for _ in range(int(rng.integers(config.pauses[0], config.pauses[1] + 1))):
                at = rng.uniform(config.room_seconds, samples / rate)
                paused = insert_pause(paused, rate, at, rng.uniform(*config.pause_seconds))
        # Pauses push speech out at the end; an example of nearly nothing else is no use.
        lead = round(config.room_seconds * rate)
        if np.dot(paused[lead:], paused[lead:]) > 0.25 * np.dot(x[lead:], x[lead:]):
            x = paused
        clip = pool.clips[number]
        bandwidth = clip.bandwidth * speed
        if not raised and rng.random() < config.formants:
            ratio = log_uniform(rng, *config.formant_ratio)
            x = move_formants(x, rate, ratio)
            bandwidth *= min(1.0, ratio)  # what was moved down from above is not there
        source = expand(x, rate, config.expand_db)
        clean = not with_noise and background_level(source, rate) < config.clean_db
        target = source if clean else expand(x, rate, config.target_expand_db)
        return source, target, clip.label, bandwidth


def _rng(seed: int, *key: int) -> Rng:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=key)))
