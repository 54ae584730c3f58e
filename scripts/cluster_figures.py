"""The figures in docs/how-to/cluster.md, measured on this machine.

    .venv/bin/python scripts/cluster_figures.py workers           # 1, 2 and 4 workers, same files
    .venv/bin/python scripts/cluster_figures.py calls             # how many calls one driver makes
    .venv/bin/python scripts/cluster_figures.py long --hours 16   # sections against one pass
    .venv/bin/python scripts/cluster_figures.py many --files 100000

`workers` wants an idle machine with as many cores as workers; processor seconds for an hour of
sound hardly depend on what else runs.  `long` and `many` run the command itself on a cluster of
three nodes, and watch how much memory its processes take.
"""

import argparse
import os
import subprocess
import sys
from collections import Counter
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from time import perf_counter, process_time, sleep

import numpy as np
import pyarrow.dataset
import soundfile
from network_memory import active_level, mixed, repeated, sound, spoken
from ray.cluster_utils import Cluster

from sordino import examples
from sordino.batch.track import DenoiseSettings
from sordino.cluster.ledger import Ledger, Result
from sordino.cluster.plan import find_work
from sordino.cluster.pool import Pool, connected
from sordino.cluster.worker import MakeWorker, Task

RATE = 16000
CLI = (sys.executable, "-m", "sordino", "denoise")
EXAMPLES = Path(examples.__file__).parent / "train"
SECONDS = 60  # of the pieces that a long recording is made of; each has another noise


def main():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("workers", "calls", "long", "many"))
    parser.add_argument("--model", default="studio")
    parser.add_argument("--counts", type=int, nargs="*", help="numbers of workers")
    parser.add_argument("--files", type=int, help="how many")
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--pause", type=float, default=0.1, help="seconds of a task of `calls`")
    parser.add_argument("--section", type=float, default=30.0, help="minutes")
    given = parser.parse_args()
    with TemporaryDirectory(prefix="cluster-figures-") as folder:
        globals()[given.what](Path(folder), given)


def workers(folder, given):
    """Denoise the same files with several numbers of workers."""
    files = given.files or 96
    (folder / "in").mkdir()
    for number, piece in zip(range(files), pieces(8), strict=False):
        soundfile.write(folder / "in" / f"{number:03}.flac", piece, RATE)
    hours = files * 8 / 3600
    settings = DenoiseSettings(given.model).loaded()
    print(f"{files} files of 8 s, {given.model}; {os.cpu_count()} cores, {load()}")
    print("workers  wall s  audio s/s  speed-up  efficiency  processor s/audio hour")
    first = 0.0
    for count in given.counts or (1, 2, 4):
        works = find_work([str(folder / "in")], str(folder / f"out{count}"))
        make = Timed(MakeWorker(settings, False, None, str(folder / "sections")), works[0])
        with connected("local", count), closing(Pool(make, count)) as pool:
            start(pool, count)
            begin = perf_counter()
            used = [each.result for each in pool.results([Task(work) for work in works]) if each]
            wall = perf_counter() - begin
        assert None not in used
        first = first or wall * count
        print(
            f"{count:7} {wall:7.1f} {3600 * hours / wall:10.1f} {first / wall:9.2f} "
            f"{first / wall / count:11.0%} {sum(used) / hours:23.1f}",
            flush=True,
        )


def start(pool, count):
    """Wait until so many workers are ready."""

    def tasks():
        while pool.workers < count:
            yield None

    list(pool.results(tasks()))


class Timed:
    """Makes a worker that says how many processor seconds a task took."""

    def __init__(self, make, first):
        self.make, self.first = make, first

    def __call__(self, device):
        """Make it on "cpu" or "cuda", and do a file that does not count: much is imported then."""
        do = self.make(device)
        do(Task(replace(self.first, target=f"{self.first.target}.{os.getpid()}.flac")))

        def timed(task):
            begin = process_time()
            if task is not None:
                assert all(result.status == "done" for result in do(task))
            return process_time() - begin

        return timed


def calls(folder, given):
    """Let many workers wait instead of compute: what is left is what the driver can do."""
    pause = given.pause
    ledger = Ledger(str(folder), {})
    print(f"tasks of {pause} s that wait, in calls of one; {load()}")
    print("workers  calls/s  of what the workers could do  driver s/1,000 calls")
    for count in given.counts or (1, 2, 4, 8, 16):
        with connected("local", count), closing(Pool(Waiting(pause), count)) as pool:
            start(pool, count)
            begin, used = perf_counter(), process_time()
            total = given.files or 100 * count
            for each in pool.results(range(total)):
                if each:
                    ledger.add(Result(f"{count} {each.task}"))
            wall, used = perf_counter() - begin, process_time() - used
        rate = total / wall
        print(f"{count:7} {rate:8.0f} {rate * pause / count:29.0%} {1000 * used / total:21.2f}")


class Waiting:
    """Makes workers that wait."""

    def __init__(self, pause):
        self.pause = pause

    def __call__(self, _device):
        """Make one."""
        return lambda task: task is not None and sleep(self.pause)


