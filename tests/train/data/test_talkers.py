"""Mixtures for an enrolled voice: kinds, levels, and who is enrolled from what."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from sordino.errors import SordinoError
from sordino.train.data.corpus import Corpus
from sordino.train.data.enrolment import Cuts, EncoderMixer, EnrolmentConfig, distort
from sordino.train.data.signal import active_level
from sordino.train.data.talkers import KINDS, Speakers, TalkerMixer, TalkersConfig
from support.mixtures import PLAIN
from support.signals import noise

RATE = 16000


@pytest.fixture(scope="module")
def table(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Every bundled clip in cuts of 2 s; a speaker's embeddings lie close together."""
    rng = np.random.default_rng(0)
    centres = {label: rng.normal(size=192) for label in {c.label for c in corpus.speech.clips}}
    rows = [
        (clip.path, clip.label, start, min(2.0, clip.seconds - start))
        for clip in corpus.speech.clips
        for start in np.arange(0, max(clip.seconds - 1, 0.1), 2.0)
    ]
    clips, labels, starts, seconds = zip(*rows, strict=True)
    embedding = [centres[label] + 0.3 * rng.normal(size=192) for label in labels]
    path = tmp_path_factory.mktemp("table") / "voices.npz"
    np.savez(
        path,
        clip=np.array(clips),
        label=np.array(labels),
        start=np.array(starts, np.float32),
        seconds=np.array(seconds, np.float32),
        embedding=np.array(embedding, np.float16),
    )
    return str(path)


@pytest.fixture(scope="module")
def mixer(corpus: Corpus, table: str) -> TalkerMixer:
    return TalkerMixer(PLAIN, TalkersConfig(partial=0), EnrolmentConfig(table=table), corpus)


def talks(mixer: TalkerMixer, kind: str, count: int = 12):
    return [mixer.talk(np.random.default_rng(i), kind, RATE, 8000.0) for i in range(count)]


def speaker_of(mixer: TalkerMixer, embedding: np.ndarray) -> str:
    return mixer.speakers.labels[int(np.argmax(mixer.speakers.means @ embedding))]


