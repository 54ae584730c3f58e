"""What a WebRTC client offers, checked before any connection is made of it."""

from dataclasses import dataclass

from aiortc import RTCIceCandidate
from aiortc.sdp import MediaDescription, SessionDescription, candidate_from_sdp

from sordino.serve.errors import Refusal

MOST_BYTES = 32 << 10  # of an SDP; browsers send 2 to 6 kB
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
    if len(body) > MOST_BYTES:
        raise Refusal(413, "too_large", f"the offer has more than {MOST_BYTES} bytes")
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
    if len(body) > MOST_BYTES:
        raise Refusal(413, "too_large", f"the fragment has more than {MOST_BYTES} bytes")
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
    return candidates


def _bad(message: str) -> Refusal:
    return Refusal(400, "bad_offer", message)
