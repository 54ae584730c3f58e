"""A PulseAudio or PipeWire server: connections, its changes, and virtual devices in it.

Virtual devices are made of the modules that both servers have.  A null sink takes the clean
sound; its monitor, remapped, is a source that programs take for a microphone.  (They hide
monitors, hence the second module.)  Arguments of the modules name the process that owns them and
the default devices from before: whoever finds modules whose owner is no more can remove them and
leave everything as it was.

A second null sink, silent, keeps the sound of other programs out of the microphone: where the last
loudspeaker disappears, servers make another sink the default one, and this one is preferred to
the feed.
"""

# No types: pulsectl.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

import os
import re
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

import pulsectl
from pulsectl._pulsectl import LibPulse  # whose CallError has no public name

from sordino.errors import SordinoError
from sordino.live.backends.base import DeviceLost, ServerLost

RETRY_SECONDS = 0.2  # between two attempts to reach a server that has gone
PREFIX = "sordino_"
"""What the names of all sinks and sources begin with that Sordino makes."""

SILENCE = "_silence"
"""What the names of silent sinks end with."""

ECHO_SINK, ECHO_SOURCE = f"{PREFIX}echo_canceller", f"{PREFIX}echo_canceller_microphone"
"""Names of the echo canceller's devices."""

OWNER_PROPERTY = "sordino.owner"
"""Property of all devices and streams that are Sordino's."""

CHECK_SECONDS = 2.0  # between two looks at the default loudspeaker without any news
DEFAULT_SECONDS = 10.0  # that a server may take to accept a default loudspeaker
NOTICE_SECONDS = 30.0  # that a notice of a stream that was moved is shown

_MIXER = "org.PulseAudio.pavucontrol"  # its meters record every source
_FORMAT = "rate=48000 channels=1 channel_map=mono"  # as the engine makes it: nothing to convert
_OWNER = re.compile(r"sordino\.owner=(?P<pid>\d+):(?P<start>\d+)")
_BEFORE = re.compile(r"sordino\.source=(?P<source>[\w.%~-]*) sordino\.sink=(?P<sink>[\w.%~-]*)")

# pulsectl has no public base class of its failures: a call that the library refuses raises this
# inner one.
_FAILURES: tuple[type[Exception], ...] = (
    pulsectl.PulseError,
    pulsectl.PulseDisconnected,
    LibPulse.CallError,
)


@contextmanager
def connection() -> Generator[pulsectl.Pulse]:
    """Open a connection to the server for one task.

    Short connections cost about 2 ms, are safe in any thread and know no restarts.

    Raises:
        ServerLost: the server does not answer, or goes away meanwhile.
    """
    try:
        with pulsectl.Pulse("Sordino") as pulse:
            yield pulse
    except _FAILURES:
        raise ServerLost("the sound server (PipeWire or PulseAudio) does not answer") from None


