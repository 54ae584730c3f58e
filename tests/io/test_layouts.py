"""Surround sound: each channel stays with its loudspeaker, in every format that knows them."""

import av
import numpy as np
import pytest
import soundfile

from sordino.errors import SordinoError
from sordino.io.audiofile import open_sink, open_source
from sordino.io.decoder import ContainerSource
from sordino.io.formats import CONTAINERS
from sordino.io.remux import remux
from support.media import Through, write_sound

RATE = 48000
LOUDSPEAKERS = {
    "3.0": "FL FR FC",
    "2.1": "FL FR LFE",
    "quad": "FL FR BL BR",
    "4.0": "FL FR FC BC",
    "5.0": "FL FR FC BL BR",
    "5.1": "FL FR FC LFE BL BR",
    "5.1(side)": "FL FR FC LFE SL SR",
    "6.1": "FL FR FC LFE BC SL SR",
    "7.1": "FL FR FC LFE BL BR SL SR",
}
TONES = {"FL": 300, "FR": 500, "FC": 700, "LFE": 80, "BL": 1100, "BR": 1300}
TONES |= {"SL": 1100, "SR": 1300, "BC": 1900}  # side and back are one where there is one pair
TONES_OF_8 = TONES | {"SL": 1500, "SR": 1700}


def tones(layout):
    heights = TONES_OF_8 if layout == "7.1" else TONES
    return [heights[name] for name in LOUDSPEAKERS[layout].split()]


def sound(layout):
    time = np.arange(RATE) / RATE
    return np.stack([0.3 * np.sin(2 * np.pi * f * time) for f in tones(layout)], 1).astype("f4")


def heard(path):
    """The layout that FFmpeg finds in a file, and the frequency of each channel in Hz."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        resampler = av.AudioResampler("flt", stream.layout, RATE)
        parts = [
            each.to_ndarray().reshape(-1, stream.layout.nb_channels)
            for frame in container.decode(stream)
            for each in resampler.resample(frame)
        ]
        samples = np.concatenate(parts)
        peaks = np.abs(np.fft.rfft(samples, axis=0)).argmax(0) * RATE / len(samples)
        return stream.layout.name, [round(float(peak)) for peak in peaks]


def check(path, layout):
    name, found = heard(path)
    like = {"quad(side)": "quad", "5.0(side)": "5.0"}
    assert found == pytest.approx(tones(like.get(name, name)), abs=5)
    assert sorted(found) == pytest.approx(sorted(tones(layout)), abs=5)


@pytest.mark.slow
@pytest.mark.parametrize("layout", LOUDSPEAKERS)
@pytest.mark.parametrize("extension", ["wav", "flac", "ogg", "w64"])
def test_files_of_libsndfile_keep_channels_in_place(tmp_path, layout, extension):
    if extension == "ogg" and layout in ("2.1", "4.0"):
        pytest.skip("Vorbis has no such layout: see the note below")
    source, target = tmp_path / "in.wav", tmp_path / f"out.{extension}"
    write_sound(source, sound(layout), RATE, "pcm_s16le", "wav", layout)
    with open_source(source) as opened:
        sink = open_sink(target, extension, opened.info)
        for block in opened.blocks():
            sink.write(block)
        sink.close()
    assert sink.notes == []
    check(target, layout)


@pytest.mark.parametrize(
    ("layout", "codec", "container", "extension"),
    [
        ("5.1", "libopus", "opus", "opus"),
        ("7.1", "libopus", "opus", "opus"),
        ("5.1", "flac", "ogg", "opus"),
        ("5.1(side)", "ac3", "ac3", "opus"),
        ("5.1(side)", "ac3", "ac3", "mka"),
        ("3.0", "flac", "flac", "m4a"),
        ("quad", "flac", "flac", "m4a"),
        ("7.1", "flac", "flac", "m4a"),
        ("5.1", "pcm_s16le", "wav", "mka"),
    ],
)
def test_containers_keep_channels_in_place(tmp_path, layout, codec, container, extension):
    source, target = tmp_path / "in", tmp_path / f"out.{extension}"
    write_sound(source, sound(layout), RATE, codec, container, layout, bit_rate=448_000)
    with ContainerSource(source) as opened:
        remux(opened, target, *CONTAINERS[extension], Through)
    check(target, layout)


def test_caf_keeps_the_order_of_its_channels(tmp_path):
    source, first, second = tmp_path / "in.wav", tmp_path / "a.caf", tmp_path / "b.caf"
    write_sound(source, sound("7.1"), RATE, "pcm_s16le", "wav", "7.1")
    for path, target in ((source, first), (first, second)):
        with open_source(path) as opened:
            sink = open_sink(target, "caf", opened.info)
            for block in opened.blocks():
                sink.write(block)
            sink.close()
    x, _ = soundfile.read(source)
    for path in (first, second):
        assert np.array_equal(soundfile.read(path)[0], x)


def test_layouts_that_the_encoder_confuses_are_refused(tmp_path):
    source = tmp_path / "in.wav"
    write_sound(source, sound("5.0"), RATE, "pcm_s16le", "wav", "5.0")
    with ContainerSource(source) as opened, pytest.raises(SordinoError, match="cannot hold 5 ch"):
        remux(opened, tmp_path / "out.opus", *CONTAINERS["opus"], Through)


def test_a_layout_that_vorbis_does_not_know_is_noted(tmp_path):
    source = tmp_path / "in.wav"
    write_sound(source, sound("4.0"), RATE, "pcm_s16le", "wav", "4.0")
    with open_source(source) as opened:
        sink = open_sink(tmp_path / "out.ogg", "ogg", opened.info)
        sink.close()
    assert sink.notes == ["ogg knows no channels 4.0: players take them for quad"]
