"""A real server on a real socket, in a thread of the test's own process."""

import asyncio
import socket
import time
from contextlib import contextmanager
from threading import Event, Thread

import soundfile

from sordino import examples
from sordino.serve.server import Server
from sordino.serve.settings import ServerSettings

TOKEN = "a-token-that-nobody-guesses"
DEADLINE = 180  # seconds, for whatever should take a moment


class Served:
    """A running server: where it listens, and what it shares."""

    def __init__(self, server):
        self.server = server
        self.address = server.address
        self.port = int(self.address.rpartition(":")[2])
        self.http = f"http://{self.address}"
        self.ws = f"ws://{self.address}"
        self.state = server.config.app.state.sordino

    def connect(self):
        """Open a plain socket to it."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE)

    def metric(self, name, **labels):
        """Return a number that Prometheus would be told."""
        within = ",".join(f'{key}="{value}"' for key, value in labels.items())
        wanted = f"{name}{{{within}}} " if labels else f"{name} "
        for line in self.state.metrics.text().decode().splitlines():
            if line.startswith(wanted):
                return float(line.removeprefix(wanted))
        return 0.0


@contextmanager
def serving(log_level="warning", access_log=False, **settings):
    """Run a server; yield where it is."""
    chosen = {"port": 0, "calibrate": False, "late_share": 1.0, "threads": 1}
    chosen |= {"requests_per_second": 1e6, "request_burst": 10**6, "drain_seconds": 0}
    started = Event()
    server = Server(
        ServerSettings(**(chosen | settings)),
        lambda _: started.set(),
        log_level=log_level,
        access_log=access_log,
    )
    thread = Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    assert started.wait(DEADLINE)
    try:
        yield Served(server)
    finally:
        server.should_exit = True
        thread.join(DEADLINE)
        assert not thread.is_alive()


def wait_until(condition):
    """Wait until something is so."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def speech(name="cafe_16k", seconds=1.0):
    """Return a bundled noisy recording (mono, cut) and its rate in Hz."""
    sound, rate = soundfile.read(examples.path(name), dtype="float32", always_2d=True)
    return sound[: round(seconds * rate), 0], rate
