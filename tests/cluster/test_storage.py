"""Files by their address: whole or not at all, and one clear line when something is wrong."""

import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import fsspec
import pytest

from sordino import examples
from sordino.batch.process import denoise_file
from sordino.batch.track import DenoiseSettings
from sordino.cluster import storage
from sordino.cluster.plan import Work, find_work
from sordino.cluster.worker import MakeWorker, Task
from sordino.errors import SordinoError


@pytest.fixture(scope="module")
def web():
    """A web server with the bundled recordings."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(examples.FOLDER)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture
def memory():
    """An object store inside this process."""
    store = fsspec.filesystem("memory")
    yield store
    store.store.clear()


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    return MakeWorker(DenoiseSettings().loaded(), False, None, str(tmp_path_factory.mktemp("s")))(
        "cpu"
    )


def test_from_the_web_to_a_store_as_on_one_machine(web, memory, worker, tmp_path):
    phone = examples.path("phone_8k")
    (work,) = find_work([f"{web}/noisy/phone_8k.flac"], "memory://clean")
    (result,) = worker(Task(work))
    assert (result.status, result.seconds) == ("done", 6)
    denoise_file(phone, tmp_path / phone.name)
    assert memory.cat_file("/clean/phone_8k.flac") == (tmp_path / phone.name).read_bytes()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("{web}/noisy/nothing.wav", "{web}/noisy/nothing.wav: there is no such file"),
        ("{web}/README.md", "{web}/README.md: this is not audio or video, or it is damaged"),
        ("http://127.0.0.1:9/a.wav", "http://127.0.0.1:9/a.wav: "),
        ("memory://no/a.wav", "memory://no/a.wav: there is no such file"),
    ],
)
def test_what_cannot_be_read_is_named_by_its_address(web, worker, tmp_path, address, message):
    source = address.format(web=web)
    work = Work(source, str(tmp_path / "out.wav"), extension="wav")
    with pytest.raises(SordinoError) as caught:
        worker(Task(work))
    assert str(caught.value).startswith(message.format(web=web))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_nothing(memory, tmp_path):
    for address in ("memory://out/a.txt", str(tmp_path / "sub" / "a.txt")):
        with pytest.raises(RuntimeError), storage.stored(address) as path:  # noqa: PT012
            path.write_text("half")
            raise RuntimeError
        with storage.stored(address) as path:
            path.write_text("whole")
        assert storage.read_bytes(address) == b"whole"
        folder = address.rpartition("/")[0]
        assert storage.list_files(folder) == {address}
        storage.remove(folder)
        assert storage.list_files(folder) == set()
        assert storage.read_bytes(address) is None
        storage.remove(folder)


@pytest.mark.parametrize(("scheme", "package"), [("gs", "gcsfs"), ("az", "adlfs"), ("s3", "s3fs")])
def test_a_missing_storage_is_told_with_its_extra(monkeypatch, scheme, package):
    extra = "cluster" if scheme == "s3" else scheme
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SordinoError, match=rf"{scheme}:// needs a package .*\.\[{extra}\]"):
        storage.filesystem(f"{scheme}://calls/a.wav")
