"""What an SDP offer must contain before anything is spent on it. Pure.

Rules
- A caller offers an audio section with Opus, and perhaps a data section (``oai-events``). The first
  of each is answered. Any other section (video, a second audio, one that the caller has switched
  off) is refused in the answer by port 0, and the call continues without it.
- Other codecs, RED and extensions are ignored.
- If the section that leads the bundle is refused, the first answered one leads it, with the
  transport lines of the refused one. If both share one transport from the start (``max-bundle``),
  the leader is answered as inactive instead: Chromium closes the transport of a leader with
  port 0, and the call with it ("Failed to setup RTCP mux").

Source: RFC 8866, RFC 8843 (bundles), RFC 9429; the shape of a browser's offer.
"""

from dataclasses import dataclass

from aiortc import RTCIceCandidate, sdp

MAX_OFFER_BYTES = 64 * 1024
MAX_SECTIONS = 128
MAX_SECTION_LINES = 400
"""Of a section that is answered: the parser compares its lines with one another. Browsers send
about 100, and one for each candidate."""
PARSER_FAULTS = (
    ValueError,
    LookupError,
    AttributeError,
    AssertionError,
    TypeError,
    StopIteration,
)
"""What aiortc's SDP parser raises for broken lines (found by the fuzz test)."""
_ANSWERED = ("audio", "application")
_BUNDLE = "a=group:BUNDLE"
_TRANSPORT = ("ice-ufrag", "ice-pwd", "ice-options", "fingerprint", "setup", "candidate")
"""Attributes that all sections of a bundle share."""
_SHARED = ("c=", "a=rtcp", *(f"a={name}" for name in _TRANSPORT), "a=end-of-candidates")
"""Lines that the sections of an answer's bundle share."""

Section = list[str]
"""The lines of a section; the first one begins with m=."""


class OfferError(ValueError):
    """The offer cannot be answered; the message says what is wrong and what to send."""


@dataclass(frozen=True, slots=True)
class Offer:
    """An offer that can be answered: its SDP without candidates and refused sections, and the
    candidates that matter.

    A browser that has finished gathering lists candidates in every section; only those of the
    section that leads the bundle are used."""

    sdp: str
    candidates: tuple[RTCIceCandidate, ...]
    ufrag: str
    """The caller's ICE user fragment (RFC 8839)."""
    refused: tuple[tuple[int, str], ...] = ()
    """For each: its place among the offer's sections, and its lines in the answer."""
    inactive: str | None = None
    """The answer's lines, except the transport's, for a first section that leads the bundle and is
    not used."""

    def whole_answer(self, answer: str) -> str:
        """The answer to ``sdp``, with the refused sections in their places."""
        head, sections = _split(answer.splitlines())
        if self.inactive is not None:
            section = self.inactive.splitlines()
            shared = [line for line in sections[0] if line.startswith(_SHARED)]
            port = sections[0][0].split(" ")[1]
            first = section[0].replace(" 0 ", f" {port} ", 1)
            sections.insert(0, [first, *shared, *section[1:]])
            lead = f"{_BUNDLE} {_value(section, 'mid')}"
            head = [line.replace(_BUNDLE, lead, 1) for line in head]
        for place, section_text in self.refused:
            sections.insert(place, section_text.splitlines())
        return _joined(head, sections)


def check_offer(text: str) -> Offer:
    """Read an offer; raises OfferError for anything unusable."""
    if not text.lstrip().startswith("v=0"):
        raise OfferError("this is not SDP: an offer begins with v=0")
    whole_head, sections = _split([line.strip() for line in text.strip().splitlines()])
    refused = _refused(sections)
    head, kept_sections = _without(whole_head, sections, refused)
    whole = _joined(head, kept_sections)
    try:
        description = sdp.SessionDescription.parse(whole)
    except PARSER_FAULTS as fault:
        raise OfferError(f"the SDP cannot be read: {fault or type(fault).__name__}") from fault
    _check_sections(description)
    lines = whole.splitlines()
    kept = (line for line in lines if not line.startswith(("a=candidate:", "a=end-of-candidates")))
    leader = _leading_section(description)
    ufrag = (leader.ice.usernameFragment if leader.ice else None) or ""
    inactive = _unused_leader(whole_head, sections, refused)
    return Offer(
        "\r\n".join(kept) + "\r\n",
        tuple(leader.ice_candidates),
        ufrag,
        tuple((n, _refusal(sections[n])) for n in refused if n or inactive is None),
        inactive,
    )


# ---------------------------------------------------------------- refused sections


