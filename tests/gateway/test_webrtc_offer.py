"""Which offers are taken: a browser's, and no garbage."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.channels.webrtc.offer import OfferError, check_offer

CHROMIUM = (Path(__file__).parent / "data" / "chromium_offer.sdp").read_bytes().decode()


def audio_section(offer: str) -> str:
    return offer[offer.index("m=audio") : offer.index("m=application")]


def test_an_offer_of_chromium_is_taken():
    offer = check_offer(CHROMIUM)
    assert "a=candidate" not in offer.sdp
    assert "a=rtpmap:63 red/48000/2" in offer.sdp
    ports = {candidate.port for candidate in offer.candidates if candidate.protocol == "udp"}
    assert ports == {44441, 58434}, "the data section's candidates are never used"


def test_bare_newlines_are_as_good_as_crlf():
    assert check_offer(CHROMIUM.replace("\r\n", "\n")) == check_offer(CHROMIUM)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda s: "", "no SDP"),
        (lambda s: "hello", "no SDP"),
        (lambda s: "v=0\r\n", "exactly one audio section"),
        (lambda s: s.replace("opus/48000", "speex/8000"), "no Opus"),
        (lambda s: s.replace("a=ice-pwd", "a=ice-pw"), "ice-pwd"),
        (lambda s: s.replace("a=fingerprint", "a=finger"), "fingerprint"),
        (lambda s: s.replace("a=rtcp-mux\r\n", ""), "rtcp-mux"),
        (lambda s: s + audio_section(s).replace("m=audio", "m=video"), "no video"),
        (lambda s: s.replace("m=audio 44441", "m=audio many"), "cannot be read"),
        (lambda s: s + audio_section(s), "exactly one audio"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_a_reason(change, complaint):
    with pytest.raises(OfferError, match=complaint):
        check_offer(change(CHROMIUM))


LINES = CHROMIUM.split("\r\n")


@settings(max_examples=300, deadline=None)
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
