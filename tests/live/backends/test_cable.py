"""Devices and cables in PortAudio's device lists of macOS and Windows."""

import pytest

from sordino.errors import SordinoError
from sordino.live.backends.base import DeviceLost, choose_device
from sordino.live.backends.portaudio import (
    BLACKHOLE,
    VB_CABLE,
    cable_end,
    device_number,
    list_devices,
)


def listing(apis, entries, defaults):
    """Return a fake of sounddevice with devices (name, host API, inputs, outputs, rate)."""
    listed = [
        {
            "name": name,
            "index": number,
            "hostapi": apis.index(api),
            "max_input_channels": inputs,
            "max_output_channels": outputs,
            "default_samplerate": rate,
        }
        for number, (name, api, inputs, outputs, rate) in enumerate(entries)
    ]
    return listed, [
        {
            "name": api,
            "devices": [each["index"] for each in listed if each["hostapi"] == number],
            "default_input_device": defaults[api][0],
            "default_output_device": defaults[api][1],
        }
        for number, api in enumerate(apis)
    ]


MAC = listing(
    ["Core Audio"],
    [
        ("BlackHole 2ch", "Core Audio", 2, 2, 48000.0),
        ("MacBook Pro Microphone", "Core Audio", 1, 0, 48000.0),
        ("MacBook Pro Speakers", "Core Audio", 0, 2, 44100.0),
        ("ZoomAudioDevice", "Core Audio", 2, 2, 48000.0),
    ],
    {"Core Audio": (1, 2)},
)
MME, SOUND, WASAPI = "MME", "Windows DirectSound", "Windows WASAPI"
WINDOWS = listing(
    [MME, SOUND, WASAPI],
    [
        ("Microsoft Sound Mapper - Input", MME, 2, 0, 44100.0),
        ("CABLE Output (VB-Audio Virtual ", MME, 16, 0, 44100.0),
        ("Microphone (Realtek(R) Audio)", MME, 2, 0, 44100.0),
        ("CABLE Input (VB-Audio Virtual C", MME, 0, 16, 44100.0),
        ("CABLE Input (VB-Audio Virtual Cable)", SOUND, 0, 16, 44100.0),
        ("CABLE Output (VB-Audio Virtual Cable)", SOUND, 16, 0, 44100.0),
        ("CABLE In 16ch (VB-Audio Virtual Cable)", WASAPI, 0, 16, 48000.0),
        ("CABLE Input (VB-Audio Virtual Cable)", WASAPI, 0, 2, 48000.0),
        ("Speakers (Realtek(R) Audio)", WASAPI, 0, 2, 48000.0),
        ("CABLE Output (VB-Audio Virtual Cable)", WASAPI, 2, 0, 48000.0),
        ("Microphone (Realtek(R) Audio)", WASAPI, 2, 0, 48000.0),
    ],
    {MME: (0, 3), SOUND: (5, 4), WASAPI: (9, 7)},
)


def test_blackhole_is_found_at_both_ends():
    found = list_devices(MAC, BLACKHOLE)
    assert [each.name for each in found if each.virtual] == ["BlackHole 2ch"] * 2
    assert [each.kind for each in found if each.virtual] == ["input", "output"]
    assert choose_device(found, "input", None).name == "MacBook Pro Microphone"
    assert choose_device(found, "output", None).name == "MacBook Pro Speakers"
    assert choose_device(found, "output", None).rate == 44100
    assert device_number(MAC, BLACKHOLE, cable_end(found, "output", BLACKHOLE)) == 0


def test_vb_cable_is_found_through_wasapi():
    found = list_devices(WINDOWS, VB_CABLE)
    assert len(found) == 5
    feed, heard = (cable_end(found, kind, VB_CABLE) for kind in ("output", "input"))
    assert (feed.name, heard.name) == (
        "CABLE Input (VB-Audio Virtual Cable)",
        "CABLE Output (VB-Audio Virtual Cable)",
    )
    assert device_number(WINDOWS, VB_CABLE, feed) == 7
    assert device_number(WINDOWS, VB_CABLE, heard) == 9


def test_the_cable_is_no_microphone_even_if_it_is_the_default():
    found = list_devices(WINDOWS, VB_CABLE)
    assert next(each for each in found if each.default and each.kind == "input").virtual
    assert choose_device(found, "input", None).name == "Microphone (Realtek(R) Audio)"
    assert choose_device(found, "output", None).name == "Speakers (Realtek(R) Audio)"


@pytest.mark.parametrize(
    ("recorded", "cable", "advice"),
    [
        (MAC, BLACKHOLE, "brew install blackhole-2ch"),
        (WINDOWS, VB_CABLE, "https://vb-audio.com/Cable"),
    ],
)
def test_a_missing_cable_is_said_with_what_to_install(recorded, cable, advice):
    listed, apis = recorded
    without = [
        {**each, "name": each["name"].replace("BlackHole", "Loopback").replace("CABLE", "LINE")}
        for each in listed
    ]
    for kind in ("input", "output"):
        with pytest.raises(SordinoError, match=advice):
            cable_end(list_devices((without, apis), cable), kind, cable)


def test_a_system_without_devices():
    assert list_devices(([], []), BLACKHOLE) == []
    with pytest.raises(DeviceLost, match="no microphone"):
        choose_device([], "input", None)
