"""What workers of a cluster do in tests; they import it by name."""

import os
import signal
import time
from pathlib import Path


def make_obedient(device):
    """Return what does as it is told."""

    def do(task):
        order, where = task
        if order == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if order == "die once" and not Path(where).exists():
            Path(where).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if order == "hang":
            time.sleep(3600)
        if order == "fail":
            raise ValueError("a reason\nin two lines")
        return f"{order} on {device}"

    return do


def make_placed(device):
    """Return what says where it is: device, node and GPUs that Ray gave it."""
    import ray

    context = ray.get_runtime_context()
    place = (device, context.get_node_id(), tuple(context.get_accelerator_ids()["GPU"]))

    def do(_task):
        time.sleep(0.05)  # so that each worker gets some
        return place

    return do


def make_nothing(device):
    """Fail as a worker without a package does."""
    raise ModuleNotFoundError("No module named 'nothing'")
