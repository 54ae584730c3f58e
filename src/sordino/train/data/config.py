"""The configuration of mixing: every probability and range, with its unit."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from sordino.errors import SordinoError


def check_weights(where: str, weights: Iterable[tuple[str, float]]) -> None:
    """Refuse weights by which nothing can be drawn.

    Args:
        where: name of the key in the recipe.
        weights: pairs of what is weighted and its weight.

    Raises:
        SordinoError: a weight is negative or not finite, or none is more than 0.
    """
    known: list[float] = []
    for name, weight in weights:
        if not (math.isfinite(weight) and weight >= 0):
            raise SordinoError(
                f"recipe: {where}: the weight of {name} must be 0 or more, not {weight:g}"
            )
        known.append(weight)
    if not any(known):
        raise SordinoError(f"recipe: {where}: no weight is more than 0: raise one")


@dataclass(frozen=True)
class MixConfig:
    """How mixtures are drawn.  Probabilities are per example; pairs are (lowest, highest)."""

    seconds: float = 3.0  # s, length of an example
    rates: dict[int, float] = field(  # sample rate in Hz = weight of batches at this rate
        default_factory=lambda: {16000: 0.60, 48000: 0.25, 8000: 0.08, 24000: 0.07}
    )
    # dB, mean SNR (active speech level over active noise level); normally distributed
    snr_mean_db: float = 5.0
    snr_spread_db: float = 8.0  # dB, standard deviation of the SNR
    snr_db: tuple[float, float] = (-10.0, 30.0)  # dB, lower and upper limit of the SNR
    # dBFS, RMS level of the mixture; lower where a peak would exceed `peak`
    level_dbfs: tuple[float, float] = (-45.0, -6.0)
    peak: float = 0.99  # highest peak of mixture and target; 1 is full scale

    speech_only: float = 0.15  # probability of an example without noise
    noise_only: float = 0.06  # probability of an example without speech
    silence: float = 0.01  # probability of digital silence
    pairs: float = 0.25  # probability of a recorded pair, if the corpus has pairs
    # probability of speech recorded above 16 kHz in batches at 24 and 48 kHz
    wide_speech: float = 0.7
    speech_speed: tuple[float, float] = (0.84, 1.2)  # range of the speed that speech is played at
    formants: float = 0.35  # probability that a voice's formants are shifted
    # range of the factor on the formant frequencies
    formant_ratio: tuple[float, float] = (0.86, 1.16)
    raised: float = 0.15  # probability that a voice is raised: shouted, sung, a child's
    # range of the factor on the pitch of a raised voice
    raised_pitch: tuple[float, float] = (1.3, 3.0)
    # range of the factor on the formants of a raised voice
    raised_formants: tuple[float, float] = (1.0, 1.3)
    # dB per octave, range of the boost of high frequencies in a raised voice
    raised_tilt_db: tuple[float, float] = (0.0, 4.0)
    # dB, largest attenuation of a recording's own background in pauses, in the mixture
    expand_db: float = 12.0
    # dB, the same in the target; the network learns to remove the difference
    target_expand_db: float = 30.0
    # dB relative to loud speech; a background below this is left as it is in examples without noise
    clean_db: float = -36.0
    # dB relative to loud speech; recordings with a louder background are not used
    background_db: float = -28.0
    late_start: float = 0.15  # probability that speech begins after a pause
    pause: float = 0.25  # probability that pauses are inserted into speech
    pause_seconds: tuple[float, float] = (0.3, 2.0)  # s, range of the length of an inserted pause
    pauses: tuple[int, int] = (1, 2)  # range of the number of inserted pauses

    noises: tuple[float, ...] = (0.60, 0.28, 0.12)  # weights of 1, 2, 3 ... noises in one example
    noise_range_db: float = 12.0  # dB, a further noise is at most this much quieter than the first
    babble: float = 0.10  # share of noises that are babble of other speakers
    coloured: float = 0.05  # share that are white, pink, brown ... noise
    fan: float = 0.05  # share that are a synthetic fan
    hum: float = 0.03  # share that are mains hum
    clicks: float = 0.02  # share that are synthetic clicks
    tones: float = 0.03  # share that are synthetic tones: beeps, whistles, sirens
    wind: float = 0.03  # share that are synthetic wind in the microphone
    handling: float = 0.02  # share that are synthetic thumps and rubs of a touched microphone
    keyboard: float = 0.02  # share that are synthetic typing close to the microphone
    engine: float = 0.03  # share that are a synthetic motor, saw or insect
    bursts: float = 0.04  # share that are synthetic bursts: coughs, sprays, rustling
    impacts: float = 0.04  # share that are synthetic things that are struck
    animals: float = 0.02  # share that are synthetic calls of animals: chirps, barks
    echo: float = 0.03  # share that are what an echo canceller leaves of another speaker
    # dB, range by which wind, handling and typing are louder than other noise
    close_db: tuple[float, float] = (0.0, 10.0)
    # dB, range by which echo is quieter than other noise
    echo_db: tuple[float, float] = (5.0, 20.0)
    # range of the speed that recorded noise is played at
    noise_speed: tuple[float, float] = (0.6, 1.6)
    backwards: float = 0.2  # probability that recorded noise is played backwards
    # probability that a noise gets the envelope (over time and frequency) of another
    imprint: float = 0.25
    scatter: float = 0.6  # probability that the short sounds of a clip are placed at random times
    thump: float = 0.3  # probability that a short sound also shakes the microphone's table
    modulate: float = 0.15  # probability that a noise's level changes slowly and randomly
    # dB, range of the standard deviation of these changes
    modulate_db: tuple[float, float] = (2.0, 8.0)
    modulate_seconds: tuple[float, float] = (0.2, 1.5)  # s, range of the period of these changes
    switch: float = 0.06  # probability that a noise begins or ends inside the example

    room: float = 0.4  # probability that speech is in a room (convolved with an RIR)
    noise_room: float = 0.5  # probability that noise is in the room, too, if speech is
    # s, longest room impulse response; longer ones are cut. Also the lead-in of an example
    room_seconds: float = 0.6
    early_seconds: float = 0.050  # s, reflections up to this delay stay in the target
    eq: float = 0.5  # probability of a random equaliser on speech, and again on noise
    eq_db: float = 4.0  # dB, standard deviation of the equaliser's curve on speech
    noise_eq_db: float = 7.0  # dB, standard deviation of the equaliser's curve on noise
    band_limit: float = 0.25  # probability of a band limit on mixture and target
    # Hz, the band limits to choose from
    band_limits: tuple[float, ...] = (4e3, 8e3, 12e3, 16e3, 20e3, 24e3)
    clipping: float = 0.04  # probability that the mixture is clipped
    # dB, range of the clipping level below the mixture's peak
    clipping_db: tuple[float, float] = (1.0, 12.0)
    codec: float = 0.02  # probability that the mixture went through a codec
    opus_kbps: tuple[float, float] = (12.0, 32.0)  # kbit/s, range of the bit rate of Opus
    agc: float = 0.05  # probability of automatic gain on mixture and target
    # dB, range of the maximum gain, which is reached in pauses
    agc_db: tuple[float, float] = (6.0, 18.0)
    agc_attack: tuple[float, float] = (0.02, 0.2)  # s, range of the time constant of a falling gain
    agc_release: tuple[float, float] = (0.2, 1.5)  # s, range of the time constant of a rising gain
    packet_loss: float = 0.03  # probability that packets are lost in mixture and target
    # range of the share of packets that are lost
    packet_loss_share: tuple[float, float] = (0.01, 0.15)
    # range of the mean number of packets lost in a row
    packet_loss_burst: tuple[float, float] = (1.0, 3.0)
    offset: float = 0.03  # probability of a constant offset (DC) of the microphone
    # range of the constant offset; 1 is full scale
    offset_level: tuple[float, float] = (0.001, 0.1)
    mute: float = 0.01  # probability of a muted microphone: digital silence for a while
    mute_seconds: tuple[float, float] = (0.1, 2.5)  # s, range of the length of muting

    active_range_db: float = 35.0  # dB, frames this far below the loudest one count as silence
    active_floor_dbfs: float = -85.0  # dBFS, frames below this level count as silence

    def __post_init__(self) -> None:
        """Refuse weights by which nothing can be drawn."""
        check_weights("mix.rates", [(f"{rate} Hz", each) for rate, each in self.rates.items()])
        counts = enumerate(self.noises, 1)
        check_weights("mix.noises", [(f"{count} noise(s)", each) for count, each in counts])
