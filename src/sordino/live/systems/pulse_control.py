"""Asking and telling a PulseAudio or PipeWire server, and hearing of its changes."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pulsectl
from pulsectl._pulsectl import LibPulse

from sordino.live.ports import DeviceLost

AGAIN_SECONDS = 0.2  # between two looks for a server that has gone

_FAILURES: tuple[type[Exception], ...] = (
    pulsectl.PulseError,
    pulsectl.PulseDisconnected,
    LibPulse.CallError,
)


@contextmanager
def connection() -> Iterator[pulsectl.Pulse]:
    """Have a connection to the server, for one errand.

    Short connections cost about 2 ms, are safe in any thread and know no restarts.

    Raises:
        DeviceLost: the server does not answer, or goes away during the errand.
    """
    try:
        with pulsectl.Pulse("Sordino") as pulse:
            yield pulse
    except _FAILURES:
        raise DeviceLost("the sound server (PipeWire or PulseAudio) does not answer") from None


class Watch:
    """Counts what happens to a server and its devices, in a thread of its own.

    `count` grows when a device comes or goes, when a default changes, and when the server
    goes or is there again.  A new default may be missed: while any program connects, PipeWire
    tells it to that program only (its module-metadata), and those connected before, like this
    one, keep the old one.
    """

    def __init__(self) -> None:
        self.count = 0
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pulse watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop; does nothing the second time."""
        self._closed.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closed.is_set():
            with suppress(*_FAILURES), pulsectl.Pulse("Sordino") as pulse:
                pulse.event_mask_set("sink", "source", "server")
                pulse.event_callback_set(self._note)
                self.count += 1
                try:
                    while not self._closed.is_set():
                        pulse.event_listen(timeout=0.5)
                finally:
                    self.count += 1
            self._closed.wait(AGAIN_SECONDS)

    def _note(self, event: Any) -> None:
        if event.facility == "server" or event.t != "change":
            self.count += 1
