"""Downloads from a real server: resumed, checked, refused, and on a disk that is full."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sordino.corpora.download import RETRIES, download
from sordino.corpora.fetch import Record, fetch
from sordino.corpora.registry import CorpusEntry, CorpusPart, RemoteFile
from sordino.errors import SordinoError
from support.corpora import zipped
from support.downloads import DownloadSite

DATA = np.random.default_rng(5).bytes(300_000)
SHA = f"sha256:{hashlib.sha256(DATA).hexdigest()}"


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch):
    monkeypatch.setattr("sordino.corpora.download.PAUSE", 0.001)


@pytest.fixture
def site(tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "a.bin").write_bytes(DATA)
    with DownloadSite(tmp_path / "site") as site:
        yield site


@pytest.fixture
def to(tmp_path):
    (tmp_path / "to").mkdir()
    return tmp_path / "to"


def get(site, to, checksum=SHA):
    counts = []
    file = RemoteFile("a.bin", f"{site.url}/a.bin", checksum)
    return download(file, to, checksum, counts.append), sum(counts)


def test_a_dropped_connection_goes_on_where_it_broke(site, to):
    site.drop_after += [100_000, 50_000]
    fetched, counted = get(site, to)
    assert fetched.path.read_bytes() == DATA
    assert counted == len(DATA)
    starts = [int(asked.removeprefix("bytes=").rstrip("-") or 0) for _, asked in site.requests]
    assert starts[0] == 0
    assert starts[1:] == [100_000, 150_000]
    assert [path.name for path in to.iterdir()] == ["a.bin"]


def test_an_interrupted_run_goes_on_in_the_next(site, to):
    site.drop_after += [90_000] + [0] * (RETRIES - 1)
    with pytest.raises(SordinoError, match="goes on from here"):
        get(site, to)
    assert (to / "a.bin.part").stat().st_size == 90_000
    asked = len(site.requests)
    get(site, to)
    assert site.requests[asked:] == [("/a.bin", "bytes=90000-")]
    assert (to / "a.bin").read_bytes() == DATA


def test_a_file_that_changed_in_between_is_fetched_from_its_beginning(site, to):
    site.drop_after += [90_000] + [0] * (RETRIES - 1)
    with pytest.raises(SordinoError):
        get(site, to)
    changed = DATA[::-1]
    (site.folder / "a.bin").write_bytes(changed)
    fetched, _ = get(site, to, f"sha256:{hashlib.sha256(changed).hexdigest()}")
    assert fetched.path.read_bytes() == changed


def test_a_wrong_checksum_keeps_nothing(site, to):
    with pytest.raises(SordinoError, match="does not have the checksum"):
        get(site, to, f"sha256:{'0' * 64}")
    assert list(to.iterdir()) == []


def test_without_a_known_checksum_its_own_is_returned(site, to):
    assert get(site, to, "")[0].checksum == SHA


def test_a_busy_server_is_asked_again_and_a_missing_file_is_not(site, to):
    site.statuses += [503, 429]
    assert get(site, to)[0].path.read_bytes() == DATA
    assert len(site.requests) == 3
    (site.folder / "a.bin").unlink()
    (to / "a.bin").unlink()
    with pytest.raises(SordinoError, match="404"):
        get(site, to)
    assert len(site.requests) == 4


def corpus(site, *, checksum="", size=300_000):
    sound = np.random.default_rng(1).bytes(size)
    (site.folder / "c.zip").write_bytes(zipped({"c/a.wav": sound}))
    part = CorpusPart("all", (RemoteFile("c.zip", f"{site.url}/c.zip", checksum),))
    return CorpusEntry("c", "C", "home", "CC0", (part,), ())


def test_a_checksum_is_recorded_at_the_first_fetch_and_holds_later(site, to):
    c = corpus(site)
    record = fetch(c, c.parts, to / "c", progress=False)
    entry = record.files["c.zip"]
    content = (site.folder / "c.zip").read_bytes()
    assert entry["checksum"] == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert entry["source"] == "recorded at the first fetch"
    asked = len(site.requests)
    fetch(c, c.parts, to / "c", progress=False)
    assert len(site.requests) == asked  # all is there
    record.unpacked.clear()
    record.write(to / "c")
    (site.folder / "c.zip").write_bytes(zipped({"c/a.wav": b"another"}))
    with pytest.raises(SordinoError, match="changed at its source"):
        fetch(c, c.parts, to / "c", progress=False)


def test_more_than_the_disk_has_is_refused_before_it_is_fetched(site, to):
    c = corpus(site)
    site.claimed["/c.zip"] = 10**18
    with pytest.raises(SordinoError, match=r"1000000000\.0 GB are needed"):
        fetch(c, c.parts, to / "c", progress=False)
    assert site.requests == []


FULL_DISK = """
import resource, sys
from pathlib import Path
from sordino.corpora.fetch import fetch
from sordino.corpora.registry import CorpusEntry, CorpusPart, RemoteFile
from sordino.errors import SordinoError
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
part = CorpusPart("all", (RemoteFile("c.zip", sys.argv[1] + "/c.zip", ""),))
c = CorpusEntry("c", "C", "home", "CC0", (part,), ())
try:
    fetch(c, c.parts, Path(sys.argv[2]), progress=False)
except SordinoError as error:
    sys.exit(str(error))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of file sizes are POSIX")
@pytest.mark.parametrize("limit", [100_000, 301_000])  # in the download; while unpacking
def test_a_full_disk_is_told_and_the_next_run_goes_on(site, to, limit):
    c = corpus(site, size=400_000 if limit > 300_000 else 300_000)
    if limit > 300_000:  # packs well, so that only its content is too large
        (site.folder / "c.zip").write_bytes(zipped({"c/a.wav": bytes(400_000)}))
    command = [sys.executable, "-c", FULL_DISK, site.url, str(to / "c"), str(limit)]
    full = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert full.returncode == 1
    assert "the disk is full" in full.stderr
    assert "Traceback" not in full.stderr
    assert Record.read(to / "c").unpacked == []
    asked = len(site.requests)
    fetch(c, c.parts, to / "c", progress=False)
    assert Record.read(to / "c").unpacked == ["c.zip"]
    if limit < 300_000:
        ((_, ranged),) = site.requests[asked:]
        assert ranged == f"bytes={limit}-"


def test_archives_leave_only_the_record_and_the_audio(site, to):
    c = corpus(site)
    fetch(c, c.parts, to / "c", progress=False)
    assert sorted(path.name for path in Path(to / "c").iterdir()) == ["audio", "fetched.json"]
    assert (to / "c" / "audio" / "c" / "a.wav").stat().st_size == 300_000