def long(folder, given):
    """Denoise a long recording in sections on three nodes, and in one pass, and compare."""
    source = folder / "long.flac"
    with soundfile.SoundFile(source, "w", RATE, 1, "PCM_24") as file:
        for _, piece in zip(range(round(60 * given.hours)), pieces(SECONDS), strict=False):
            file.write(piece)
    print(f"{given.hours:g} h, {given.model}, FLAC of {source.stat().st_size / 1e6:.0f} MB")
    options = (source, "--model", given.model, "-o")
    watched("one pass", *options, folder / "one.flac")
    with three_nodes() as address:
        there = ("--cluster", address, "--section", given.section, "--workers", 3)
        watched("in sections", *options, folder / "out", *there)
    compare(folder / "one.flac", folder / "out" / "long.flac", round(60 * given.section))


def compare(one, other, section):
    """Print by how much two recordings differ, relative to the speech."""
    with soundfile.SoundFile(one) as a, soundfile.SoundFile(other) as b:
        assert len(a) == len(b)
        speech = active_level(a.read(600 * RATE), RATE) ** 2
        a.seek(0)
        seconds = zip(a.blocks(RATE), b.blocks(RATE), strict=True)
        powers = np.array([np.mean((x - y) ** 2) for x, y in seconds])
    whole, worst = (10 * np.log10(p / speech + 1e-20) for p in (powers.mean(), powers.max()))
    late = int(powers.argmax()) % section
    print(f"difference: {whole:.1f} dB of the speech, {worst:.1f} dB in the worst second, which is")
    print(f"{late} s after a seam; {np.mean(powers == 0):.2%} of the seconds do not differ at all")


def many(folder, given):
    """Denoise many short files on three nodes."""
    files = given.files or 2000
    (folder / "in").mkdir()
    for number in range(files):
        # File systems limit how many names a file may have.
        path, first = (folder / "in" / f"{n:07}.wav" for n in (number, number // 50_000 * 50_000))
        if path == first:
            soundfile.write(path, next(pieces(1))[: RATE // 10], RATE)
        else:
            os.link(first, path)
    with three_nodes() as address:
        there = ("--cluster", address, "--workers", 3)
        watched(
            f"{files} files", folder / "in", "--model", given.model, "-o", folder / "out", *there
        )
    found = Counter(
        row["id"]
        for row in pyarrow.dataset.dataset(folder / "out" / ".sordino" / "results")
        .to_table()
        .to_pylist()
    )
    outputs = len(list((folder / "out").glob("*.wav")))
    print(f"{outputs} outputs; {len(found)} rows of the ledger, {max(found.values())} of each file")


@contextmanager
def three_nodes():
    """Run a cluster of three nodes with a core each; give its address."""
    node = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 80_000_000}
    cluster = Cluster(True, head_node_args=node)
    try:
        for _ in range(2):
            cluster.add_node(**node)
        yield cluster.address
    finally:
        cluster.shutdown()


def watched(name, *arguments):
    """Run `sordino denoise`; print its time, and the memory of its processes at their largest."""
    peaks, done = {}, Event()
    process = subprocess.Popen([*CLI, *map(str, arguments)])
    watcher = Thread(target=watch, args=(process.pid, peaks, done))
    begin = perf_counter()
    watcher.start()
    code = process.wait()
    wall = perf_counter() - begin
    done.set()
    watcher.join()
    assert code == 0
    command = peaks.pop(process.pid)
    workers = f", of a worker {max(peaks.values()) / 1e3:.0f} MB" if peaks else ""
    print(
        f"{name}: {wall:.0f} s; peak memory of the command {command / 1e3:.0f} MB{workers}; "
        f"{load()}",
        flush=True,
    )


def watch(pid, peaks, done):
    """Note the largest memory of a process and of all workers, in kB.

    Without mapped files: a long recording is mapped once, to look for others joined to it, and the
    system drops such pages when it needs them.
    """
    while not done.wait(0.5):
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError, StopIteration):
                if int(folder.name) == pid or b"ray::_Actor" in (folder / "cmdline").read_bytes():
                    lines = (folder / "status").read_text().splitlines()
                    line = next(each for each in lines if each.startswith("RssAnon"))
                    process, size = int(folder.name), int(line.split()[1])
                    peaks[process] = max(size, peaks.get(process, 0))


def load():
    """Say how busy the machine is."""
    return f"load {os.getloadavg()[0]:.1f}"


def pieces(seconds):
    """Yield speech with noise without end, each piece with another noise at another level."""
    speech = [sound(path, RATE) for path in sorted((EXAMPLES / "speech").iterdir())]
    noises = [sound(path, RATE) for path in sorted((EXAMPLES / "noise").iterdir())]
    rng = np.random.default_rng(0)
    while True:
        clips = [speech[i] for i in rng.permutation(len(speech))]
        voice = spoken(clips, seconds * RATE, RATE, rng) * rng.uniform(0.3, 1)
        noise = repeated(noises[rng.integers(len(noises))], seconds * RATE)
        noisy = mixed(voice, np.roll(noise, rng.integers(len(noise))), rng.uniform(0, 15))
        yield noisy / max(1.0, np.abs(noisy).max())


if __name__ == "__main__":
    main()
