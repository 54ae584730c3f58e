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


def make_nothing(device):
    """Fail as a worker without a package does."""
    raise ModuleNotFoundError("No module named 'nothing'")
