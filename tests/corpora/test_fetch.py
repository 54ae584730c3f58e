"""Every corpus of the registry: fetched from a miniature of the same layout, and understood."""

import io
import tarfile
import zipfile

import pytest

from sordino.corpora.fetch import fetch, group_archives, unpack
from sordino.corpora.layout import find_items, licence_name
from sordino.corpora.registry import find_corpus, load_registry
from sordino.errors import SordinoError
from support import corpora
from support.corpora import in_parts, split_zip, tarred, zipped
from support.downloads import DownloadSite

# Corpus -> (kind, speaker or label, split) of what its miniature holds.
EXPECTED = {
    "vctk": {("speech", "vctk-p225", "train"), ("speech", "vctk-p232", "test")},
    "librispeech": {
        ("speech", "librivox-84", "train"),
        ("speech", "librivox-85", "train"),
        ("speech", "librivox-86", "val"),
    },
    "libritts": {
        ("speech", "librivox-84", "train"),
        ("speech", "librivox-85", "train"),
        ("speech", "librivox-86", "val"),
    },
    "wham": {("noise", "", "train"), ("noise", "", "val"), ("noise", "", "test")},
    "musan": {("noise", "noise", "train"), ("noise", "music", "train")},
    "slr26": {("rir", "", "train")},
    "slr28": {("rir", "", "train"), ("noise", "", "train")},
    "dns4": {("speech", "", "train"), ("noise", "", "train")},
    "dns5": {
        *(("speech", f"librivox-670{i}", "train") for i in range(4)),
        ("speech", "vctk-p225", "train"),
        ("speech", "vctk-p232", "test"),
        ("noise", "", "train"),
        ("rir", "", "train"),
    },
    "fsd50k": {
        ("noise", "Bark", "train"),
        ("noise", "Rain", "val"),
        ("noise", "Laughter", "train"),
    },
}
MAKERS = {
    "voicebank-demand": corpora.voicebank_demand,
    "dns5": corpora.dns5,
    "esc50": corpora.esc50,
    "fsd50k": corpora.fsd50k,
}


def make(name, tmp_path):
    """Fetch the miniature of a corpus; returns the corpus and its folder."""
    site = tmp_path / "site"
    if name in MAKERS:
        MAKERS[name](site)
    else:
        corpora.plain(name, site)
    corpora.only_these(name, site, tmp_path / "registry.toml")
    corpus = find_corpus(load_registry(tmp_path / "registry.toml"), name)
    with DownloadSite(site) as server:
        parts = corpus.choose(())
        fetch(corpus, parts, tmp_path / name, mirror=server.url, progress=False)
    return corpus, tmp_path / name


@pytest.mark.parametrize("name", [n for n in load_registry() if n != "common-voice"])
def test_a_corpus_is_fetched_and_understood(name, tmp_path):
    items = find_items(*make(name, tmp_path))
    found = {(item.kind, item.speaker or item.label, item.split) for item in items}
    match name:
        case "voicebank-demand":
            assert {item.kind for item in items} == {"pair"}
            assert {item.speaker for item in items} == {f"vctk-p{n}" for n in (226, 227, 230)}
            assert all("clean_" in item.clean and "noisy_" in item.path for item in items)
        case "ears":
            splits = {item.speaker: item.split for item in items}
            assert splits.keys() == {f"ears-p{n}" for n in ("001", "002", "100", "101")}
            assert splits["ears-p100"] == splits["ears-p101"] == "val"
        case "demand":
            assert len(items) == 3  # one microphone of each place
            assert {item.label for item in items} == {"DKITCHEN", "NPARK", "TMETRO"}
        case "esc50":
            assert [item.licence for item in items] == ["CC0", "CC-BY", "CC-Sampling+"]
            assert {item.label for item in items} == {"dog"}
        case "fsd50k":
            assert found == EXPECTED[name]
            excluded = {item.label: item.excluded for item in items}
            assert "voices" in excluded.pop("Laughter")
            assert set(excluded.values()) == {""}
            assert {item.licence for item in items} == {"CC0", "CC-BY-NC", "CC-BY"}
        case _:
            # What is not split by the corpus itself is drawn: 5 % of it are for validation.
            drawn = {("train" if split == "val" else split) for *_, split in found}
            assert drawn <= {"train", "test"} or name == "wham"
            fixed = {each for each in EXPECTED[name] if each[2] != "train"}
            assert fixed <= found
            assert {each[:2] for each in found} == {each[:2] for each in EXPECTED[name]}


