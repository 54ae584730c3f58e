"""Miniature corpora: archives of the same names and layouts as the public ones have."""

import io
import json
import subprocess
import tarfile
import zipfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import soundfile as sf
from typer.testing import CliRunner

from sordino import examples
from sordino.corpora.cli import app
from sordino.train.data.decode import decode
from support.signals import noise

RATE = 16000


def wav(x: np.ndarray, rate: int = RATE, kind: str = "WAV") -> bytes:
    """Encode a sound."""
    data = io.BytesIO()
    sf.write(data, x, rate, format=kind)
    return data.getvalue()


def sordino_data(*arguments: object) -> str:
    """Run `sordino data` in this process; returns what it prints, raises what it raises."""
    result = CliRunner().invoke(app, ["data", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


@cache
def speech(number: int, seconds: float = 2.5) -> np.ndarray:
    """Real speech from the package's clips, at 16 kHz, each number another clip."""
    files = sorted((examples.FOLDER / "train" / "speech").iterdir())
    x, rate = decode(files[number % len(files)])
    x = np.asarray(x[: round(seconds * rate)])
    return x if rate == RATE else x[:: rate // RATE]


@cache
def hiss(seed: int, seconds: float = 1.0) -> np.ndarray:
    """White noise."""
    return noise(round(seconds * RATE), seed, 0.05)


def zipped(members: Mapping[str, bytes]) -> bytes:
    """Make a zip archive."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return data.getvalue()


def tarred(members: Mapping[str, bytes], mode: str = "gz") -> bytes:
    """Make a tar archive."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode=f"w:{mode}") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return data.getvalue()


def in_parts(data: bytes, stem: str, count: int) -> dict[str, bytes]:
    """Cut an archive into parts, as `split` does: STEM.partaa, STEM.partab ..."""
    size = -(-len(data) // count)
    return {f"{stem}.parta{chr(97 + i)}": data[i * size : (i + 1) * size] for i in range(count)}


def split_zip(members: Mapping[str, bytes], stem: str, folder: Path) -> None:
    """Make a split zip archive (z01 ... zip) with the program that such ones are made with."""
    source = folder / f".{stem}"
    for name, content in members.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(content)
    command = ["zip", "-q", "-r", "-s", "64k", str(folder / f"{stem}.zip"), "."]
    subprocess.run(command, cwd=source, check=True, timeout=120)


def voicebank_demand(folder: Path) -> None:
    """Pairs of three training speakers and of the test's two, with a duplicate and a dirty one."""
    folder.mkdir(parents=True, exist_ok=True)
    sets = {
        "trainset_28spk": ["p226_001", "p226_002", "p227_001", "p230_001", "p230_002"],
        "testset": ["p232_001", "p257_001"],
    }
    for name, clips in sets.items():
        halves: dict[str, dict[str, bytes]] = {"clean": {}, "noisy": {}}
        for i, clip in enumerate(clips):
            number = {"p230_001": 0}.get(clip, i if name != "testset" else 10 + i)
            x = np.pad(speech(number), RATE // 2)  # silence to be cut
            if clip == "p230_002":
                x = np.tanh(x + hiss(77, len(x) / RATE) * 6)  # "clean" speech that is not
            path = f"{name}_wav/{clip}.wav"
            halves["clean"][f"clean_{path}"] = wav(x)
            halves["noisy"][f"noisy_{path}"] = wav(x + hiss(i, len(x) / RATE))
        for half, members in halves.items():
            (folder / f"{half}_{name}_wav.zip").write_bytes(zipped(members))


def dns5(folder: Path) -> None:
    """Speech in joined parts, noise and rooms."""
    folder.mkdir(parents=True, exist_ok=True)
    read = "Track1_Headset/mnt/dnsv5/clean/read_speech"
    clips = {
        f"{read}/book_0000{i}_chp_0009_reader_0670{i}_0_seg_1.wav": wav(speech(i)) for i in range(4)
    }
    for name, data in in_parts(tarred(clips), "read_speech.tgz", 21).items():
        (folder / name).write_bytes(data)
    vctk = {
        f"vctk_wav48_silence_trimmed/p{n}/p{n}_001_mic{m}.flac": wav(speech(i + 5), kind="FLAC")
        for i, n in enumerate((225, 232))
        for m in (1, 2)
    }
    for name, data in in_parts(tarred(vctk), "vctk_wav48_silence_trimmed.tgz", 3).items():
        (folder / name).write_bytes(data)
    sounds = {f"datasets_fullband/noise_fullband/abc{i}_0.wav": wav(hiss(i, 2.0)) for i in range(3)}
    first = "datasets_fullband.noise_fullband.audioset_000.tar.bz2"
    (folder / first).write_bytes(tarred(sounds, "bz2"))
    decay = np.exp(-np.arange(4000) / 600.0)
    room = {
        "datasets_fullband/impulse_responses/SLR26/smallroom/a.wav": wav(hiss(9)[:4000] * decay)
    }
    name = "datasets_fullband.impulse_responses_000.tar.bz2"
    (folder / name).write_bytes(tarred(room, "bz2"))


def esc50(folder: Path) -> None:
    """Three clips with a licence each."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {"1-100032-A-0": "CC0", "1-110389-A-0": "CC-BY", "2-96460-A-1": "CC-Sampling+"}
    lines = [
        f"- {name}.wav: clip derived from x.wav (http://www.freesound.org/...) by y [{licence}]"
        for name, licence in names.items()
    ]
    table = "filename,fold,target,category,esc10,src_file,take\n" + "".join(
        f"{name}.wav,1,0,dog,True,1,A\n" for name in names
    )
    members = {f"ESC-50-master/audio/{n}.wav": wav(hiss(i)) for i, n in enumerate(names)}
    members["ESC-50-master/LICENSE"] = "\n".join(lines).encode()
    members["ESC-50-master/meta/esc50.csv"] = table.encode()
    (folder / "master.zip").write_bytes(zipped(members))


def fsd50k(folder: Path) -> None:
    """Clips in a split zip file, one of them of a voice, with tables of labels and licences."""
    folder.mkdir(parents=True, exist_ok=True)
    sounds = {f"FSD50K.dev_audio/{i}.wav": wav(hiss(i, 4.0)) for i in (11, 12, 13)}
    split_zip(sounds, "FSD50K.dev_audio", folder)
    truth = (
        "fname,labels,mids,split\n"
        '11,"Bark,Dog,Animal",/m/1,train\n12,"Rain,Water",/m/2,val\n13,"Laughter,Human_voice",/m/3,train\n'
    )
    info = {
        "11": {"license": "http://creativecommons.org/publicdomain/zero/1.0/"},
        "12": {"license": "http://creativecommons.org/licenses/by-nc/3.0/"},
        "13": {"license": "http://creativecommons.org/licenses/by/3.0/"},
    }
    (folder / "FSD50K.ground_truth.zip").write_bytes(
        zipped({"FSD50K.ground_truth/dev.csv": truth.encode()})
    )
    (folder / "FSD50K.metadata.zip").write_bytes(
        zipped({"FSD50K.metadata/dev_clips_info_FSD50K.json": json.dumps(info).encode()})
    )


def common_voice(path: Path) -> None:
    """Write the archive of a language: three speakers, one of them in the test."""
    clips = {name: f"{who:064x}" for who, name in enumerate(("a", "b", "c"))}
    rows = {name: f"{who}\tcommon_{name}.mp3" for name, who in clips.items()}
    head = "client_id\tpath\n"
    folder = "cv-corpus-21.0/cy"
    members = {
        f"{folder}/clips/common_{name}.mp3": wav(speech(i), kind="MP3")
        for i, name in enumerate((*clips, "unheard"))
    }
    members[f"{folder}/validated.tsv"] = (head + "\n".join(rows.values())).encode()
    members[f"{folder}/test.tsv"] = (head + rows["c"]).encode()
    path.write_bytes(tarred(members))


MEMBERS: dict[str, dict[str, list[str]]] = {
    "vctk": {
        "VCTK-Corpus-0.92.zip": [
            "wav48_silence_trimmed/p225/p225_001_mic1.flac",
            "wav48_silence_trimmed/p225/p225_001_mic2.flac",
            "wav48_silence_trimmed/p232/p232_001_mic1.flac",
        ]
    },
    "librispeech": {
        f"{part}.tar.gz": [f"LibriSpeech/{part}/{n}/12{n}/{n}-12{n}-0000.flac"]
        for n, part in enumerate(("train-clean-100", "train-clean-360", "dev-clean"), 84)
    },
    "libritts": {
        f"{part}.tar.gz": [f"LibriTTS/{part}/{n}/12{n}/{n}_12{n}_000001_000000.wav"]
        for n, part in enumerate(("train-clean-100", "train-clean-360", "dev-clean"), 84)
    },
    "ears": {f"p{n:03d}.zip": [f"p{n:03d}/rainbow_01_fast.wav"] for n in (1, 2, 100, 101)},
    "wham": {
        "wham_noise.zip": [f"wham_noise/{part}/011a0101_1.wav" for part in ("tr", "cv", "tt")]
    },
    "demand": {
        f"{place}_48k.zip": [f"{place}/ch01.wav", f"{place}/ch02.wav"]
        for place in ("DKITCHEN", "NPARK", "TMETRO")
    },
    "musan": {
        "musan.tar.gz": [
            "musan/noise/free-sound/noise-free-sound-0000.wav",
            "musan/music/fma/music-fma-0000.wav",
            "musan/speech/librivox/speech-librivox-0000.wav",
        ]
    },
    "slr26": {"sim_rir_16k.zip": ["simulated_rirs_16k/smallroom/Room001/Room001-00001.wav"]},
    "slr28": {
        "rirs_noises.zip": [
            "RIRS_NOISES/simulated_rirs/largeroom/Room007/Room007-00001.wav",
            "RIRS_NOISES/real_rirs_isotropic_noises/RVB2014_type1_rir_largeroom1_far_angla.wav",
            "RIRS_NOISES/real_rirs_isotropic_noises/RVB2014_type1_noise_largeroom1_1.wav",
            "RIRS_NOISES/pointsource_noises/noise-free-sound-0001.wav",
        ]
    },
    "dns4": {
        "datasets_fullband.clean_fullband.german_speech_000_0.00_3.47.tar.bz2": [
            "datasets_fullband/clean_fullband/german_speech/CC_BY_SA_4.0_249hrs_339spk_German_1.wav"
        ],
        "datasets_fullband.noise_fullband.audioset_000.tar.bz2": [
            "datasets_fullband/noise_fullband/---1_cCGK4M_0.wav"
        ],
    },
}
"""Archives of corpora whose layout is all that matters, and what is in them."""


def plain(corpus: str, folder: Path) -> None:
    """Write the archives of `MEMBERS`, with a tenth of a second of noise in every file."""
    folder.mkdir(parents=True, exist_ok=True)
    for archive, names in MEMBERS[corpus].items():
        members = {
            name: wav(hiss(i)[:1600], kind="FLAC" if name.endswith("flac") else "WAV")
            for i, name in enumerate(names)
        }
        kind = "bz2" if archive.endswith("bz2") else "gz"
        data = zipped(members) if archive.endswith("zip") else tarred(members, kind)
        (folder / archive).write_bytes(data)


def only_these(corpus: str, folder: Path, registry: Path) -> None:
    """Write a registry in which a corpus has the files of a folder, and no checksums of others.

    Parts, layout and all else stay those of the package.
    """
    from importlib.resources import files
    from tomllib import loads

    from braceexpand import braceexpand

    tree = loads((files("sordino.corpora") / "corpora.toml").read_text("utf-8"))
    entry = tree[corpus]
    entry.pop("checksums", None)
    have = {path.name for path in folder.iterdir() if path.is_file()}
    for part in entry["parts"]:
        names = [n for pattern in part["files"] for n in braceexpand(pattern)]
        part["files"] = [name for name in names if Path(name).name in have]
    entry["parts"] = [part for part in entry["parts"] if part["files"]]
    if "layout_of" in entry:
        entry["layout"] = tree[entry.pop("layout_of")]["layout"]
    registry.write_text("\n".join(_toml(corpus, entry)), encoding="utf-8")


def _toml(name: str, table: Mapping[str, object]) -> list[str]:
    """Write a table as TOML: text, truth, lists of text, and lists of tables."""
    lines = [f"[{name}]"]
    tables = []
    for key, value in table.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            for each in value:
                tables += [f"[[{name}.{key}]]", *_toml("", each)[1:]]
        else:
            lines.append(f"{key} = {json.dumps(value)}")
    return lines + tables
