"""Real-time priority for a thread, where the system allows it."""

import os
from contextlib import suppress

PRIORITY = 10  # of 99: below the sound servers, above all that is not real-time


def raise_priority() -> bool:
    """Let the calling thread run before all ordinary ones; return whether that was allowed.

    Linux allows it to root and to groups with an `rtprio` limit.  Threads that this one starts
    are ordinary again.
    """
    if hasattr(os, "SCHED_RESET_ON_FORK"):
        with suppress(OSError):
            policy = os.SCHED_RR | os.SCHED_RESET_ON_FORK
            os.sched_setscheduler(0, policy, os.sched_param(PRIORITY))
            return True
    return False
