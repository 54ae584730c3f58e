import io
import tarfile
import zipfile

import pytest

from sordino.corpora.archives import group_archives, unpack
from sordino.errors import SordinoError
from support.corpora import in_parts, split_zip, tarred, zipped

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