class Watch:
    """Counts what happens to a server and its devices, in a thread of its own.

    `count` grows when a device or a recording comes or goes, when a default changes, and when the
    server goes or is there again.  A new default may be missed: while any program connects,
    PipeWire tells it to that program only (its module-metadata), and those connected before, like
    this one, keep the old one.
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
                pulse.event_mask_set("sink", "source", "source_output", "server")
                pulse.event_callback_set(self._note)
                self.count += 1
                try:
                    while not self._closed.is_set():
                        pulse.event_listen(timeout=0.5)
                finally:
                    self.count += 1
            self._closed.wait(RETRY_SECONDS)

    def _note(self, event: Any) -> None:
        if event.facility == "server" or event.t != "change":
            self.count += 1


class FeedGuard:
    """Keeps the sound of other programs out of the feed of a virtual microphone.

    The feed is made so that no server chooses it, but a program or its user may.  Such a stream
    is muted at once and moved to the default loudspeaker, or else to the silent sink.  It stays
    muted until it plays there: PipeWire only takes note of a move, which its session manager
    carries out later and may miss.  A feed that was made the default loudspeaker is so no longer.

    It outlives the feed, since `close` leaves no stream muted.

    Args:
        feed: name of the sink.
    """

    def __init__(self, feed: str) -> None:
        self._feed, self._silence = feed, feed.removesuffix("_feed") + SILENCE
        self._moved, self._moved_at = "", 0.0
        self._muted: set[int] = set()  # streams that play into the feed and that it has muted
        self._silent = False
        self._pending = False
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feed guard", daemon=True)
        self._thread.start()

    @property
    def notice(self) -> str:
        """What the user should know now; "" if nothing."""
        if self._moved and time.monotonic() - self._moved_at < NOTICE_SECONDS:
            return f"{self._moved} tried to play into the virtual microphone and was kept out"
        if self._silent:
            return "there is no loudspeaker: other programs are silent meanwhile"
        return ""

    def close(self) -> None:
        """Stop; does nothing the second time."""
        self._closed.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closed.is_set():
            with suppress(DeviceLost), connection() as pulse:
                pulse.event_mask_set("sink_input", "sink", "server")
                pulse.event_callback_set(self._note)
                self._pending, checked = True, 0.0
                self._muted.clear()  # another server counts its streams anew
                while not self._closed.is_set():
                    if self._pending or time.monotonic() - checked > CHECK_SECONDS:
                        self._pending, checked = False, time.monotonic()
                        with suppress(pulsectl.PulseIndexError, pulsectl.PulseOperationFailed):
                            self._check(pulse)
                    if not self._pending:
                        pulse.event_listen(timeout=0.5)
                self._unmute(pulse, self._muted)
            self._closed.wait(RETRY_SECONDS)

    def _note(self, _: Any) -> None:
        self._pending = True
        raise pulsectl.PulseLoopStop

    def _check(self, pulse: pulsectl.Pulse) -> None:
        sinks: dict[str, Any] = {sink.name: sink for sink in pulse.sink_list()}
        if self._feed not in sinks or self._silence not in sinks:
            return
        feed = sinks[self._feed].index
        strangers = self._mute_strangers(pulse, feed)
        # PipeWire may tell a new default to programs that connect now, and to them only (`Watch`),
        # and claims for a second that what a program asked it to move has been moved.
        with connection() as fresh:
            default = defaults(fresh).sink
            others = {sink.index for sink in sinks.values()} - {feed}
            self._unmute(
                pulse, {each.index for each in fresh.sink_input_list() if each.sink in others}
            )
        if default == self._feed:
            real = [name for name in sinks if not name.startswith(PREFIX)]
            default = real[0] if real else self._silence
            pulse.sink_default_set(sinks[default])
        self._silent = default == self._silence
        target = sinks.get(default, sinks[self._silence])
        for stream in strangers:
            with suppress(pulsectl.PulseOperationFailed):  # it cannot be moved, or has ended
                pulse.sink_input_move(stream, target.index)

    def _mute_strangers(self, pulse: pulsectl.Pulse, feed: int) -> list[int]:
        """Mute what other programs play into the feed; return the indices of it.

        That is the fastest way to silence: finding out where to move it takes longer.
        """
        strangers = [
            stream
            for stream in pulse.sink_input_list()
            if stream.sink == feed and stream.proplist.get(OWNER_PROPERTY) != owner_token()
        ]
        for stream in strangers:
            self._moved_at = time.monotonic()
            self._moved = stream.proplist.get("application.name") or stream.name or "a program"
            if not stream.mute:
                with suppress(pulsectl.PulseOperationFailed):  # it has ended
                    pulse.sink_input_mute(stream.index, True)
                    self._muted.add(stream.index)
        return [stream.index for stream in strangers]

    def _unmute(self, pulse: pulsectl.Pulse, streams: set[int]) -> None:
        """Unmute those of the streams that `_mute_strangers` muted."""
        for stream in self._muted & streams:
            with suppress(pulsectl.PulseOperationFailed):  # it has ended
                pulse.sink_input_mute(stream, False)
        self._muted -= streams


class Defaults(NamedTuple):
    """Names of the default source and sink; "" if there is none."""

    source: str = ""
    sink: str = ""


class _Module(NamedTuple):
    number: int
    device: str  # that it makes
    owner: int  # process
    alive: bool  # whether the owner still runs
    before: Defaults


@contextmanager
def microphone(label: str, before: Defaults) -> Generator[str]:
    """Have a virtual microphone; the value is the name of the sink that feeds it.

    Args:
        label: what programs list.
        before: the default devices to go back to.

    Raises:
        DeviceLost: the server does not answer.
        SordinoError: another process has such a device, or the server cannot make it.
    """
    name, mark = _name(label), _mark(before)
    feed, silence = f"{name}_feed", f"{name}{SILENCE}"
    source = (
        f"source_name={name} master={feed}.monitor {_FORMAT} "
        f"source_properties='device.description=\"{label}\" {mark}'"
    )
    with _having(
        (silence, "module-null-sink", _sink(silence, "Silence (no loudspeaker)", mark, -100)),
        (feed, "module-null-sink", _sink(feed, f"{label} (feed)", mark, -200)),
        (name, "module-remap-source", source),
    ):
        yield feed


@contextmanager
def loudspeaker(label: str, before: Defaults) -> Generator[str]:
    """Have a virtual loudspeaker; the value is the name of the source that hears it.

    See `microphone`.
    """
    name = _name(label)
    with _having((name, "module-null-sink", _sink(name, label, _mark(before)))):
        yield f"{name}.monitor"


@contextmanager
def echo_canceller(source: str, sink: str, before: Defaults) -> Generator[str]:
    """Have WebRTC's echo canceller; the value is the name of the source without the echo.

    The canceller takes away what is played into a sink that it makes, which plays on into the
    real one.  That sink is the default one meanwhile, so that other programs use it.

    Args:
        source: name of the microphone.
        sink: name of the loudspeaker.
        before: the default devices to go back to.

    Raises:
        DeviceLost: the server does not answer.
        SordinoError: another process has a canceller, the server has none, or it cannot be told
            the name of a device.
    """
    mark = _mark(before)
    label = 'device.description="Sordino Echo Canceller'
    # The rest of WebRTC's audio processing is off: gains would move the microphone's volume.
    arguments = (
        f"sink_name={ECHO_SINK} source_name={ECHO_SOURCE} source_master={_quoted(source)} "
        f'sink_master={_quoted(sink)} {_FORMAT} aec_method=webrtc aec_args="analog_gain_control=0 '
        'digital_gain_control=0 noise_suppression=0 high_pass_filter=0" '
        f"sink_properties='{label}\" {mark}' source_properties='{label} (microphone)\" {mark}'"
    )
    with _having((ECHO_SINK, "module-echo-cancel", arguments)):
        _make_default(ECHO_SINK)
        yield ECHO_SOURCE


def _quoted(name: str) -> str:
    """Return the name of a device, which on PipeWire may be any text, as an argument of a module.

    PipeWire takes what is between the quotes as it is: it knows no escapes but passes over
    the character after a backslash.

    Raises:
        SordinoError: no quotes can hold the name.
    """
    sign = "'" if '"' in name else '"'
    if sign in name or name.endswith("\\"):
        raise SordinoError(
            f"the canceller cannot be told of a device with the name {name!r}: choose another "
            "one, or leave out --echo-cancel"
        )
    return f"{sign}{name}{sign}"


def _make_default(sink: str) -> None:
    end = time.monotonic() + DEFAULT_SECONDS
    while time.monotonic() < end:
        with connection() as pulse:
            if defaults(pulse).sink == sink:
                return
            # PipeWire refuses while it has not told this client of all there is, and what it
            # accepts is done later, if at all, by its session manager.
            with suppress(pulsectl.PulseOperationFailed, pulsectl.PulseIndexError):
                pulse.sink_default_set(pulse.get_sink_by_name(sink))
        time.sleep(0.05)
    raise DeviceLost("the sound server does not make the echo canceller's loudspeaker the default")


def is_heard(pulse: pulsectl.Pulse, label: str) -> bool:
    """Return whether a program that is not this one, nor a level meter, records a microphone."""
    indices = {source.index for source in pulse.source_list() if source.name == _name(label)}
    return any(
        stream.source in indices
        and not stream.corked
        and stream.resample_method != "peaks"
        and stream.proplist.get("application.id") != _MIXER
        and stream.proplist.get(OWNER_PROPERTY) != owner_token()
        for stream in pulse.source_output_list()
    )


def clean_up() -> list[str]:
    """Remove the devices whose owners are no more; return their names.

    Raises:
        DeviceLost: the server does not answer.
    """
    with connection() as pulse:
        orphans = [module for module in _modules(pulse) if not module.alive]
        _remove(pulse, orphans)
    return [module.device for module in orphans]


def defaults(pulse: pulsectl.Pulse) -> Defaults:
    """Return the server's default devices."""
    info: Any = pulse.server_info()
    return Defaults(info.default_source_name or "", info.default_sink_name or "")


