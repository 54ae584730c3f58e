"""Streams of PulseAudio's client library, which both PulseAudio and PipeWire serve.

Why the library itself, through cffi, and not a package around it: a live denoiser needs
fragments of 10 ms, must notice within a moment that its device or server has gone, and must
never be moved to another device behind its back.  Servers like to move the stream of a microphone
that was unplugged to the next one, which might be Sordino's own.  `PA_STREAM_DONT_MOVE` forbids
that, and neither libpulse-simple (pasimple), `parec` and `pacat`, PortAudio nor `soundcard` can
set it; the last two do not survive a restart of the server either.

One thread for each stream runs the library's main loop, which stays in C between two callbacks: a
fragment takes Python's global lock once.  Returning to Python after every event of the loop would
take it several times, and wake the engine's thread each time.
"""

# No types: libpulse.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Literal

import numpy as np
from cffi import FFI

from sordino.arrays import Mono
from sordino.live.backends.base import raise_priority

LIBRARY = "libpulse.so.0"
MONO = (0,)  # channel map
SAMPLE_BYTES = 4  # float32
LATENCY_MOVES = 20  # fragments between two looks at the latency
OPENING_SECONDS = 3.0  # a server that has not answered by then counts as not there

# From pulse/{def,sample,mainloop,context,stream,proplist,error}.h, version 2 and newer.
_DECLARATIONS = """
typedef struct pa_mainloop pa_mainloop;
typedef struct pa_mainloop_api pa_mainloop_api;
typedef struct pa_context pa_context;
typedef struct pa_stream pa_stream;
typedef struct pa_proplist pa_proplist;
typedef struct { int format; uint32_t rate; uint8_t channels; } pa_sample_spec;
typedef struct { uint8_t channels; int map[32]; } pa_channel_map;
typedef struct {
    uint32_t maxlength; uint32_t tlength; uint32_t prebuf; uint32_t minreq; uint32_t fragsize;
} pa_buffer_attr;

pa_mainloop *pa_mainloop_new(void);
void pa_mainloop_free(pa_mainloop *m);
pa_mainloop_api *pa_mainloop_get_api(pa_mainloop *m);
int pa_mainloop_iterate(pa_mainloop *m, int block, int *retval);
int pa_mainloop_run(pa_mainloop *m, int *retval);
void pa_mainloop_quit(pa_mainloop *m, int retval);

pa_proplist *pa_proplist_new(void);
int pa_proplist_sets(pa_proplist *p, const char *key, const char *value);
void pa_proplist_free(pa_proplist *p);

pa_context *pa_context_new_with_proplist(pa_mainloop_api *a, const char *name, pa_proplist *p);
int pa_context_connect(pa_context *c, const char *server, int flags, void *spawn);
int pa_context_get_state(pa_context *c);
int pa_context_errno(pa_context *c);
void pa_context_disconnect(pa_context *c);
void pa_context_unref(pa_context *c);

pa_stream *pa_stream_new_with_proplist(pa_context *c, const char *name,
    const pa_sample_spec *spec, const pa_channel_map *map, pa_proplist *p);
int pa_stream_connect_record(pa_stream *s, const char *dev, const pa_buffer_attr *a, int flags);
int pa_stream_connect_playback(pa_stream *s, const char *dev, const pa_buffer_attr *a,
    int flags, void *volume, pa_stream *sync);
int pa_stream_get_state(pa_stream *s);
void pa_stream_set_read_callback(pa_stream *s, void (*cb)(pa_stream *, size_t, void *), void *u);
void pa_stream_set_write_callback(pa_stream *s, void (*cb)(pa_stream *, size_t, void *), void *u);
void pa_stream_set_state_callback(pa_stream *s, void (*cb)(pa_stream *, void *), void *u);
int pa_stream_get_latency(pa_stream *s, uint64_t *microseconds, int *negative);
size_t pa_stream_readable_size(pa_stream *s);
size_t pa_stream_writable_size(pa_stream *s);
int pa_stream_peek(pa_stream *s, const void **data, size_t *bytes);
int pa_stream_drop(pa_stream *s);
int pa_stream_write(pa_stream *s, const void *data, size_t bytes, void *free_cb,
    int64_t offset, int seek);
int pa_stream_disconnect(pa_stream *s);
void pa_stream_unref(pa_stream *s);
const char *pa_strerror(int error);
"""
_FLOAT32LE = 5
_READY, _FAILED = 4, 5  # of a context; beyond _FAILED: terminated
_STREAM_READY = 2  # 3 failed, 4 terminated
_NO_AUTOSPAWN = 1
_INTERPOLATE_TIMING, _AUTO_TIMING_UPDATE, _DONT_MOVE, _ADJUST_LATENCY = 0x2, 0x8, 0x200, 0x2000
_FLAGS = _INTERPOLATE_TIMING | _AUTO_TIMING_UPDATE | _DONT_MOVE | _ADJUST_LATENCY
_SERVER_DECIDES = 0xFFFFFFFF
_NOTHING = 2**64 - 1  # (size_t) -1: the call has failed

