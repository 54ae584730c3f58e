"""Real sound servers for tests, headless, each in a private folder: PulseAudio and PipeWire."""

import os
import shutil
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pulsectl
import pytest

TIMEOUT = 120.0  # seconds to wait for a condition; the machine may be busy
RATE = 48000
_FORMAT = f"rate={RATE} channels=1 channel_map=mono"

_PROGRAMS = {
    "pulseaudio": ("pulseaudio", "parec", "pacat", "pactl"),
    "pipewire": (
        "pipewire",
        "wireplumber",
        "pipewire-pulse",
        "dbus-daemon",
        "parec",
        "pacat",
        "pactl",
    ),
}
_ENVIRONMENT = (
    "HOME",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "XDG_STATE_HOME",
    "PULSE_RUNTIME_PATH",
    "PULSE_SERVER",
    "PIPEWIRE_RUNTIME_DIR",
    "DBUS_SESSION_BUS_ADDRESS",
)


def require(*programs):
    """Skip where a program is missing; in CI, where all must be there, fail."""
    missing = [program for program in programs if not shutil.which(program)]
    if missing:
        reason = f"needs {', '.join(missing)} (Debian packages of the same names)"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)


def undisturbed(attempt, check, attempts=5):
    """Repeat what is played until the sound server drops nothing, as it may on a busy machine.

    A fault of what is tested would be in each attempt.
    """
    for _ in range(attempts - 1):
        sound = attempt()
        if check(sound):
            return sound
    return attempt()


def wait_for(condition, what, timeout=TIMEOUT):
    """Return the first true value of `condition()`."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError(f"{what}: not within {timeout} s")


class Server:
    """A private sound server; use as a context manager.

    The environment of this process points to it as long as it lives, so that what is tested
    finds it in the way that it would find a user's.
    """

    def __init__(self, kind):
        require(*_PROGRAMS[kind])
        self.kind = kind
        self._processes = []

    def __enter__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="sordino-"))  # short: it is a socket's path
        # pipewire-pulse ends where a client makes this between its look and its own mkdir.
        (self.folder / "pulse").mkdir(mode=0o700)
        self._saved = {name: os.environ.pop(name, None) for name in _ENVIRONMENT}
        os.environ["HOME"] = os.environ["XDG_RUNTIME_DIR"] = str(self.folder)
        os.environ["XDG_CONFIG_HOME"] = str(self.folder / "config")
        os.environ["XDG_STATE_HOME"] = str(self.folder / "state")
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.kill()
        for name, value in self._saved.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self):
        """Start the server's programs and wait until they answer."""
        if self.kind == "pulseaudio":
            self._run("pulseaudio", "-n", "--daemonize=no", "--use-pid-file=no",
                      "--exit-idle-time=-1", "--realtime=no", "--high-priority=no",
                      "-L", "module-native-protocol-unix", "-L", "module-suspend-on-idle",
                      "-L", "module-always-sink")  # fmt: skip
        else:
            if "DBUS_SESSION_BUS_ADDRESS" not in os.environ:
                bus = f"unix:path={self.folder}/bus"
                self._run("dbus-daemon", "--session", "--nofork", f"--address={bus}")
                os.environ["DBUS_SESSION_BUS_ADDRESS"] = bus
                wait_for((self.folder / "bus").exists, "D-Bus")
            self._run("pipewire")
            wait_for((self.folder / "pipewire-0").exists, "PipeWire")
            self._run("wireplumber")
            self._run("pipewire-pulse")
        wait_for(self._answers, f"{self.kind}'s answer")

    def kill(self):
        """End the server at once, as a crash does; virtual devices in it are gone."""
        for process in reversed(self._processes):
            process.kill()
        for process in self._processes:
            process.wait()
        self._processes.clear()
        os.environ.pop("DBUS_SESSION_BUS_ADDRESS", None)
        for socket in ("pulse/native", "pipewire-0", "bus"):
            (self.folder / socket).unlink(missing_ok=True)

    def _run(self, *command):
        log = open(self.folder / f"{command[0]}.log", "ab")  # noqa: SIM115
        self._processes.append(subprocess.Popen(command, stdout=log, stderr=log))
        log.close()

    def _answers(self):
        assert all(process.poll() is None for process in self._processes), self.log()
        try:
            with pulsectl.Pulse("test") as pulse:
                return bool(pulse.sink_list()) and bool(pulse.source_list())
        except pulsectl.PulseError:
            return False

    def signal(self, program, number):
        """Send a signal to one of the server's programs."""
        (process,) = [each for each in self._processes if each.args[0] == program]
        process.send_signal(number)

    def log(self):
        """Return what the programs printed."""
        return "\n".join(f"{file.name}:\n{file.read_text()}" for file in self.folder.glob("*.log"))

    def add_room(self, name="room"):
        """Add a null sink that stands for a room; its monitor records what is played into it.

        Returns:
            The number of the module that makes it, for `remove`.
        """
        arguments = f"sink_name={name} {_FORMAT} norewinds=1"
        return self.load("module-null-sink", arguments, name)

    def add_microphone(self, name="microphone", room="room"):
        """Add a microphone that records what is played into a room; return its module's number."""
        arguments = (
            f"source_name={name} master={room}.monitor {_FORMAT} "
            f"source_properties=device.description={name}"
        )
        return self.load("module-remap-source", arguments, name)

    def load(self, module, arguments, name):
        """Load a module and wait for the device that it makes; return its number."""
        with pulsectl.Pulse("test") as pulse:
            number = pulse.module_load(module, arguments)
        wait_for(lambda: name in self.sinks() | self.sources(), f"the device {name}")
        return number

    def remove(self, number):
        """Remove a device, as unplugging does."""
        with pulsectl.Pulse("test") as pulse:
            pulse.module_unload(number)

    def suspend(self, source, suspended):
        """Suspend a source, or resume it."""
        with pulsectl.Pulse("test") as pulse:
            pulse.source_suspend(self.sources()[source].index, suspended)

    def sinks(self):
        with pulsectl.Pulse("test") as pulse:
            return {sink.name: sink for sink in pulse.sink_list()}

    def sources(self):
        with pulsectl.Pulse("test") as pulse:
            return {source.name: source for source in pulse.source_list()}

    def modules(self):
        """Return all modules as (name, argument)."""
        with pulsectl.Pulse("test") as pulse:
            return [(module.name, module.argument or "") for module in pulse.module_list()]

    def defaults(self):
        """Return the names of the default source and sink."""
        with pulsectl.Pulse("test") as pulse:
            info = pulse.server_info()
            return info.default_source_name, info.default_sink_name

    def set_default_source(self, name):
        self._set_default(0, name, self.sources, pulsectl.Pulse.source_default_set)

    def set_default_sink(self, name, until=None):
        self._set_default(1, name, self.sinks, pulsectl.Pulse.sink_default_set, until)

    def _set_default(self, which, name, devices, choose, until=None):
        self.ask(
            lambda pulse: choose(pulse, devices()[name]),
            until or (lambda: self.defaults()[which] == name),
            f"{name} as the default",
        )

    def move(self, stream, sink, until=None):
        """Move a stream, by its index, to another sink."""

        def moved():
            with pulsectl.Pulse("test") as pulse:
                return pulse.sink_input_info(stream).sink == self.sinks()[sink].index

        self.ask(
            lambda pulse: pulse.sink_input_move(stream, self.sinks()[sink].index),
            until or moved,
            f"the stream in {sink}",
        )

    def ask(self, attempt, done, what):
        """Ask the server for something, as `attempt(pulse)`, until it is done.

        PipeWire refuses while it has not told this client of all there is, and may undo the move
        of a stream that has just begun: where it plays into the default sink, pipewire-pulse notes
        a moment later that it wishes for no other.
        Where what is tested undoes the change, `done` must be what stays of it.
        """
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline:
            with pulsectl.Pulse("test") as pulse:
                with suppress(pulsectl.PulseOperationFailed):
                    attempt(pulse)
                with suppress(AssertionError):
                    return wait_for(done, what, timeout=1)
        raise AssertionError(f"{what}: not within {TIMEOUT} s")


