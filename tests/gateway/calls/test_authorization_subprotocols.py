"""What a client offers: its wire format, its key, and the beta's names."""

import pytest

from gateway.calls.authorization import Offer, UnknownSubprotocol, read_offer


@pytest.mark.parametrize(
    ("header", "beta", "offer"),
    [
        (None, None, Offer()),
        ("realtime", None, Offer("realtime")),
        ("realtime, blab.binary.v1", None, Offer("blab.binary.v1")),
        ("realtime, openai-insecure-api-key.ek_1", None, Offer("realtime", "ek_1")),
        ("realtime, openai-beta.realtime-v1", None, Offer("realtime", beta=True)),
        ("realtime", "assistants=v2, realtime=v1", Offer("realtime", beta=True)),
        (None, "realtime=v1", Offer(beta=True)),
        (None, "realtime=v2", Offer()),
    ],
)
def test_offers(header: str | None, beta: str | None, offer: Offer) -> None:
    assert read_offer(header, beta) == offer


def test_unknown_subprotocols_are_refused_without_showing_the_key() -> None:
    with pytest.raises(UnknownSubprotocol):
        read_offer("chat")
    assert "ek_1" not in repr(read_offer("realtime, openai-insecure-api-key.ek_1"))
