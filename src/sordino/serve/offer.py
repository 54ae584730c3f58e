"""What a WebRTC client offers, checked before any connection is made of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from aiortc import RTCIceCandidate
from aiortc.sdp import MediaDescription, SessionDescription, candidate_from_sdp

from sordino.serve.errors import Refusal

MOST_BYTES = 32 << 10  # of an SDP; browsers send 2 to 6 kB
MOST_LINES = 200  # browsers write 60 to 100
MOST_CODECS = 30  # browsers name 10; aiortc's parser takes each with each line of feedback
MOST_CANDIDATES = 32  # addresses that the server tries to reach, however many are named


@dataclass(frozen=True)
class Offer:
    """An SDP offer of one audio track.

    Args:
        sdp: as it came.
        sends, receives: what the client wants to do.
        candidates: addresses in it.
    """

    sdp: str
    sends: bool
    receives: bool
    candidates: int


def read_offer(body: bytes) -> Offer:
    """Check an offer.

    Raises:
        Refusal: it is none, or not one of one Opus track.
    """
    _check_size(body)
    try:
        sdp = body.decode("utf-8")
        description = SessionDescription.parse(sdp)
    except Exception as error:  # the parser raises whatever it stumbles over
        raise _bad("the body is no SDP offer that can be read") from error
    media = description.media
    if len(media) != 1 or media[0].kind != "audio" or not media[0].port:
        raise _bad("offer one audio track and nothing else")
    return _checked(sdp, media[0])


def _checked(sdp: str, media: MediaDescription) -> Offer:
    if not any(codec.mimeType.lower() == "audio/opus" for codec in media.rtp.codecs):
        raise _bad("offer the codec Opus")
    if not (media.ice and media.ice.usernameFragment and media.ice.password):
        raise _bad("the offer lacks a=ice-ufrag or a=ice-pwd")
    if not (media.dtls and media.dtls.fingerprints):
        raise _bad("the offer lacks a=fingerprint or a=setup")
    if not media.rtcp_mux or not media.rtp.muxId:
        raise _bad("the offer lacks a=rtcp-mux or a=mid")
    _check_ports(media.ice_candidates)
    if len(media.ice_candidates) > MOST_CANDIDATES:
        raise _bad(f"the offer names more than {MOST_CANDIDATES} candidates")
    direction = media.direction or "sendrecv"
    return Offer(
        sdp,
        sends=direction in ("sendrecv", "sendonly"),
        receives=direction in ("sendrecv", "recvonly"),
        candidates=len(media.ice_candidates),
    )


def read_candidates(body: bytes) -> list[RTCIceCandidate | None]:
    """Read a trickle-ICE fragment (RFC 8840); None stands for the end of candidates.

    Raises:
        Refusal: it is none.
    """
    _check_size(body)
    candidates: list[RTCIceCandidate | None] = []
    try:
        for line in body.decode("utf-8").splitlines():
            if line.startswith("a=candidate:"):
                candidate = candidate_from_sdp(line.removeprefix("a=candidate:"))
                candidate.sdpMLineIndex = 0  # there is one track
                candidates.append(candidate)
            elif line.startswith("a=end-of-candidates"):
                candidates.append(None)
    except Exception as error:  # the parser raises whatever it stumbles over
        raise _bad("the body is no trickle-ICE fragment that can be read") from error
    _check_ports([each for each in candidates if each is not None])
    return candidates


def _check_size(body: bytes) -> None:
    lines = body[: MOST_BYTES + 1].decode("utf-8", "replace").splitlines()  # as the parser does
    codecs = sum(line.startswith("a=rtpmap") for line in lines)
    if len(body) > MOST_BYTES or len(lines) > MOST_LINES or codecs > MOST_CODECS:
        raise Refusal(
            413,
            "too_large",
            f"at most {MOST_BYTES} bytes, {MOST_LINES} lines and {MOST_CODECS} codecs are taken",
        )


def _check_ports(candidates: Sequence[RTCIceCandidate]) -> None:
    if not all(0 <= each.port <= 0xFFFF for each in candidates):
        raise _bad("a candidate has a port that there is not")


def _bad(message: str) -> Refusal:
    return Refusal(400, "bad_offer", message)
