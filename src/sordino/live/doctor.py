"""Checks whether live use works on this machine; each says what it found and how to fix it."""

import os
import platform
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from sordino.benchmark import COMFORTABLE, LIVE_LATENCY, STEP_SECONDS, bench
from sordino.errors import SordinoError
from sordino.live.backends import MICROPHONE, Backend, Device, choose_backend
from sordino.live.backends.base import DeviceLost
from sordino.live.config import LiveSettings
from sordino.live.latency import loop_latency
from sordino.live.monitor import SILENCE_DBFS, Status
from sordino.live.session import Session

Level = Literal["ok", "warn", "fail"]

BENCH_SECONDS = 3.0
RUN_SECONDS = 5.0
SETTLE_SECONDS = 1.0  # of a session, before xruns count: servers adapt their buffers at first
START_SECONDS = 5.0  # until a session that does not run counts as not running
NARROW_RATE = 16000  # Hz; at this and below, a headset runs in its mode for calls
POLL_SECONDS = 0.1
SLOW_LOOP = 0.1  # seconds; more is heard as a delay in talk
PACKAGES = ("numpy", "onnxruntime", "soxr", "pulsectl", "sounddevice")

_BUSY = "close programs that keep the processor busy, or choose a smaller model (`--model`)"
_PIPEWIRE = "pipewire pipewire-pulse wireplumber"
_START_SERVER = f"start it: `systemctl --user start {_PIPEWIRE}`, or `pulseaudio --start`"
_RESTART_SERVER = f"restart it: `systemctl --user restart {_PIPEWIRE}`, or `pulseaudio -k`"
_BIG_BUFFERS = (
    "the sound server uses large buffers: look for `default.clock.quantum` (PipeWire) or "
    "`default-fragment-size-msec` (PulseAudio) in its configuration"
)


@dataclass(frozen=True)
class Check:
    """One line of the report.

    Args:
        name: what was looked at.
        level: "ok", "warn" (it works, but not as well as it could) or "fail" (it does not).
        found: what there is.
        advice: how to fix it; "" if all is well.
    """

    name: str
    level: Level
    found: str
    advice: str = ""


def examine(settings: LiveSettings) -> Iterator[Check]:
    """Check everything that `sordino live` with these settings needs, one by one.

    It takes some ten seconds, most of them to count xruns and to time the model.
    """
    yield _versions()
    yield _model(settings)
    yield from _permissions()
    try:
        backend = choose_backend()
    except SordinoError as error:
        yield Check("sound server", "fail", *_halves(str(error)))
        return
    try:
        yield from _sound(backend, settings)
    finally:
        backend.close()


def _versions() -> Check:
    packages = [f"{name} {found}" for name in PACKAGES if (found := _version(name))]
    python = f"Python {platform.python_version()}"
    machine = f"{platform.system()} {platform.release()}"
    found = ", ".join([f"sordino {_version('sordino')}", python, machine, *packages])
    return Check("versions", "ok", found)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _model(settings: LiveSettings) -> Check:
    """Can the model be loaded, and how much of the processor does it take?"""
    try:
        model = settings.load_models()[0]
        result = bench(model, settings.sample_rate, BENCH_SECONDS)
    except SordinoError as error:
        return Check("model and CPU", "fail", *_halves(str(error)))
    found = f"{result.model}: {result.verdict}"
    if result.live >= 1 or result.latency > LIVE_LATENCY:
        return Check("model and CPU", "fail", found, "choose a smaller model (`sordino models`)")
    if result.live > COMFORTABLE or result.step_p99_ms > 1000 * STEP_SECONDS:
        return Check("model and CPU", "warn", found, _BUSY)
    return Check("model and CPU", "ok", found)


def _permissions() -> Iterator[Check]:
    if sys.platform != "linux":
        return
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if not runtime:
        advice = "start it from a desktop session or a login shell, not through `su`"
        yield Check("permissions", "warn", "XDG_RUNTIME_DIR is not set", advice)
    elif not os.path.isdir(runtime) or Path(runtime).stat().st_uid != os.getuid():
        found = f"XDG_RUNTIME_DIR is {runtime}, which is not this user's"
        yield Check("permissions", "fail", found, "run it as yourself, without `sudo` or `su`")
    else:
        yield Check("permissions", "ok", f"{runtime} is this user's")
    if _realtime_allowed():
        yield Check("priority", "ok", "threads may run at real-time priority")
    else:
        yield Check(
            "priority",
            "warn",
            "threads may not run at real-time priority: sound may break up under load",
            "write `@audio - rtprio 20` into /etc/security/limits.d/audio.conf, add yourself "
            "with `sudo usermod -aG audio $USER`, and log in again",
        )


def _realtime_allowed() -> bool:
    allowed: list[bool] = []

    def attempt() -> None:  # in a thread of its own, whose priority nothing else has
        try:
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
            allowed.append(True)
        except OSError:
            pass

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    return bool(allowed)


