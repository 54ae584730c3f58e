"""The configuration of mixing: every probability and range, with its unit."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class MixConfig:
    """How mixtures are drawn.  Probabilities are per example; pairs are (lowest, highest)."""

    seconds: float = 3.0  # length of an example, s
    rates: dict[int, float] = field(  # Hz: weight of a batch at that sampling rate
        default_factory=lambda: {16000: 0.60, 48000: 0.25, 8000: 0.08, 24000: 0.07}
    )
    snr_mean_db: float = 5.0  # dB, active speech over active noise, normal distribution
    snr_spread_db: float = 8.0  # dB, its standard deviation
    snr_db: tuple[float, float] = (-10.0, 30.0)  # dB, its limits
    level_dbfs: tuple[float, float] = (-45.0, -6.0)  # dBFS, RMS of the mixture; peaks limit it
    peak: float = 0.99  # of full scale, no mixture or target peak is above

    speech_only: float = 0.15  # probability of an example without noise
    noise_only: float = 0.06  # probability of an example without speech
    silence: float = 0.01  # probability of digital silence
    pairs: float = 0.25  # probability of a recorded pair, where the corpus has pairs
    wide_speech: float = 0.7  # probability of a clip above 16 kHz in 24 and 48 kHz batches
    speech_speed: tuple[float, float] = (0.84, 1.2)  # speech is played at a speed between these
    formants: float = 0.35  # probability that a voice gets another vocal tract
    formant_ratio: tuple[float, float] = (0.86, 1.16)  # its formants are at these times their Hz
    raised: float = 0.15  # probability that a voice is raised: shouted, sung, a child's
    raised_pitch: tuple[float, float] = (1.3, 3.0)  # factor of its pitch
    raised_formants: tuple[float, float] = (1.0, 1.3)  # factor of its formants
    raised_tilt_db: tuple[float, float] = (
        0.0,
        4.0,
    )  # dB per octave flatter
    expand_db: float = 12.0  # dB, a recording's own background is lowered by up to this in pauses
    target_expand_db: float = 30.0  # dB, the same for the target: what is left is noise to take
    clean_db: float = -36.0  # dB under loud speech, a recording's own background is left alone
    background_db: float = -28.0  # dB under loud speech, recordings with more are drawn again
    late_start: float = 0.15  # probability that speech begins after a pause
    pause: float = 0.25  # probability of pauses inserted in speech
    pause_seconds: tuple[float, float] = (0.3, 2.0)  # s, length of each
    pauses: tuple[int, int] = (1, 2)  # how many

    noises: tuple[float, ...] = (0.60, 0.28, 0.12)  # weights of 1, 2, 3 ... noises at once
    noise_range_db: float = 12.0  # dB, a further noise is up to this much under the first
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
    close_db: tuple[float, float] = (0.0, 10.0)  # dB, wind, handling, typing are louder by this
    echo_db: tuple[float, float] = (5.0, 20.0)  # dB, echo is quieter than other noise by this
    noise_speed: tuple[float, float] = (
        0.6,
        1.6,
    )  # recorded noise is played at a speed between these
    backwards: float = 0.2  # probability that it is played backwards
    imprint: float = 0.25  # probability that it moves as another recorded noise does
    scatter: float = 0.6  # probability that a clip of short sounds is scattered anew
    thump: float = 0.3  # probability that each of those sounds shakes the microphone's table
    modulate: float = 0.15  # probability of a slow random change of a noise's level
    modulate_db: tuple[float, float] = (2.0, 8.0)  # dB, standard deviation of that level
    modulate_seconds: tuple[float, float] = (0.2, 1.5)  # s, its period
    switch: float = 0.06  # probability that a noise begins or ends inside the example

    room: float = 0.4  # probability of a room (RIR) around the speech
    noise_room: float = 0.5  # probability that noise is in a room too, when speech is
    room_seconds: float = 0.6  # s, longer responses are cut; also the lead-in of an example
    early_seconds: float = 0.050  # s, reflections that the target keeps
    eq: float = 0.5  # probability of a random equaliser on speech, and again on noise
    eq_db: float = 4.0  # dB, standard deviation of its curve on speech
    noise_eq_db: float = 7.0  # dB, and on noise
    band_limit: float = 0.25  # probability of a band limit on mixture and target
    band_limits: tuple[float, ...] = (4e3, 8e3, 12e3, 16e3, 20e3, 24e3)  # Hz
    clipping: float = 0.04  # probability that the mixture is clipped
    clipping_db: tuple[float, float] = (1.0, 12.0)  # dB under its peak
    codec: float = 0.02  # probability that the mixture went through a codec
    opus_kbps: tuple[float, float] = (12.0, 32.0)  # kbit/s
    agc: float = 0.05  # probability of automatic gain on mixture and target
    agc_db: tuple[float, float] = (6.0, 18.0)  # dB, its most gain: what it makes of pauses
    agc_attack: tuple[float, float] = (0.02, 0.2)  # s, time constant while it falls
    agc_release: tuple[float, float] = (0.2, 1.5)  # s, and while it rises
    packet_loss: float = 0.03  # probability of lost packets in mixture and target
    packet_loss_share: tuple[float, float] = (0.01, 0.15)  # share of packets that are lost
    packet_loss_burst: tuple[float, float] = (1.0, 3.0)  # mean number of them in a row
    offset: float = 0.03  # probability of a constant offset (DC) of the microphone
    offset_level: tuple[float, float] = (0.001, 0.1)  # of full scale
    mute: float = 0.01  # probability of a muted microphone: digital silence for a while
    mute_seconds: tuple[float, float] = (0.1, 2.5)  # s, how long

    active_range_db: float = 35.0  # dB, a frame this far under the loudest is no speech
    active_floor_dbfs: float = -85.0  # dBFS, nor is one under this
