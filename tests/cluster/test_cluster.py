"""Real clusters: workers, nodes and drivers are killed in the middle of many files."""

import os
import signal
import time

import pyarrow.parquet
import pytest
import soundfile

from sordino import examples
from sordino.io.atomic import TEMPORARY
from support.models import constant_mask_bytes
from support.signals import noise

clusters = pytest.importorskip("support.clusters")
pytestmark = pytest.mark.cluster

COUNT = int(os.environ.get("SORDINO_CLUSTER_FILES", "60"))  # 2,000 take ten minutes on two cores
RATE = 48000
SAMPLES = min(3 * RATE, 1000 * RATE // COUNT)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Files of three seconds or less, each other than the others."""
    sound, rate = soundfile.read(examples.path("office_48k"), dtype="float32")
    assert rate == RATE
    folder = tmp_path_factory.mktemp("calls")
    for number in range(COUNT):
        subfolder = folder / f"day {number % 3}"
        subfolder.mkdir(exist_ok=True)
        begin = number * (len(sound) - SAMPLES) // COUNT
        soundfile.write(subfolder / f"{number:04}.wav", sound[begin : begin + SAMPLES], RATE)
    return folder


@pytest.fixture(scope="module")
def expected(recordings, tmp_path_factory):
    """What one machine makes of them."""
    folder = tmp_path_factory.mktemp("expected")
    code, said = clusters.run("denoise", recordings, "-o", folder, "-q")
    assert code == 0, said
    return contents(folder)


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".sordino" not in path.parts
    }


def wait_for(count, folder, process):
    """Wait for so many outputs of a command that is still running."""
    while len(list(folder.rglob("*.wav"))) < count:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def ledger_of(folder):
    parts = list((folder / ".sordino" / "results").glob("*.parquet"))
    return [row for part in parts for row in pyarrow.parquet.read_table(part).to_pylist()]