_ffi: Any = FFI()
_ffi.cdef(_DECLARATIONS)


class PulseError(Exception):
    """The server or the device does not answer, has gone or refuses; says what happened."""


@cache
def library() -> Any:
    """Return the loaded library.

    Raises:
        PulseError: it is not installed.
    """
    try:
        return _ffi.dlopen(LIBRARY)
    except OSError as error:
        raise PulseError(str(error)) from None


class PulseStream:
    """One stream of float32 between a device and this process, in a thread of its own.

    Args:
        direction: "record" from a source or "playback" to a sink.
        device: name of the source or sink.
        rate: in Hz; the server converts from and to the device's.
        step_seconds: how much sound is moved at once.  Of what is played the server has up to
            three times as much in store: one to be filled, two to bridge a delay.
        exchange: called in the thread with an array, shape = (samples,) or, where there are
            several channels, (samples * channels,), interleaved.  Recording: what came in; it
            is valid only during the call.  Playback: to be filled.
        title: what mixers show beside "Sordino".
        properties: more of the stream's property list.
        channel_map: positions of the channels (`pa_channel_position_t`).  With the map of the
            device itself its channels come unmixed.
    """

    def __init__(
        self,
        direction: Literal["record", "playback"],
        device: str,
        rate: int,
        step_seconds: float,
        exchange: Callable[[Mono], object],
        title: str,
        properties: Mapping[str, str] | None = None,
        channel_map: Sequence[int] = MONO,
    ) -> None:
        self.device, self.rate = device, rate
        self.channels = len(channel_map)
        self._map = _ffi.new("pa_channel_map *", (self.channels, list(channel_map)))
        self.failure: PulseError | None = None
        self.latency = 0.0  # seconds of sound between the device and this process
        self._recording = direction == "record"
        self._step = round(step_seconds * rate) * SAMPLE_BYTES
        self._exchange, self._title = exchange, title
        self._properties = {"application.name": "Sordino", **(properties or {})}
        self._answered = threading.Event()
        self._closing = False
        self._loop: Any = None
        self._lock = threading.Lock()  # guards _loop against being freed while it is woken
        # What moving sound needs, made once.
        self._block = np.zeros(rate * self.channels, np.float32)
        self._start = _ffi.from_buffer(self._block)
        self._data, self._size = _ffi.new("const void **"), _ffi.new("size_t *")
        self._moves = 0
        self._delay, self._negative = _ffi.new("uint64_t *"), _ffi.new("int *")
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Connect; returns when sound flows.

        Raises:
            PulseError: there is no server, or no such device.
        """
        library()
        self._thread = threading.Thread(target=self._run, name=f"pulse {self._title}", daemon=True)
        self._thread.start()
        if not self._answered.wait(OPENING_SECONDS):
            self.failure = PulseError("the sound server does not answer")
        if self.failure:
            self.close()
            raise self.failure

    @property
    def alive(self) -> bool:
        """Whether the stream is connected."""
        thread = self._thread
        return thread is not None and thread.is_alive() and not self._closing

    def close(self) -> None:
        """Disconnect; does nothing if that has happened already."""
        self._closing = True
        self._quit()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def _quit(self) -> None:
        """Let the main loop end, from any thread."""
        with self._lock:
            if self._loop is not None:
                library().pa_mainloop_quit(self._loop, 0)

    def _run(self) -> None:
        raise_priority()
        pulse = library()
        loop = pulse.pa_mainloop_new()
        context = stream = None
        with self._lock:
            self._loop = loop
        try:
            context = self._connected(pulse, loop)
            stream = self._started(pulse, loop, context)
            callbacks = self._listen(pulse, context, stream)
            self._answered.set()
            pulse.pa_mainloop_run(loop, _ffi.NULL)
            del callbacks  # the library used them until here
        except PulseError as error:
            self.failure = error
        finally:
            if stream is not None:
                pulse.pa_stream_set_state_callback(stream, _ffi.NULL, _ffi.NULL)
                pulse.pa_stream_disconnect(stream)
                pulse.pa_stream_unref(stream)
            if context is not None:
                pulse.pa_context_disconnect(context)
                pulse.pa_context_unref(context)
            with self._lock:
                self._loop = None
            pulse.pa_mainloop_free(loop)
            self._answered.set()

    def _listen(self, pulse: Any, context: Any, stream: Any) -> list[Any]:
        """Let the library call what moves sound; return what must be kept until it has ended."""

        def fail(_: object, error: Exception, __: object) -> None:
            self.failure = PulseError(str(error))
            self._quit()

        def move(_: Any, size: int, __: Any) -> None:
            self._move(pulse, stream, size)

        def check(_: Any, __: Any) -> None:
            self._check(pulse, context, pulse.pa_stream_get_state(stream), _STREAM_READY)

        request = _ffi.callback("void(pa_stream *, size_t, void *)", move, onerror=fail)
        change = _ffi.callback("void(pa_stream *, void *)", check, onerror=fail)
        pulse.pa_stream_set_state_callback(stream, change, _ffi.NULL)
        if self._recording:
            pulse.pa_stream_set_read_callback(stream, request, _ffi.NULL)
            move(stream, pulse.pa_stream_readable_size(stream), None)
        else:
            pulse.pa_stream_set_write_callback(stream, request, _ffi.NULL)
            move(stream, pulse.pa_stream_writable_size(stream), None)
        check(stream, None)
        return [request, change]

    def _turn(self, pulse: Any, loop: Any, context: Any) -> None:
        """Wait for the next event and let the library handle it."""
        if pulse.pa_mainloop_iterate(loop, 1, _ffi.NULL) < 0:
            raise _error(pulse, context)

    def _check(self, pulse: Any, context: Any, state: int, good: int) -> bool:
        """Return whether a state is reached; raise if it will never be."""
        if state > good:
            raise _error(pulse, context)
        return state == good

    def _connected(self, pulse: Any, loop: Any) -> Any:
        properties = _proplist(pulse, self._properties)
        context = pulse.pa_context_new_with_proplist(
            pulse.pa_mainloop_get_api(loop), b"Sordino", properties
        )
        pulse.pa_proplist_free(properties)
        if pulse.pa_context_connect(context, _ffi.NULL, _NO_AUTOSPAWN, _ffi.NULL) < 0:
            raise _error(pulse, context)
        while not self._check(pulse, context, pulse.pa_context_get_state(context), _READY):
            if self._closing:
                raise PulseError("closed while opening")
            self._turn(pulse, loop, context)
        return context

    def _started(self, pulse: Any, loop: Any, context: Any) -> Any:
        spec = _ffi.new("pa_sample_spec *", (_FLOAT32LE, self.rate, self.channels))
        properties = _proplist(pulse, self._properties)
        stream = pulse.pa_stream_new_with_proplist(
            context, self._title.encode(), spec, self._map, properties
        )
        pulse.pa_proplist_free(properties)
        if not stream:
            raise _error(pulse, context)
        device = self.device.encode()
        if self._recording:
            sizes = (_SERVER_DECIDES,) * 4 + (self._step * self.channels,)
            attr = _ffi.new("pa_buffer_attr *", sizes)
            failed = pulse.pa_stream_connect_record(stream, device, attr, _FLAGS)
        else:
            # No pre-buffering: after a gap the sound goes on at once.
            sizes = (_SERVER_DECIDES, 3 * self._step, 0, self._step, _SERVER_DECIDES)
            attr = _ffi.new("pa_buffer_attr *", sizes)
            failed = pulse.pa_stream_connect_playback(
                stream, device, attr, _FLAGS, _ffi.NULL, _ffi.NULL
            )
        if failed < 0:
            raise _error(pulse, context)
        while not self._check(pulse, context, pulse.pa_stream_get_state(stream), _STREAM_READY):
            if self._closing:
                raise PulseError("closed while opening")
            self._turn(pulse, loop, context)
        return stream

    def _move(self, pulse: Any, stream: Any, size: int) -> None:
        """Take or give as many bytes as the server has announced."""
        if size == _NOTHING:
            return
        if self._recording:
            self._take(pulse, stream, size)
        elif size >= SAMPLE_BYTES:
            self._give(pulse, stream, size)
        self._moves += 1
        if self._moves % LATENCY_MOVES == 1:
            self._note_latency(pulse, stream)

    def _note_latency(self, pulse: Any, stream: Any) -> None:
        if pulse.pa_stream_get_latency(stream, self._delay, self._negative) == 0:
            self.latency = 0.0 if self._negative[0] else self._delay[0] * 1e-6

    def _take(self, pulse: Any, stream: Any, left: int) -> None:
        while left > 0:
            pulse.pa_stream_peek(stream, self._data, self._size)
            data, size = self._data[0], self._size[0]
            if not size:
                return
            if data == _ffi.NULL:  # a hole: sound that got lost
                self._exchange(np.zeros(size // SAMPLE_BYTES, np.float32))
            else:
                self._exchange(np.frombuffer(_ffi.buffer(data, size), np.float32))
            pulse.pa_stream_drop(stream)
            left -= size

    def _give(self, pulse: Any, stream: Any, size: int) -> None:
        block = self._block[: size // SAMPLE_BYTES]
        self._exchange(block)
        pulse.pa_stream_write(stream, self._start, block.nbytes, _ffi.NULL, 0, 0)


def _proplist(pulse: Any, properties: Mapping[str, str]) -> Any:
    result = pulse.pa_proplist_new()
    for key, value in properties.items():
        pulse.pa_proplist_sets(result, key.encode(), value.encode())
    return result


def _error(pulse: Any, context: Any) -> PulseError:
    words: bytes = _ffi.string(pulse.pa_strerror(pulse.pa_context_errno(context)))
    return PulseError(words.decode().lower())
