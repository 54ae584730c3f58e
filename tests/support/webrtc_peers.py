"""Real WebRTC clients over loopback, and a server in the same event loop."""

import asyncio
import re
from contextlib import asynccontextmanager
from fractions import Fraction

import httpx
import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.codecs.opus import OpusDecoder, OpusEncoder
from aiortc.jitterbuffer import JitterFrame
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av import AudioFrame, CodecContext, Packet

from sordino.serve.app import create_app
from sordino.serve.settings import ServerSettings

RATE = 48000
FRAME = RATE // 50
WINDOW = 32  # frames on their way; what the jitter buffers of both sides hold is less
DEADLINE = 180  # seconds, for whatever should happen within milliseconds

SDP = {"Content-Type": "application/sdp"}

opened = []  # clients that `serving` closes at its end


@asynccontextmanager
async def serving(**settings):
    """Run the application with its lifespan; yield what it shares, and an HTTP client."""
    app = create_app(ServerSettings(calibrate=False, requests_per_second=1e6, **settings))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
            try:
                yield app.state.sordino, http
            finally:  # aiortc's tasks outlive a cancellation: a test that fails would never end
                await asyncio.gather(*(client.close() for client in opened))
                opened.clear()


def closed(state, code):
    """Return how many streams ended so, as Prometheus is told."""
    text = state.metrics.text().decode()
    found = re.search(rf'sordino_streams_closed_total{{code="{code}"}} (\S+)', text)
    return float(found[1]) if found else 0


async def until(condition):
    """Wait until something is so."""
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.01)


class Microphone(MediaStreamTrack):
    """Sends a sound, then silence.

    Args:
        sound: at 48 kHz, mono.
        pace: returns how many frames may be sent by now; None goes by the clock.
    """

    kind = "audio"

    def __init__(self, sound=(), pace=None):
        super().__init__()
        self.pace = pace
        self.sent = 0  # frames
        self._sound = np.asarray(sound, np.float32)

    async def recv(self):
        if self.readyState != "live":
            raise MediaStreamError
        if self.pace is None:
            await asyncio.sleep(0.02)
        else:
            while self.sent >= self.pace():
                await asyncio.sleep(0.001)
        self.sent += 1
        return as_frame(self._sound, self.sent - 1)


class Flood(MediaStreamTrack):
    """Sends as fast as it can, in packets of 120 ms, the longest of Opus.

    Each costs as much as one of 20 ms, so a slow and busy machine is faster than real time, too.
    """

    kind = "audio"
    LENGTH = 6 * FRAME

    def __init__(self):
        super().__init__()
        encoder = CodecContext.create("libopus", "w")
        encoder.format, encoder.layout, encoder.sample_rate = "s16", "mono", RATE
        encoder.options = {"frame_duration": "120"}
        silence = AudioFrame.from_ndarray(np.zeros((1, self.LENGTH), np.int16), "s16", "mono")
        silence.sample_rate = RATE
        self._payload = bytes([*encoder.encode(silence), *encoder.encode()][0])
        self._sent = 0

    async def recv(self):
        if self.readyState != "live":
            raise MediaStreamError
        await asyncio.sleep(0)
        packet = Packet(self._payload)
        packet.time_base, packet.pts = Fraction(1, RATE), self._sent * self.LENGTH
        self._sent += 1
        return packet


class Client:
    """A WebRTC client: a microphone, ears, or both."""

    def __init__(self, microphone=None, direction="sendrecv"):
        opened.append(self)
        self.pc = RTCPeerConnection(RTCConfiguration([]))
        self.microphone = microphone
        self.heard = []  # blocks of mono sound
        self.location = None
        self._ears = None
        self.pc.addTransceiver(microphone or "audio", direction=direction)
        self.pc.on("track", self._listen)

    @property
    def sound(self):
        return np.concatenate([np.zeros(0, np.float32), *self.heard])

    def has_heard(self, seconds):
        return sum(map(len, self.heard)) >= seconds * RATE

    async def offer(self):
        await self.pc.setLocalDescription(await self.pc.createOffer())
        return self.pc.localDescription.sdp

    async def connect(self, http, path="/v1/webrtc", **params):
        """Do the handshake; return when the first frame may come."""
        response = await http.post(path, content=await self.offer(), headers=SDP, params=params)
        return await self.accept(response)

    async def accept(self, response):
        """Take the server's answer; return when the first frame may come."""
        assert response.status_code == 201, response.text
        assert response.headers["content-type"] == "application/sdp"
        self.location = response.headers["location"]
        await self.pc.setRemoteDescription(RTCSessionDescription(response.text, "answer"))
        await until(lambda: self.pc.connectionState == "connected")
        return self

    async def vanish(self):
        """Fall silent without a word, as a machine does that loses its network."""
        transceiver = self.pc.getTransceivers()[0]
        for protocol in transceiver.sender.transport.transport._connection._protocols:
            protocol.transport.abort()

    async def close(self):
        await self.pc.close()
        if self._ears is not None:
            self._ears.cancel()
            await asyncio.gather(self._ears, return_exceptions=True)

    def _listen(self, track):
        async def hear():
            while True:
                try:
                    frame = await track.recv()
                except MediaStreamError:
                    return
                self.heard.append(as_mono(frame))

        self._ears = asyncio.create_task(hear())


async def echo(http, sound, **params):
    """Send a sound as fast as it comes back; return what came back, aligned and as long."""
    client = Client(Microphone(sound))
    client.microphone.pace = lambda: len(client.heard) + WINDOW
    await client.connect(http, **params)
    await until(lambda: client.has_heard(len(sound) / RATE + 0.5))
    await client.close()
    return aligned(client.sound, sound)


def coded(sound):
    """Return a sound as it is after one way through the codec, without any network."""
    encoder, decoder, blocks = OpusEncoder(), OpusDecoder(), []
    for number in range(len(sound) // FRAME):
        payloads, time = encoder.encode(as_frame(sound, number))
        for payload in payloads:
            blocks += map(as_mono, decoder.decode(JitterFrame(payload, time)))
    return np.concatenate(blocks)


def as_frame(sound, number):
    """Return the 20 ms of a sound that have this number; silence lies behind its end."""
    block = sound[number * FRAME : (number + 1) * FRAME]
    samples = np.rint(np.pad(block, (0, FRAME - len(block))) * 32768)
    samples = samples.clip(-32768, 32767).astype(np.int16)
    frame = AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
    frame.sample_rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), number * FRAME
    return frame


def as_mono(frame):
    samples = frame.to_ndarray().reshape(-1, len(frame.layout.channels))
    return samples.mean(axis=1, dtype=np.float32) / 32768


def aligned(heard, reference):
    """Return the part of what was heard that lies on the reference."""
    size = 1 << (len(heard) + len(reference)).bit_length()
    spectrum = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(reference, size))
    delay = int(np.argmax(np.fft.irfft(spectrum)[: len(heard)]))
    part = heard[delay : delay + len(reference)]
    return np.pad(part, (0, len(reference) - len(part)))


def si_sdr(reference, estimate):
    """Return the scale-invariant signal-to-distortion ratio in dB (Le Roux et al., 2019)."""
    reference, estimate = reference.astype(np.float64), estimate.astype(np.float64)
    target = reference * (estimate @ reference) / (reference @ reference)
    return 10 * np.log10((target @ target) / (np.sum((estimate - target) ** 2) + 1e-12))