def test_a_run_survives_its_workers_nodes_and_driver(cluster, recordings, expected, tmp_path):
    out = tmp_path / "clean"
    command = ("denoise", "--cluster", cluster.address, recordings, "-o", out, "--workers", 3)
    doomed = sorted(cluster.worker_nodes, key=lambda node: node.unique_id)[0]

    # A worker, then a node with its worker; the run goes on without them.
    process = clusters.start(*command)
    wait_for(COUNT // 15, out, process)
    (worker,) = clusters.workers_of(cluster.head_node)
    os.kill(worker, signal.SIGKILL)
    wait_for(COUNT // 6, out, process)
    cluster.remove_node(doomed, allow_graceful=False)
    code, said = clusters.finish(process)
    assert code == 0, said
    assert contents(out) == expected
    rows = ledger_of(out)
    assert len(rows) == len({row["id"] for row in rows}) == COUNT
    assert all(row["status"] in ("done", "skipped") for row in rows)

    # The driver, in a run that does everything anew; the same command goes on.
    process = clusters.start(*command, "--overwrite")
    stamp = time.time()
    while sum(path.stat().st_mtime > stamp for path in out.rglob("*.wav")) < COUNT // 3:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.kill()
    clusters.finish(process)
    assert process.returncode == -signal.SIGKILL
    code, said = clusters.run(*command, "--overwrite")
    assert code == 0, said
    assert contents(out) == expected
    assert all(path.stat().st_mtime > stamp for path in out.rglob("*.wav"))
    assert not list(out.rglob(f"*{TEMPORARY}"))
    assert len(ledger_of(out)) == COUNT

    code, said = clusters.run(*command)
    assert (code, f"{COUNT} done before" in said) == (0, True), said


def test_a_long_recording_is_cut_and_joined_on_the_cluster(cluster, tmp_path):
    model = tmp_path / "half.onnx"  # remembers nothing, so that no sample may differ
    model.write_bytes(constant_mask_bytes(0.5))
    soundfile.write(tmp_path / "long.wav", noise(8000 * 550), 8000)
    options = ("--model", model, "-o")
    there = ("--cluster", cluster.address, "--section", 3)
    code, said = clusters.run("denoise", tmp_path / "long.wav", *options, tmp_path / "out", *there)
    assert code == 0, said
    assert "cut into 3 sections, which do not differ where they meet" in said
    code, said = clusters.run("denoise", tmp_path / "long.wav", *options, tmp_path / "one.wav")
    assert (tmp_path / "out" / "long.wav").read_bytes() == (tmp_path / "one.wav").read_bytes()
    assert not list((tmp_path / "out" / ".sordino" / "sections").rglob("*.w64"))


def test_bad_tasks_are_given_back_and_hold_up_no_others(cluster, tmp_path):
    from sordino.cluster.pool import Pool, connected
    from support.cluster_tasks import make_obedient

    orders = ["work", "die", "fail", "die once", "hang", *["work"] * 20]
    with connected(cluster.address):
        pool = Pool(make_obedient, 2, attempts=2, batch=2, timeout=4)
        tasks = [(order, str(tmp_path / "once")) for order in orders]
        ended = [each for each in pool.results(tasks) if each is not None]
        replaced = pool.replaced
        pool.close()
    found = sorted(each.result for each in ended if each.result)
    assert found == ["die once on cpu", *["work on cpu"] * 21]
    errors = {each.task[0]: each.error for each in ended if each.error}
    assert errors.keys() == {"die", "fail", "hang"}
    assert errors["fail"] == "ValueError: a reason in two lines"
    assert "it ended the process of a worker" in errors["die"]
    assert errors["hang"] == "it took longer than 4 s"
    assert replaced >= 4


def test_no_more_is_taken_from_the_work_list_than_workers_have_in_hand(cluster):
    from sordino.cluster.pool import Pool, connected
    from support.cluster_tasks import make_obedient

    workers, batch, ended, most = 2, 4, 0, 0

    def tasks():
        nonlocal most
        for number in range(2000):
            most = max(most, number + 1 - ended)
            yield ("work", number)

    with connected(cluster.address):
        pool = Pool(make_obedient, workers, batch=batch)
        for each in pool.results(tasks()):
            ended += each is not None
        pool.close()
    assert ended == 2000
    assert most <= workers * batch + batch  # a call that has come back is counted one by one


@pytest.fixture
def gpu_node(cluster):
    """A node that says it has a GPU; Ray believes it."""
    node = cluster.add_node(num_cpus=2, num_gpus=1, include_dashboard=False)
    yield node
    cluster.remove_node(node)


def test_a_worker_with_a_gpu_is_put_where_one_is(cluster, gpu_node):
    from sordino.cluster.pool import Pool, cluster_gpus, connected
    from support.cluster_tasks import make_placed

    with connected(cluster.address):
        assert cluster_gpus() == 1
        pool = Pool(make_placed, 1, 1)
        places = {each.result for each in pool.results(range(100)) if each}
        pool.close()
    assert {device for device, _, _ in places} == {"cpu", "cuda"}
    assert [place[1:] for place in places if place[0] == "cuda"] == [(gpu_node.node_id, ("0",))]
    assert [gpus for device, _, gpus in places if device == "cpu"] == [()]


def test_a_gpu_that_onnx_runtime_cannot_use_is_told(cluster, gpu_node, tmp_path):
    options = ("--workers", 0, "--gpu-workers", 1)
    phone = examples.path("phone_8k")
    code, said = clusters.run(
        "denoise", phone, "-o", tmp_path, "--cluster", cluster.address, *options
    )
    assert (code, "no execution provider 'cuda'" in said) == (2, True), said
    assert "Traceback" not in said


def test_what_a_cluster_lacks_is_told(cluster, tmp_path):
    options = ("--workers", 2, "--gpu-workers", 3)
    phone = examples.path("phone_8k")
    code, said = clusters.run(
        "denoise", phone, "-o", tmp_path, "--cluster", cluster.address, *options
    )
    assert code == 0, said  # the others do the work
    assert "cores and 0 GPUs, too few for 2 workers and 3 with a GPU" in said
    here = ("--cluster", "local", "--gpu-workers", 99)
    code, said = clusters.run("denoise", phone, "-o", tmp_path / "here", *here)
    assert (code, "GPUs on this machine: leave it out" in said) == (2, True), said


def test_workers_that_cannot_start_are_told_in_one_line(cluster):
    from sordino.cluster.pool import Pool, connected
    from sordino.errors import SordinoError
    from support.cluster_tasks import make_nothing

    with connected(cluster.address):
        pool = Pool(make_nothing, 1)
        with pytest.raises(SordinoError, match="a worker cannot import Sordino"):
            list(pool.results([("work", "")]))
        pool.close()


def test_evaluation_on_the_cluster_gives_the_same_figures(cluster, tmp_path):
    def figures(name, *arguments):
        options = ("--metrics", "sisdr,att_db", "--csv", tmp_path / name, *arguments)
        code, said = clusters.run("evaluate", examples.FOLDER, *options)
        assert code == 0, said
        return (tmp_path / name).read_text()

    there = figures("there.csv", "--cluster", cluster.address, "--jobs", 2)
    assert there == figures("here.csv", "--jobs", 1)
    assert there.count("\n") > 2 * len(examples.names())