def _refused(sections: list[Section]) -> list[int]:
    """The indices of the sections that are not answered; raises OfferError."""
    if len(sections) > MAX_SECTIONS:
        raise OfferError(f"the offer has more than {MAX_SECTIONS} sections")
    answered: set[str] = set()
    refused = []
    for place, section in enumerate(sections):
        kind = _kind(section)
        if kind not in _ANSWERED or kind in answered or _is_off(section):
            refused.append(place)
        elif len(section) > MAX_SECTION_LINES:
            raise OfferError(f"the {kind} section has more than {MAX_SECTION_LINES} lines")
        else:
            answered.add(kind)
    return refused


def _without(
    head: Section, sections: list[Section], refused: list[int]
) -> tuple[Section, list[Section]]:
    """The offer without its refused sections."""
    kept = [section for place, section in enumerate(sections) if place not in refused]
    gone = {_value(sections[place], "mid") for place in refused}
    bundled = next((line.split()[1:] for line in head if line.startswith(_BUNDLE)), [])
    left = [mid for mid in bundled if mid not in gone]
    if bundled and left and bundled[0] != left[0]:
        leader = next((s for s in sections if _value(s, "mid") == bundled[0]), [])
        kept = [_leading(s, leader) if _value(s, "mid") == left[0] else s for s in kept]
    if len(left) < len(bundled):
        group = [" ".join([_BUNDLE, *left])] if left else []
        head = [line for line in head if not line.startswith(_BUNDLE)] + group
    return head, kept


def _leading(section: Section, leader: Section) -> Section:
    """A section that leads the bundle instead of ``leader``."""
    own = {name for name in _TRANSPORT if _value(section, name) is not None}
    lent = tuple(f"a={name}:" for name in _TRANSPORT if name not in own)
    media = section[0].split(" ")
    if len(media) > 1 and media[1] == "0":
        media[1] = "9"
    rest = [line for line in section[1:] if line != "a=bundle-only"]
    return [" ".join(media), *rest, *(line for line in leader if line.startswith(lent))]


def _refusal(section: Section) -> str:
    """How the answer refuses a section (RFC 3264, 6)."""
    kind, _, *rest = section[0].split(" ") if section[0].count(" ") > 1 else (section[0], "", "")
    mid = _value(section, "mid")
    lines = [" ".join([kind, "0", *rest]), "c=IN IP4 0.0.0.0", "a=inactive"]
    return "\r\n".join([*lines, f"a=mid:{mid}"] if mid is not None else lines)


def _unused_leader(head: Section, sections: list[Section], refused: list[int]) -> str | None:
    """The answer's lines for a refused first section whose transport the others use."""
    bundled = next((line.split()[1:] for line in head if line.startswith(_BUNDLE)), [])
    if not bundled or not refused or refused[0] or _is_off(sections[0]):
        return None
    if _value(sections[0], "mid") != bundled[0] or _kind(sections[0]) not in ("audio", "video"):
        return None
    others = [s for place, s in enumerate(sections) if place not in refused]
    mine, theirs = _value(sections[0], "ice-ufrag"), [_value(s, "ice-ufrag") for s in others]
    if not theirs or theirs[0] not in (mine, None):
        return None
    codecs = [line for line in sections[0] if line.startswith(("a=rtpmap:", "a=fmtp:"))]
    lines = [line for line in _refusal(sections[0]).splitlines() if not line.startswith("c=")]
    return "\r\n".join([*lines, *codecs])


def _is_off(section: Section) -> bool:
    """Whether the caller has switched the section off (a bundle-only one also has port 0)."""
    port = section[0].split(" ")[1:2]
    return port == ["0"] and "a=bundle-only" not in section


def _kind(section: Section) -> str:
    return section[0].removeprefix("m=").partition(" ")[0]


def _value(section: Section, name: str) -> str | None:
    """The value of an attribute's first line."""
    prefix = f"a={name}:"
    return next((line[len(prefix) :] for line in section if line.startswith(prefix)), None)


def _split(lines: list[str]) -> tuple[Section, list[Section]]:
    """The lines of the session part, and of each section."""
    head: Section = []
    sections: list[Section] = []
    for line in lines:
        if line.startswith("m="):
            sections.append([line])
        else:
            (sections[-1] if sections else head).append(line)
    return head, sections


def _joined(head: Section, sections: list[Section]) -> str:
    lines = [*head, *(line for section in sections for line in section)]
    return "\r\n".join(lines) + "\r\n"


# ---------------------------------------------------------------- what is answered


def _check_sections(description: sdp.SessionDescription) -> None:
    kinds = [media.kind for media in description.media]
    if "audio" not in kinds:
        raise OfferError("the offer needs an audio section (m=audio) with Opus, and has none")
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
