"""Interfaces of many channels: the voice keeps its level, whichever channel it is on."""

from contextlib import closing

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sordino.errors import SordinoError
from sordino.live.backends import choose_backend
from sordino.live.channels import ChannelPicker
from support.signals import agreement_db, level_db, noise, tone
from support.sound_servers import RATE, Player, wait_for

BLOCK = 240


def picked(picker, sound):
    return np.concatenate([picker(sound[i : i + BLOCK]) for i in range(0, len(sound), BLOCK)])


@given(channels=st.integers(2, 32), data=st.data())
def test_a_voice_on_one_channel_keeps_its_level(channels, data):
    place = data.draw(st.integers(1, channels))
    sound = 1e-4 * noise(RATE * channels).reshape(RATE, channels)
    sound[:, place - 1] = tone(300, RATE, 1, 0.3)
    picker = ChannelPicker(channels, RATE)
    out = picked(picker, sound)
    assert picker.channel == place
    assert agreement_db(sound[BLOCK:, place - 1], out[BLOCK:]) > 100, "from the second block on"


def test_opposite_channels_do_not_cancel():
    voice = tone(300, RATE, 1, 0.3)
    out = picked(ChannelPicker(2, RATE), np.stack([voice, -voice], 1))
    assert level_db(out) == pytest.approx(level_db(voice), abs=0.1)


def test_it_follows_a_voice_that_moves_and_does_not_click():
    voice, quiet = tone(300, RATE, 2, 0.3), np.zeros(2 * RATE, np.float32)
    sound = np.concatenate([np.stack([voice, quiet], 1), np.stack([quiet, voice], 1)])
    picker = ChannelPicker(2, RATE)
    out = picked(picker, sound)
    assert picker.channel == 2
    assert level_db(out[-RATE:]) == pytest.approx(level_db(voice), abs=0.1)
    switch = out[2 * RATE + BLOCK :]
    assert np.abs(np.diff(switch)).max() < 0.3 * 2 * np.pi * 300 / RATE + 1.1 * 0.3 / BLOCK


def test_equal_channels_and_constant_offsets_cause_no_switch():
    sound = np.stack([tone(300, RATE, 1, 0.3), 1.2 * tone(300, RATE, 1, 0.3)], 1)
    picker = ChannelPicker(2, RATE)
    picked(picker, sound)
    assert picker.channel == 1
    offset = np.zeros((RATE, 2), np.float32)
    offset[:, 1] = 0.5
    picker = ChannelPicker(2, RATE)
    picked(picker, offset)
    assert picker.channel == 1


def test_the_user_s_choice_stays():
    picker = ChannelPicker(4, RATE, 3)
    sound = np.zeros((RATE, 4), np.float32)
    sound[:, 0] = tone(300, RATE, 1, 0.3)
    assert not picked(picker, sound).any()
    assert picker.channel == 3


MAPS = {
    2: "front-left,front-right",
    8: ",".join(f"aux{number}" for number in range(8)),
    18: ",".join(f"aux{number}" for number in range(18)),
}


@pytest.mark.audio
@pytest.mark.parametrize("channels", MAPS)
def test_real_interfaces(server, channels):
    arguments = f"sink_name=interface rate={RATE} channels={channels} channel_map={MAPS[channels]}"
    server.load("module-null-sink", arguments, "interface")
    sound = np.zeros((60 * RATE, channels), np.float32)
    sound[:, -1] = tone(440, RATE, 60, 0.5)
    with (
        closing(choose_backend()) as backend,
        Player("interface", sound, MAPS[channels]),
        closing(backend.open_input("interface.monitor", RATE)) as source,
    ):
        assert backend.find_input("interface.monitor").channels == channels

        def is_loud():
            block = np.empty(RATE // 10, np.float32)
            wait_for(lambda: source.buffer.readable >= len(block), "sound")
            source.buffer.read(block)
            turn = np.exp(-2j * np.pi * 440 * np.arange(len(block)) / RATE)
            return abs(2 * abs(np.mean(block * turn)) - 0.5) < 0.005

        wait_for(is_loud, "the voice at its own level")
        assert (source.picker.channel, source.picker.channels) == (channels, channels)
        with pytest.raises(SordinoError, match=f"has {channels} channels"):
            backend.open_input("interface.monitor", RATE, channels + 1)
