"""Make the bundled examples (src/sordino/examples) from Debian packages with a free licence.

The clips are committed, so nobody needs to run this; it documents how they came about and
makes them again, byte for byte with the same versions of the packages and libraries:

    apt-get download flare-game pocketsphinx-testdata sonic-pi-samples \\
        asterisk-core-sounds-{en,es,it}-g722 asterisk-core-sounds-fr-wav
    for package in *.deb; do dpkg -x $package root; done
    python scripts/make_examples.py root

Needs Sordino with its extra [train].  Licences: src/sordino/examples/README.md.
"""

import sys
from pathlib import Path

import av
import numpy as np
import soundfile as sf
import soxr
from numpy.typing import NDArray

from sordino.train.data.signal import active_level, db
from sordino.train.data.synth import fan, hum

Audio = NDArray[np.float32]  # (samples,) or (samples, channels), full scale +-1

EXAMPLES = Path(__file__).parents[1] / "src" / "sordino" / "examples"
FLARE = "usr/share/games/flare/mods/{}/soundfx"
VOICE = FLARE.format("fantasycore") + "/npcs/female_merchant_{:02}.ogg"  # Holly Daniel, English
AMBIENCE = FLARE.format("fantasycore") + "/environment/{}.ogg"
RAIN = FLARE.format("empyrean_campaign") + "/environment/rain.ogg"
THEME = "usr/share/games/flare/mods/fantasycore/music/{}.ogg"
LIBRIVOX = "usr/share/pocketsphinx/test/data/librivox/sense_and_sensibility_01_austen_64kb-{}.wav"
SAMPLE = "usr/share/sonic-pi/samples/{}.flac"
PROMPT = "usr/share/asterisk/sounds/{}.{}"
SPEECH_LEVEL_DB = -26.0  # dBFS, of the frames that hold speech


def read(path: Path, rate: int, mono: bool = True) -> Audio:
    """Read a recording at `rate` Hz; g722 has no header and goes through PyAV."""
    if path.suffix == ".g722":
        with av.open(str(path), format="g722") as container:
            blocks = [frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]
        x, source_rate = np.concatenate(blocks).astype(np.float32) / 32768, 16000
    else:
        x, source_rate = sf.read(path, dtype="float32")
    if mono and x.ndim == 2:
        x = x.mean(1)
    return np.asarray(soxr.resample(x, source_rate, rate), np.float32)


def at_level(x: Audio, rate: int, level_db: float) -> Audio:
    """Scale so that what sounds has a level of `level_db` dBFS."""
    mono = x if x.ndim == 1 else x.mean(1)
    return x * db(level_db - active_level(mono, rate))