def _sound(backend: Backend, settings: LiveSettings) -> Iterator[Check]:
    try:
        backend.devices()
    except DeviceLost as error:
        yield Check("sound server", "fail", str(error), _START_SERVER)
        return
    yield Check("sound server", "ok", backend.name)
    yield from _devices(backend, settings)
    yield from _virtual_microphone(backend, settings)


def _devices(backend: Backend, settings: LiveSettings) -> Iterator[Check]:
    try:
        microphone = backend.find_input(settings.input)
        yield Check("microphone", "ok", _described(microphone))
        if microphone.rate <= NARROW_RATE:
            yield Check(
                "rates",
                "warn",
                f"the microphone runs at {microphone.rate} Hz, which sounds dull",
                "a Bluetooth headset in its mode for calls does: use its cable, or another "
                "microphone (`--input`)",
            )
        else:
            yield Check("rates", "ok", _conversion(microphone, settings))
    except DeviceLost as error:
        yield Check("microphone", "fail", *_halves(str(error)))
    try:
        yield Check("loudspeaker", "ok", _described(backend.find_output(None)))
    except DeviceLost as error:
        yield Check("loudspeaker", "warn", *_halves(str(error)))


def _described(device: Device) -> str:
    channels = "1 channel" if device.channels == 1 else f"{device.channels} channels"
    return f"{device.label}, {device.rate} Hz, {channels}"


def _conversion(microphone: Device, settings: LiveSettings) -> str:
    if microphone.rate == settings.sample_rate:
        return f"{microphone.rate} Hz everywhere, nothing is converted"
    return f"{microphone.rate} Hz is converted to {settings.sample_rate} Hz"


def _virtual_microphone(backend: Backend, settings: LiveSettings) -> Iterator[Check]:
    """Make the virtual microphone for a while, and run a session into it."""
    name = "virtual microphone"
    there = False
    with ExitStack() as stack:
        try:
            there = any(each.virtual for each in backend.devices())
            feed = stack.enter_context(backend.virtual_microphone())
            seconds = loop_latency(backend, MICROPHONE, settings.sample_rate)
        except SordinoError as error:
            yield Check(name, "warn" if there else "fail", *_halves(str(error)))
            return
        except DeviceLost as error:
            yield Check(name, "fail", str(error), _RESTART_SERVER)
            return
        if seconds is None:
            found = "it can be made, but no sound comes through"
            yield Check(name, "fail", found, _RESTART_SERVER)
            return
        found = f"sound goes through it in {1000 * seconds:.0f} ms"
        slow = seconds > SLOW_LOOP
        yield Check(name, "warn" if slow else "ok", found, _BIG_BUFFERS if slow else "")
        yield from _session(backend, replace(settings, output=feed, virtual_mic=False))


def _session(backend: Backend, settings: LiveSettings) -> Iterator[Check]:
    """Run the real thing for some seconds; what it cannot start with was reported before."""
    try:
        backend.find_input(settings.input)
        with Session(settings, backend) as session:
            seen = _watch(session)
    except (SordinoError, DeviceLost):
        return
    if not seen[-1].seconds:
        reason = seen[-1].reason or "no sound came from the microphone"
        yield Check("xruns", "fail", reason, "choose another microphone (`--input`)")
        return
    settled = [each for each in seen if each.seconds >= SETTLE_SECONDS]
    yield _xruns(settled[0] if settled else seen[-1], seen[-1])
    if max(each.input_dbfs for each in seen) <= SILENCE_DBFS:
        advice = "unmute it, or allow this program to hear it in the system's privacy settings"
        yield Check("hearing", "warn", "the microphone sends digital silence", advice)
    else:
        loudest = max(each.input_dbfs for each in seen)
        yield Check("hearing", "ok", f"the microphone hears up to {loudest:.0f} dBFS")


def _watch(session: Session) -> list[Status]:
    """Return what the session says from moment to moment; waits for it to begin, and then on."""
    seen = [session.status()]
    wanted, begin = SETTLE_SECONDS + RUN_SECONDS, time.monotonic()
    while True:
        time.sleep(POLL_SECONDS)
        seen.append(session.status())
        heard, elapsed = seen[-1].seconds, time.monotonic() - begin
        if heard >= wanted or elapsed >= wanted + START_SECONDS:
            return seen
        if not heard and elapsed >= START_SECONDS:
            return seen


def _xruns(settled: Status, last: Status) -> Check:
    """Judge the time between two moments."""
    number, seconds = last.underruns - settled.underruns, last.seconds - settled.seconds
    count = "1 xrun" if number == 1 else f"{number} xruns"
    found = f"{count} in {seconds:.0f} s, {100 * last.cpu_share:.0f} % of one core"
    if last.state == "bypassed":
        return Check("xruns", "fail", f"{found}; bypassed: {last.reason}", _BUSY)
    if number:
        advice = "close programs that keep the processor busy, and see `priority` above"
        return Check("xruns", "warn", found, advice)
    return Check("xruns", "ok", found)


def _halves(message: str) -> tuple[str, str]:
    """Split "what is wrong: how to fix it"."""
    found, _, advice = message.partition(": ")
    return found, advice
