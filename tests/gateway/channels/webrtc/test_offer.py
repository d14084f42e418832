"""Which offers are accepted: a browser's, and no garbage."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.channels.webrtc.offer import OfferError, check_offer
from tests.support.examples import examples
from tests.support.paths import CHROMIUM_OFFER

CHROMIUM = CHROMIUM_OFFER.read_bytes().decode()


def audio_section(offer: str) -> str:
    return offer[offer.index("m=audio") : offer.index("m=application")]


def test_an_offer_from_chromium_is_accepted():
    offer = check_offer(CHROMIUM)
    assert "a=candidate" not in offer.sdp
    assert "a=rtpmap:63 red/48000/2" in offer.sdp
    ports = {candidate.port for candidate in offer.candidates if candidate.protocol == "udp"}
    assert ports == {44441, 58434}, "the data section's candidates are never used"


def test_bare_newlines_are_accepted_like_crlf():
    assert check_offer(CHROMIUM.replace("\r\n", "\n")) == check_offer(CHROMIUM)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda s: "", "not SDP"),
        (lambda s: "hello", "not SDP"),
        (lambda s: "v=0\r\n", "needs an audio section"),
        (lambda s: s.replace("m=audio 44441", "m=audio 0"), "needs an audio section"),
        (lambda s: s.replace("m=audio", "m=video"), "needs an audio section"),
        (lambda s: s.replace("opus/48000", "speex/8000"), "no Opus"),
        (lambda s: s.replace("a=ice-pwd", "a=ice-pw"), "ice-pwd"),
        (lambda s: s.replace("a=fingerprint", "a=finger"), "fingerprint"),
        (lambda s: s.replace("a=rtcp-mux\r\n", ""), "rtcp-mux"),
        (lambda s: s.replace("m=audio 44441", "m=audio many"), "cannot be read"),
        (lambda s: s + "m=\r\n" * 16_000, "more than 128 sections"),
        (lambda s: s + "a=ssrc:1 cname:x\r\n" * 400, "more than 400 lines"),
    ],
)
def test_an_offer_without_an_answer_is_refused_with_a_reason(change, complaint):
    with pytest.raises(OfferError, match=complaint):
        check_offer(change(CHROMIUM))


def video(mid: str) -> str:
    """A video section as a browser offers one, bundled or not."""
    return (
        audio_section(CHROMIUM)
        .replace("m=audio 44441 UDP/TLS/RTP/SAVPF", "m=video 44999 UDP/TLS/RTP/SAVPF 96")
        .replace("a=mid:0", f"a=mid:{mid}")
    )


@pytest.mark.parametrize("kind", ["video", "audio", "text", "application"])
def test_a_section_that_is_not_answered_is_refused_by_its_port(kind: str) -> None:
    plain = check_offer(CHROMIUM)
    more = video("9").replace("m=video", f"m={kind}")
    bundled = CHROMIUM.replace("a=group:BUNDLE 0 1", "a=group:BUNDLE 0 1 9")
    offer = check_offer(bundled + more)
    assert (offer.sdp.count("m="), offer.ufrag) == (2, plain.ufrag)
    assert sorted(offer.sdp.splitlines()) == sorted(plain.sdp.splitlines())
    assert offer.candidates == plain.candidates
    answer = offer.whole_answer("v=0\r\na=group:BUNDLE 0 1\r\nm=audio 1\r\nm=application 2\r\n")
    lines = answer.splitlines()
    assert lines[4].startswith(f"m={kind} 0 UDP/TLS/RTP/SAVPF 96 ")
    assert lines[5:] == ["c=IN IP4 0.0.0.0", "a=inactive", "a=mid:9"]


def test_the_section_behind_a_refused_leader_leads() -> None:
    audio = audio_section(CHROMIUM)
    bare = "".join(
        line
        for line in audio.replace("m=audio 44441", "m=audio 0").splitlines(keepends=True)
        if not line.startswith(("a=ice-", "a=fingerprint", "a=setup", "a=candidate"))
    )
    head, data = CHROMIUM[: CHROMIUM.index("m=")], CHROMIUM[CHROMIUM.index("m=application") :]
    offer = check_offer(
        head.replace("BUNDLE 0 1", "BUNDLE 9 0 1") + video("9") + bare + "a=bundle-only\r\n" + data
    )
    plain = check_offer(CHROMIUM)
    assert (offer.candidates, offer.ufrag) == (plain.candidates, plain.ufrag)
    assert "m=audio 9 " in offer.sdp
    assert "bundle-only" not in offer.sdp
    assert "a=group:BUNDLE 0 1" in offer.sdp
    answered = offer.whole_answer(
        "v=0\r\na=group:BUNDLE 0 1\r\nm=audio 7 X 111\r\na=ice-ufrag:u\r\nm=application 7 Y\r\n"
    )
    kinds = [line[2:9] for line in answered.splitlines() if line.startswith("m=")]
    assert kinds == ["video 7", "audio 7", "applica"], "they share a transport, which must stay"
    leader = answered[answered.index("m=video") : answered.index("m=audio")]
    assert "a=inactive" in leader
    assert "a=ice-ufrag:u" in leader
    assert "a=group:BUNDLE 9 0 1" in answered


def test_a_refused_leader_with_a_transport_of_its_own_has_port_0() -> None:
    head, rest = CHROMIUM[: CHROMIUM.index("m=")], CHROMIUM[CHROMIUM.index("m=") :]
    alone = video("9").replace("a=ice-ufrag:", "a=ice-ufrag:other")
    offer = check_offer(head.replace("BUNDLE 0 1", "BUNDLE 9 0 1") + alone + rest)
    assert offer.ufrag == check_offer(CHROMIUM).ufrag
    answered = offer.whole_answer("v=0\r\nm=audio 7 X 111\r\n")
    assert "m=video 0 " in answered


LINES = CHROMIUM.split("\r\n")


@settings(max_examples=examples(300), deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, len(LINES) - 1), st.integers(0, 60), st.text(max_size=12)),
        max_size=6,
    )
)
def test_a_broken_offer_is_refused_and_nothing_else(breaks):
    lines = list(LINES)
    for line, at, text in breaks:
        lines[line] = lines[line][:at] + text + lines[line][at + 3 :]
    with suppress(OfferError):
        assert check_offer("\r\n".join(lines)).sdp.startswith("v=0")
