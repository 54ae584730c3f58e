import numpy as np
import pytest

from sordino.model import load_model
from support import models


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("name", ["recurrent", "default"])
def test_equals_the_run_of_all_frames(name, channels):
    model = load_model() if name == "default" else models.recurrent()
    rng = np.random.default_rng(0)
    spectrum = 0.1 * rng.standard_normal((channels, 12, 257, 2), np.float32)
    voice = np.zeros((channels, model.info.voice_size), np.float32)
    whole = model.run(spectrum, voice, model.initial_state(channels))
    live, state = model.live_step(channels, 257), model.initial_state(channels)
    for t in range(12):
        if t in (5, 6):  # a state from elsewhere, as after a longer block
            state = {key: values.copy() for key, values in state.items()}
        mask, speech, state = model.run(spectrum[:, t : t + 1], voice, live.state(state))
        np.testing.assert_allclose(mask[:, 0], whole.mask[:, t], atol=1e-5)
        np.testing.assert_allclose(speech[:, 0], whole.speech[:, t], atol=1e-5)
    for key, values in whole.state.items():
        np.testing.assert_allclose(state[key], values, atol=1e-4)


def test_two_streams_share_a_model_but_no_memory():
    model = models.recurrent()
    rng = np.random.default_rng(1)
    frames = rng.standard_normal((2, 8, 1, 1, 129, 2), np.float32)
    voice = np.zeros((1, model.info.voice_size), np.float32)

    def masks(frames):
        live, state = model.live_step(1, 129), model.initial_state(1)
        for frame in frames:
            mask, _, state = model.run(frame, voice, live.state(state))
            yield mask.copy()

    alone = [list(masks(each)) for each in frames]
    turns = zip(*(masks(each) for each in frames), strict=True)
    for t, pair in enumerate(turns):
        for stream, mask in enumerate(pair):
            np.testing.assert_array_equal(mask, alone[stream][t])