def trimmed(x: Audio, rate: int) -> Audio:
    """Cut the silence at both ends, 50 ms outside the first and last sample above -50 dB."""
    loud = np.flatnonzero(np.abs(x) > np.abs(x).max() * 10 ** (-50 / 20))
    return x[max(loud[0] - rate // 20, 0) : loud[-1] + rate // 20]


def utterances(clips: list[Audio], rate: int, pause: float, seconds: float) -> Audio:
    """Put clips one after another at equal level, `pause` seconds apart, half a second in."""
    out = np.zeros(round(seconds * rate), np.float32)
    at = rate // 2
    for clip in clips:
        speech = at_level(trimmed(clip, rate), rate, SPEECH_LEVEL_DB)[: max(len(out) - at, 0)]
        out[at : at + len(speech)] = speech
        at += len(speech) + round(pause * rate)
    return out


def typing(rng: np.random.Generator, rate: int, samples: int) -> Audio:
    """Make a typist: each key a click on the way down, a softer one on the way up."""
    out = np.zeros(samples + rate, np.float32)
    t = np.arange(rate // 20) / rate

    def click(at: float, gain: float) -> None:
        body = np.sin(2 * np.pi * rng.uniform(180, 420) * t) * np.exp(-t / 0.008)
        snap = rng.standard_normal(len(t)) * np.exp(-t / rng.uniform(0.001, 0.004))
        out[int(at * rate) :][: len(t)] += (gain * (0.4 * body + snap)).astype(np.float32)

    at = 0.1
    while at < samples / rate:
        gain = rng.uniform(0.4, 1)
        click(at, gain)
        click(at + rng.uniform(0.07, 0.13), 0.4 * gain)
        at += float(rng.lognormal(np.log(0.13), 0.4)) + (0.4 if rng.random() < 0.12 else 0)
    return out[:samples]


def babble(rng: np.random.Generator, talkers: list[list[Audio]], rate: int, samples: int) -> Audio:
    """Make a crowd: each talker says shuffled sentences, some nearer and some further away."""
    out = np.zeros(samples, np.float32)
    for sentences in talkers:
        chain = np.concatenate([sentences[i] for i in rng.permutation(len(sentences))])
        turned = np.roll(at_level(chain, rate, rng.uniform(-34, -26)), rng.integers(len(chain)))
        out += np.resize(turned, samples)
    return out


def save_pair(name: str, clean: Audio, noise: Audio, rate: int, snr_db: float) -> None:
    """Write `clean` and the mixture at `snr_db`, 16-bit FLAC, both scaled alike to fit."""
    noisy = clean + at_level(noise, rate, SPEECH_LEVEL_DB - snr_db)
    gain = min(1.0, 0.9 / float(np.abs(noisy).max()))
    for kind, x in (("noisy", noisy), ("clean", clean)):
        path = EXAMPLES / kind / f"{name}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        sf.write(path, gain * x, rate, subtype="PCM_16")


def make_pairs(root: Path, rng: np.random.Generator) -> None:
    """Write the noisy recordings and their clean references."""
    rate, samples = 48000, 7 * 48000
    voice = [read(root / VOICE.format(i), rate) for i in (8, 6, 3, 1)]
    keys = at_level(typing(rng, rate, samples), rate, -20)
    noise = keys + at_level(fan(rng, samples, rate), rate, -28)
    noise += at_level(hum(rng, samples, rate), rate, -40)
    save_pair("office_48k", utterances(voice, rate, 0.3, 7), noise, rate, 8)

    rate, samples = 44100, 5 * 44100
    voice = [read(root / VOICE.format(i), rate) for i in (5, 7, 4)]
    clean = np.repeat(utterances(voice, rate, 0.2, 5)[:, None], 2, axis=1)
    music = read(root / THEME.format("town_theme"), rate, mono=False)[30 * rate :][:samples]
    rain = read(root / RAIN, rate)[:samples, None]
    noise = at_level(music, rate, -26) + at_level(rain, rate, -34)
    save_pair("music_44k", clean, noise, rate, 5)

    rate, samples = 16000, 8 * 16000
    voice = [read(root / LIBRIVOX.format("0870"), rate)]
    prompts = {
        "it_IT_m_Carlo": ("vm-options", "demo-moreinfo", "vm-msginstruct"),
        "es_MX_f_Allison": ("demo-moreinfo", "vm-msginstruct", "dir-intro"),
        "en_US_f_Allison": ("demo-abouttotry", "vm-options"),
    }
    talkers = [
        [read(root / PROMPT.format(f"{who}/{name}", "g722"), rate) for name in names]
        for who, names in prompts.items()
        for _ in range(2)
    ]
    crowd = at_level(babble(rng, talkers, rate, samples), rate, -26)
    noise = crowd + at_level(fan(rng, samples, rate), rate, -38)
    save_pair("cafe_16k", utterances(voice, rate, 0.2, 8), noise, rate, 6)

    rate, samples = 8000, 6 * 8000
    voice = [read(root / PROMPT.format("fr_CA_f_June/vm-review", "wav"), rate)]
    noise = read(root / SAMPLE.format("loop_3d_printer"), rate)[:samples]
    save_pair("phone_8k", utterances(voice, rate, 0.2, 6), noise, rate, 5)


def room(rng: np.random.Generator, rate: int, rt60: float) -> Audio:
    """Make a room's impulse response: the direct path, then noise that falls 60 dB in `rt60` s."""
    t = np.arange(round(rt60 * rate)) / rate
    tail = 0.08 * rng.standard_normal(len(t)) * 10 ** (-3 * t / rt60)
    tail[: rate // 200] *= rng.random(rate // 200) < 0.1  # the first 5 ms: single reflections
    tail[0] = 0.9
    return np.concatenate([np.zeros(rate // 100), tail]).astype(np.float32)


def save_training(kind: str, name: str, x: Audio, rate: int) -> None:
    """Write a training clip with a peak of 0.5 as Ogg Opus."""
    path = EXAMPLES / "train" / kind / f"{name}.opus"
    path.parent.mkdir(parents=True, exist_ok=True)
    with sf.SoundFile(path, "w", rate, 1, format="OGG", subtype="OPUS") as file:
        file.write(x * np.float32(0.5 / np.abs(x).max()))


def make_training(root: Path, rng: np.random.Generator) -> None:
    """Write the clips and rooms of the recipe `tiny`; no voice of the pairs speaks here."""
    prompts = ["vm-record-prepend", "vm-instructions", "vm-opts", "vm-review", "vm-newuser"]
    prompts += ["vm-intro", "vm-rec-unv", "dir-instr", "dir-usingkeypad", "demo-enterkeywords"]
    for who, name in (("en_US_f_Allison", "allison"), ("it_IT_m_Carlo", "carlo")):
        for prompt in prompts:
            x = read(root / PROMPT.format(f"{who}/{prompt}", "g722"), 16000)
            save_training("speech", f"{name}-{prompt.replace('-', '_')}", x, 16000)

    rate, seconds = 48000, 6
    noises = {
        "anvil": AMBIENCE.format("anvil_loop"),
        "birds": AMBIENCE.format("bird_twitter_loop"),
        "fire": AMBIENCE.format("open_fire"),
        "river": AMBIENCE.format("river_loop"),
        "wind": AMBIENCE.format("wind_loop"),
        "droplets": AMBIENCE.format("cave_droplets_loop"),
        "music": THEME.format("title_theme"),
        "sauna": SAMPLE.format("ambi_sauna"),
        "tabla": SAMPLE.format("loop_tabla"),
        "vinyl": SAMPLE.format("vinyl_hiss"),
    }
    for name, path in noises.items():
        start = 10 * rate if name == "music" else 0
        x = read(root / path, rate)[start:][: seconds * rate]
        save_training("noise", name, x, rate)
    save_training("noise", "typing", typing(rng, rate, seconds * rate), rate)
    for name, seconds in (("office", 0.25), ("hall", 0.6)):
        path = EXAMPLES / "train" / "rir" / f"{name}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        sf.write(path, room(rng, 16000, seconds), 16000, subtype="PCM_16")


def main() -> None:
    """Make everything from the folder into which the packages were unpacked."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    root = Path(sys.argv[1])
    make_pairs(root, np.random.default_rng(1))
    make_training(root, np.random.default_rng(2))


if __name__ == "__main__":
    main()
