"""What an SDP offer must hold before anything is spent on it. Pure.

A caller offers one audio section with Opus, bundled with at most one data section
(``oai-events``); everything else in the offer (video, other codecs, red, extensions) is refused
by the answer or ignored. Source: RFC 8866, RFC 9429; the shape of a browser's offer.
"""

from dataclasses import dataclass

from aiortc import RTCIceCandidate, sdp

MAX_OFFER_BYTES = 64 * 1024
PARSER_FAULTS = (
    ValueError,
    LookupError,
    AttributeError,
    AssertionError,
    TypeError,
    StopIteration,
)
"""What aiortc's SDP parser raises for one broken line or another (found by the fuzz test)."""


class OfferError(ValueError):
    """The offer cannot be answered; the message says what is wrong and what to send."""


@dataclass(frozen=True, slots=True)
class Offer:
    """An offer that can be answered: its SDP without candidates, and the candidates that count.

    A browser that has gathered lists candidates in every section; only those of the section that
    leads the bundle will ever be used."""

    sdp: str
    candidates: tuple[RTCIceCandidate, ...]
    ufrag: str
    """The caller's ICE user fragment (RFC 8839)."""


def check_offer(text: str) -> Offer:
    """Read an offer; raises OfferError for anything unusable."""
    if not text.lstrip().startswith("v=0"):
        raise OfferError("this is no SDP: an offer begins with v=0")
    lines = [line.strip() for line in text.strip().splitlines()]
    try:
        description = sdp.SessionDescription.parse("\r\n".join(lines) + "\r\n")
    except PARSER_FAULTS as fault:
        raise OfferError(f"the SDP cannot be read: {fault or type(fault).__name__}") from fault
    _check_sections(description)
    kept = (line for line in lines if not line.startswith(("a=candidate:", "a=end-of-candidates")))
    leader = _leading_section(description)
    ufrag = (leader.ice.usernameFragment if leader.ice else None) or ""
    return Offer("\r\n".join(kept) + "\r\n", tuple(leader.ice_candidates), ufrag)


def _check_sections(description: sdp.SessionDescription) -> None:
    kinds = [media.kind for media in description.media]
    if kinds.count("audio") != 1 or kinds.count("application") > 1 or "video" in kinds:
        raise OfferError(
            "the offer needs exactly one audio section, at most one data channel and no video; "
            f"it has {kinds or 'none'}"
        )
    for media in description.media:
        if media.ice is None or not media.ice.usernameFragment or not media.ice.password:
            raise OfferError(f"the {media.kind} section lacks a=ice-ufrag or a=ice-pwd")
        if media.dtls is None or not media.dtls.fingerprints:
            raise OfferError(f"the {media.kind} section lacks a=fingerprint")
    audio = description.media[kinds.index("audio")]
    if not any(codec.mimeType.lower() == "audio/opus" for codec in audio.rtp.codecs):
        raise OfferError("the audio section offers no Opus: add opus/48000/2")
    if not audio.rtcp_mux:
        raise OfferError("the audio section lacks a=rtcp-mux")


def _leading_section(description: sdp.SessionDescription) -> sdp.MediaDescription:
    bundle = next((group for group in description.group if group.semantic == "BUNDLE"), None)
    leader = str(bundle.items[0]) if bundle is not None and bundle.items else None
    for media in description.media:
        if media.rtp.muxId == leader:
            return media
    return description.media[0]