class Player:
    """Plays float32 at 48 kHz into a sink, as any other program does.

    "" is the default sink.  Shape = (samples,), or (samples, channels) with a channel map.  With
    `repeat` it goes on for as long as it lives.
    """

    def __init__(self, sink, sound, channel_map="mono", repeat=False):
        self._repeat = repeat
        self._process = _pipe(
            *("pacat", "--playback", sink),
            latency=200,
            channel_map=channel_map,
            stdin=subprocess.PIPE,
        )
        self._sound = np.asarray(sound, np.float32).tobytes()

    def __enter__(self):
        self._thread = threading.Thread(target=self._feed, daemon=True)
        self._thread.start()
        return self

    def _feed(self):
        try:
            self._process.stdin.write(self._sound)
            while self._repeat:
                self._process.stdin.write(self._sound)
            self._process.stdin.close()
        except OSError:
            pass  # the server has gone

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        self._thread.join()


class Recorder:
    """Records a source, float32 mono at 48 kHz, as a meeting program does."""

    def __init__(self, source):
        self._process = _pipe("parec", "--record", source, latency=10, stdout=subprocess.PIPE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()

    def read(self, seconds):
        """Return the next samples."""
        block = self._process.stdout.read(4 * round(seconds * RATE))
        return np.frombuffer(block, np.float32)


class Listener(Recorder):
    """Records all the time, and knows when each sample came."""

    def __enter__(self):
        self._blocks, self._stamps = [], []
        self._count = 0
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        wait_for(lambda: self._count, "the first sample")
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._thread.join()
        super().__exit__()

    def _listen(self):
        while block := os.read(self._process.stdout.fileno(), 1 << 16):
            now = time.monotonic()
            self._blocks.append(block)
            self._count += len(block) / 4
            self._stamps.append(now - self._count / RATE)

    @property
    def sound(self):
        """All samples until now."""
        whole = b"".join(self._blocks)
        return np.frombuffer(whole[: len(whole) // 4 * 4], np.float32)

    @property
    def beginning(self):
        """Time of sample 0 by `time.monotonic`, from the median arrival of all samples."""
        return float(np.median(self._stamps))


def _pipe(program, mode, device, latency, channel_map="mono", **pipes):
    chosen = [f"--device={device}"] if device else []
    return subprocess.Popen(
        [program, mode, "--raw", "--format=float32le", f"--rate={RATE}",
         f"--channels={channel_map.count(',') + 1}", f"--channel-map={channel_map}",
         f"--latency-msec={latency}", *chosen], **pipes)  # fmt: skip