@contextmanager
def _having(*wanted: tuple[str, str, str]) -> Generator[None]:
    """Have modules, given as (device, module, arguments), as long as the context lasts."""
    names = [device for device, _, _ in wanted]
    with connection() as pulse:
        for module in _modules(pulse):
            if module.device in names:
                raise SordinoError(
                    f"process {module.owner} already has the virtual device {module.device}: "
                    "end that `sordino` first"
                )
    try:
        with connection() as pulse:
            for _, module, arguments in wanted:
                _load(pulse, module, arguments)
        yield
    finally:
        with suppress(DeviceLost), connection() as pulse:
            _remove(pulse, [module for module in _modules(pulse) if module.device in names])


def _load(pulse: pulsectl.Pulse, module: str, arguments: str) -> None:
    try:
        pulse.module_load(module, arguments)
    except pulsectl.PulseError:
        pulse.server_info()  # raises if the server has gone
        if "norewinds=1" not in arguments:
            raise SordinoError(
                f"the sound server cannot load its {module}: install it, with all that it needs"
            ) from None
        _load(pulse, module, arguments.replace("norewinds=1", ""))


def _sink(name: str, label: str, mark: str, priority: int | None = None) -> str:
    """Return the arguments of a null sink.

    Args:
        name, label: of the sink.
        mark: see `_mark`.
        priority: for WirePlumber, which makes the sink of the highest one the default.
            PulseAudio goes by the class, where "modem" is the least, and then by age.
    """
    last = "" if priority is None else f" device.class=modem priority.session={priority}"
    # PulseAudio fills a null sink two seconds ahead while nobody needs it sooner, and whoever
    # then listens hears nothing for so long; without rewinds it is 50 ms.  PulseAudio before 15
    # does not know the option, PipeWire does not need it.
    return (
        f"sink_name={name} {_FORMAT} norewinds=1 "
        f"sink_properties='device.description=\"{label}\" {mark}{last}'"
    )