def test_one_example_in_four_has_no_voice(mixer: TalkerMixer) -> None:
    batch = mixer.batch(0, 0, 8)
    assert [bool(voice.any()) for voice in batch.voice] == 2 * [False, True, True, True]
    np.testing.assert_allclose(np.linalg.norm(batch.voice[1:4], axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(batch.target[0], batch.speech[0])
    assert (batch.target <= batch.speech).all()


def test_batch_is_a_pure_function_of_seed_index_and_first(mixer: TalkerMixer) -> None:
    whole = mixer.batch(3, 5, 6)
    for x, y in zip(whole, mixer.batch(3, 5, 6), strict=True):
        np.testing.assert_array_equal(x, y)
    part = mixer.batch(3, 5, 2, first=4)
    np.testing.assert_array_equal(part.noisy, whole.noisy[4:])
    np.testing.assert_array_equal(part.voice, whole.voice[4:])


def test_a_swapped_example_is_the_same_sound_for_the_other_voice(mixer: TalkerMixer) -> None:
    mixer = _with(mixer, replace(mixer.talkers, swapped=True))
    for index in range(4):
        batch = mixer.batch(3, index, 8)
        for first, second in ((1, 2), (5, 6)):
            np.testing.assert_array_equal(batch.noisy[first], batch.noisy[second])
            assert batch.mixture[first] == batch.mixture[second]
            np.testing.assert_array_equal(batch.speech[first], batch.speech[second])
            one, other = (speaker_of(mixer, batch.voice[i]) for i in (first, second))
            assert one != other
            # What is kept for one is what is taken for the other (PLAIN has no rooms).
            assert active_level(batch.clean[second], RATE) > -60
            speaking = np.repeat(batch.target[second], RATE // 100) > 0
            left = (batch.noisy[first] - batch.clean[first])[: len(speaking)][speaking]
            assert np.corrcoef(left, batch.clean[second][: len(speaking)][speaking])[0, 1] > 0.3
        assert len(set(batch.mixture)) == len(batch.mixture) - 2
        # The second half of a pair alone is the same as in a whole batch.
        alone = mixer.batch(3, index, 1, first=2)
        np.testing.assert_array_equal(alone.clean[0], batch.clean[2])
        np.testing.assert_array_equal(alone.voice[0], batch.voice[2])


def test_kinds_come_in_the_shares_of_the_recipe(mixer: TalkerMixer) -> None:
    rng = np.random.default_rng(0)
    drawn = Counter(str(rng.choice(KINDS, p=mixer.weights)) for _ in range(4000))
    config = mixer.talkers
    for kind in KINDS:
        assert drawn[kind] / 4000 == pytest.approx(getattr(config, kind), abs=0.03)
    assert sum(mixer.weights) == pytest.approx(1)


@pytest.mark.parametrize("sir_db", [-5.0, 10.0])
def test_the_other_talker_is_at_the_ratio_asked_for(mixer: TalkerMixer, sir_db: float) -> None:
    config = replace(mixer.talkers, two=0, sir_db=(sir_db, sir_db))
    mixer = _with(mixer, config)
    for talk in talks(mixer, "talkers"):
        levels = [active_level(x, RATE) for x in (talk.clean, talk.others)]
        assert levels[0] - levels[1] == pytest.approx(sir_db, abs=0.1)
        # Nothing but the two (PLAIN has neither rooms nor equalisers), each less its pauses.
        rest = talk.noisy - talk.clean - talk.others
        assert np.mean(rest**2) < 1e-2 * np.mean(talk.noisy**2)


def _with(mixer: TalkerMixer, config: TalkersConfig) -> TalkerMixer:
    changed = object.__new__(TalkerMixer)
    changed.__dict__ |= mixer.__dict__ | {"talkers": config}
    return changed


def test_nothing_is_to_be_kept_where_the_target_is_absent(mixer: TalkerMixer) -> None:
    for talk in talks(mixer, "absent"):
        assert not talk.clean.any()
        assert active_level(talk.others, RATE) > -60
        assert np.linalg.norm(talk.voice) == pytest.approx(1, abs=1e-5)


def test_alone_is_the_target_as_it_is(mixer: TalkerMixer) -> None:
    for talk in talks(mixer, "alone"):
        assert not talk.others.any()
        assert active_level(talk.clean, RATE) > -60
        assert np.mean((talk.noisy - talk.clean) ** 2) < 1e-2 * np.mean(talk.noisy**2)


def test_an_enrolment_is_the_speakers_but_of_other_utterances(mixer: TalkerMixer) -> None:
    speakers = mixer.speakers
    for i in range(200):
        rng = np.random.default_rng(i)
        speaker = speakers.draw(rng)
        row = speakers.pick(rng, speaker)
        rows = [r for r in speakers.rows[speakers.labels[speaker]] if speakers.apart(r, row)]
        embedding = speakers.enrolment(rng, speaker, [row], (1, 4))
        if not rows:
            assert embedding is None
            continue
        assert speaker_of(mixer, embedding) == speakers.labels[speaker]
        # The embedding lies in the span of other utterances' embeddings alone.
        allowed = speakers.cuts.embedding[rows]
        weights, *_ = np.linalg.lstsq(allowed.T, embedding, rcond=None)
        np.testing.assert_allclose(weights @ allowed, embedding, atol=1e-4)


def test_cuts_of_one_recording_are_apart_by_three_seconds(mixer: TalkerMixer) -> None:
    speakers, cuts = mixer.speakers, mixer.speakers.cuts
    pairs = [(a, b) for a in range(40) for b in range(40) if cuts.number[a] == cuts.number[b]]
    for a, b in pairs:
        gap = max(cuts.start[a], cuts.start[b]) - min(
            cuts.start[r] + cuts.seconds[r] for r in (a, b)
        )
        assert speakers.apart(a, b) == (gap >= 3.0 - 1e-3)


def test_another_talker_is_never_the_target(mixer: TalkerMixer) -> None:
    speakers = mixer.speakers
    for i in range(300):
        rng = np.random.default_rng(i)
        speaker = speakers.draw(rng)
        row = speakers.other(rng, speaker, mixer.talkers)
        assert speakers.cuts.label[row] != speakers.labels[speaker]


def test_gender_is_told_by_labels_and_by_the_nearer_mean() -> None:
    rng = np.random.default_rng(0)
    centres = {"F": rng.normal(size=192), "M": rng.normal(size=192)}
    people = ["a-F", "b-Fc", "c-M", "d-M30", "likely-female", "likely-male"]
    kinds = ["F", "F", "M", "M", "F", "M"]
    rows = [(name, k) for name, k in zip(people, kinds, strict=True) for _ in range(3)]
    embedding = np.array([centres[k] + 0.2 * rng.normal(size=192) for _, k in rows], np.float32)
    count = len(rows)
    cuts = Cuts(
        number=np.arange(count),
        label=[name for name, _ in rows],
        start=np.zeros(count, np.float32),
        seconds=np.ones(count, np.float32),
        embedding=embedding / np.linalg.norm(embedding, axis=1, keepdims=True),
    )
    speakers = Speakers(cuts, 3)
    told = dict(zip(speakers.labels, speakers.female, strict=True))
    assert told == dict(zip(people, [k == "F" for k in kinds], strict=True))


def test_a_table_of_other_speech_is_refused(corpus: Corpus, tmp_path, table: str) -> None:
    with pytest.raises(SordinoError, match=r"embed_voices\.py"):
        Cuts.load(tmp_path / "none.npz", corpus.speech)
    with np.load(table) as file:
        other = dict(file)
    other["clip"] = np.array([f"elsewhere/{clip}" for clip in other["clip"]])
    np.savez(tmp_path / "other.npz", **other)
    with pytest.raises(SordinoError, match="no embedding"):
        Cuts.load(tmp_path / "other.npz", corpus.speech)
    with pytest.raises(SordinoError, match="too few speakers"):
        Speakers(Cuts.load(table, corpus.speech), 1000)


def test_enrolments_are_in_noise_at_the_ratio_asked_for(corpus: Corpus) -> None:
    quiet = EnrolmentConfig(noise=0, room=0, eq=0, narrow=0, codec=0, clipping=0)
    x = noise(2 * RATE, 1, 0.1)
    np.testing.assert_allclose(distort(np.random.default_rng(0), x, corpus, quiet), x, atol=1e-6)
    noisy = replace(quiet, noise=1, talker=0, snr_db=(10.0, 10.0))
    y = distort(np.random.default_rng(0), x, corpus, noisy)
    assert active_level(x, RATE) - active_level(y - x, RATE) == pytest.approx(10, abs=0.1)


def test_the_encoder_hears_distorted_cuts_and_learns_from_the_teacher(
    corpus: Corpus, table: str
) -> None:
    mixer = EncoderMixer(EnrolmentConfig(table=table), corpus)
    batch = mixer.batch(0, 1, 5)
    assert batch.features.shape[0] == 5
    assert batch.features.shape[2] == 80
    np.testing.assert_allclose(batch.features.mean(1), 0, atol=1e-4)
    known = mixer.cuts.embedding
    for row in batch.teacher:
        assert (known @ row).max() == pytest.approx(1, abs=1e-5)
    np.testing.assert_array_equal(mixer.batch(0, 1, 2, first=3).teacher, batch.teacher[3:])