def test_common_voice_is_unpacked_from_the_users_archive(tmp_path):
    corpus = find_corpus(load_registry(), "common-voice")
    with pytest.raises(SordinoError, match="--archive"):
        fetch(corpus, corpus.parts, tmp_path / "cv", progress=False)
    corpora.common_voice(tmp_path / "cy.tar.gz")
    fetch(corpus, corpus.parts, tmp_path / "cv", archives=[tmp_path / "cy.tar.gz"], progress=False)
    items = {item.path.rpartition("_")[2]: item for item in find_items(corpus, tmp_path / "cv")}
    assert items["c.mp3"].split == "test"
    assert items["unheard.mp3"].excluded
    assert not items["a.mp3"].excluded
    assert {item.language for item in items.values()} == {"cy"}


def test_test_halves_are_fetched_only_by_name():
    registry = load_registry()
    for corpus in registry.values():
        assert all(part.split != "test" for part in corpus.choose(()))
    voicebank = registry["voicebank-demand"]
    assert [part.name for part in voicebank.choose(("test",))] == ["test"]
    with pytest.raises(SordinoError, match="no part 'tset'"):
        voicebank.choose(("tset",))


def test_the_registry_is_whole():
    registry = load_registry()
    for corpus in registry.values():
        names = [file.name for part in corpus.parts for file in part.files]
        assert len(names) == len(set(names))
        assert all(f.url.startswith("https://") for part in corpus.parts for f in part.files)
        sums = [f.checksum for part in corpus.parts for f in part.files if f.checksum]
        assert all(len(each) in (4 + 32, 7 + 64) for each in sums)
        assert bool(sums) == bool(corpus.checksum_source)
    assert len(registry["ears"].parts[0].files) == 99
    assert sum(len(part.files) for part in registry["dns5"].parts) == 50


def test_a_misspelt_corpus_or_registry_is_told(tmp_path):
    with pytest.raises(SordinoError, match="did you mean 'librispeech'"):
        find_corpus(load_registry(), "librispech")
    path = tmp_path / "r.toml"
    path.write_text("[mine]\ntitle = 'x'\n")
    with pytest.raises(SordinoError, match="registry: mine"):
        load_registry(path)
    path.write_text("[mine\n")
    with pytest.raises(SordinoError, match="cannot read the registry"):
        load_registry(path)


def test_licences_have_one_name_each():
    assert licence_name("https://creativecommons.org/licenses/by/4.0/") == "CC-BY"
    assert licence_name("http://creativecommons.org/licenses/sampling+/1.0/") == "CC-Sampling+"
    assert licence_name("CC-BY-NC") == "CC-BY-NC"


MEMBERS = {f"a/{i}.bin": bytes([i]) * 50_000 for i in range(5)}


def content(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.bin")}


@pytest.mark.parametrize("mode", ["gz", "bz2"])
def test_parts_of_a_tar_file_are_joined(tmp_path, mode):
    parts = in_parts(tarred(MEMBERS, mode), f"x.tar.{mode}", 7)
    for name, data in parts.items():
        (tmp_path / name).write_bytes(data)
    ((whole, names),) = group_archives(parts).items()
    unpack(whole, [tmp_path / name for name in names], tmp_path / "out")
    assert content(tmp_path / "out") == MEMBERS


def test_a_split_zip_file_is_unpacked_from_its_volumes(tmp_path):
    import numpy as np

    random = {f"a/{i}.bin": np.random.default_rng(i).bytes(90_000) for i in range(3)}
    split_zip(random, "x", tmp_path)
    names = [p.name for p in tmp_path.iterdir() if p.is_file()]
    assert len(names) > 3
    ((whole, ordered),) = group_archives(names).items()
    unpack(whole, [tmp_path / name for name in ordered], tmp_path / "out")
    assert content(tmp_path / "out") == random


def test_a_damaged_archive_is_named(tmp_path):
    for name, data in {"x.zip": zipped(MEMBERS), "y.tgz": tarred(MEMBERS)}.items():
        (tmp_path / name).write_bytes(data[: len(data) // 2])
        with pytest.raises(SordinoError, match=f"{name}: is damaged"):
            unpack(name, [tmp_path / name], tmp_path / "out")


def test_no_member_lands_outside_the_folder(tmp_path):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        info = tarfile.TarInfo("../evil.bin")
        archive.addfile(info)
    (tmp_path / "x.tar").write_bytes(data.getvalue())
    with pytest.raises(SordinoError):
        unpack("x.tar", [tmp_path / "x.tar"], tmp_path / "out")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("../evil.bin", b"")
    unpack("x.zip", [tmp_path / "x.zip"], tmp_path / "out")
    assert not (tmp_path / "evil.bin").exists()
