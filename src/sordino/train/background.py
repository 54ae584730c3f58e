"""The background: one or more noises at once, recorded and made."""

import numpy as np

from sordino.train import handling, noises, textures
from sordino.train.corpus import Corpus
from sordino.train.cries import cries
from sordino.train.echo import echo
from sordino.train.effects import modulate, switch
from sordino.train.envelope import imprint
from sordino.train.excerpts import babble, excerpt, other_voice, scatter
from sordino.train.levels import FloatArray, active_level, db
from sordino.train.mixconfig import MixConfig
from sordino.train.rooms import draw_room

Rng = np.random.Generator

MADE = {
    "fan": noises.fan,
    "hum": noises.hum,
    "clicks": noises.clicks,
    "calls": noises.calls,
    "wind": noises.wind,
    "handling": handling.handling,
    "keyboard": handling.keyboard,
    "engine": textures.engine,
    "bursts": textures.bursts,
    "impacts": textures.impacts,
    "cries": cries,
}
CLOSE = ("wind", "handling", "keyboard")


class Background:
    """Draws what is heard behind the speech.

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
            return noises.coloured(rng, samples, rate, rng.uniform(-7, 2))
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
        read_rate = round(rate / noises.log_uniform(rng, *config.noise_speed))
        for _ in range(4):
            number = pool.draw(rng, wide)
            if pool.clips[number].events and rng.random() < config.scatter:
                close = rng.random() < config.thump
                x = scatter(rng, pool, number, samples, read_rate, close)
            else:
                x = excerpt(rng, pool, number, samples, read_rate)
            if active_level(x, rate) > -65:
                return x[::-1] if rng.random() < config.backwards else x
        return noises.coloured(rng, samples, rate, -3.0)