def _modules(pulse: pulsectl.Pulse) -> list[_Module]:
    """Return the modules that are Sordino's, in the order in which they were loaded."""
    found = []
    for module in pulse.module_list():
        arguments = module.argument or ""
        if owner_mark := _OWNER.search(arguments):
            device = re.search(r"(?:sink|source)_name=(\S+)", arguments)
            owner = int(owner_mark["pid"])
            alive = _start(owner) == owner_mark["start"]
            names = _BEFORE.search(arguments)
            before = Defaults(*map(unquote, names.groups())) if names else Defaults()
            name = device[1] if device else ""
            found.append(_Module(module.index, name, owner, alive, before))
    return sorted(found)


def _remove(pulse: pulsectl.Pulse, modules: Sequence[_Module]) -> None:
    """Unload modules, and set the defaults back where they were one of these devices."""
    now = defaults(pulse)
    going = {name for module in modules for name in (module.device, f"{module.device}.monitor")}
    for before in {module.before for module in modules}:
        # A PipeWire that is busy may refuse: then it chooses, and the devices go all the same.
        with suppress(pulsectl.PulseOperationFailed):
            if now.source in going and before.source in _names(pulse.source_list()):
                pulse.source_default_set(before.source)
        with suppress(pulsectl.PulseOperationFailed):
            if now.sink in going and before.sink in _names(pulse.sink_list()):
                pulse.sink_default_set(before.sink)
    for module in reversed(modules):
        with suppress(pulsectl.PulseOperationFailed):  # somebody else has unloaded it
            pulse.module_unload(module.number)


def _name(label: str) -> str:
    """Return the name of the device that has a label."""
    return PREFIX + re.sub(r"\W+", "_", label.lower()).removeprefix(PREFIX)


def _names(devices: list[Any]) -> set[str]:
    return {device.name for device in devices}


def owner_token() -> str:
    """Return what tells this process from all others, as a value of OWNER_PROPERTY."""
    return f"{os.getpid()}:{_start(os.getpid())}"


def _mark(before: Defaults) -> str:
    """Return properties that name the owner and the devices from before.

    Names of devices may hold anything on PipeWire; percent-encoded they are letters, digits and
    a few signs, which no server takes for syntax.
    """
    return (
        f"{OWNER_PROPERTY}={owner_token()} "
        f"sordino.source={quote(before.source, safe='')} "
        f"sordino.sink={quote(before.sink, safe='')}"
    )


def _start(pid: int) -> str:
    """Return when a process began, in clock ticks since boot; "" if there is no such process.

    Numbers of processes are used again; together with this they are not.
    """
    try:
        # proc(5): the 22nd field; the 2nd is in parentheses and may hold anything.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
