"""A real Ray cluster of several nodes on this machine, and the command that runs on it."""

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import ray
from ray.cluster_utils import Cluster

TESTS = Path(__file__).parents[1]
CLI = (sys.executable, "-m", "sordino")
_SETTINGS = {  # a dead node is noticed in seconds
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 4,
    "health_check_initial_delay_ms": 500,
}
_NODE = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 80_000_000}


@contextmanager
def running_cluster(nodes):
    """A cluster of so many nodes with one core each; workers can import tests.support."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [before, str(TESTS)]))
    cluster = Cluster(True, head_node_args={**_NODE, "_system_config": _SETTINGS})
    try:
        for _ in range(nodes - 1):
            cluster.add_node(**_NODE)
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()
        os.environ["PYTHONPATH"] = before


def workers_of(node):
    """The process ids of Sordino's workers on a node."""
    raylet = node.all_processes["raylet"][0].process.pid
    children = Path(f"/proc/{raylet}/task/{raylet}/children").read_text().split()
    return [int(pid) for pid in children if b"ray::_Actor" in _command(pid)]


def _command(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def start(*arguments):
    """Start `sordino` with some arguments."""
    return subprocess.Popen(
        [*CLI, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process):
    """Wait for a command; return its exit code and what it said on standard error."""
    _, said = process.communicate(timeout=600)
    return process.returncode, said


def run(*arguments):
    """Run `sordino` to its end."""
    return finish(start(*arguments))
