"""Twilio's signature: what its documentation signs is taken, everything else is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.channels.telephony.signature import TwilioSignature, sign

TOKEN = "12345"


def test_the_example_of_twilios_documentation() -> None:
    posted = {
        "CallSid": "CA1234567890ABCDE",
        "Caller": "+14158675310",
        "Digits": "1234",
        "From": "+14158675310",
        "To": "+18005551212",
    }
    address = "https://example.com/myapp.php?foo=1&bar=2"
    assert sign(TOKEN.encode(), address, posted) == b"L/OH5YylLD5NRKLltdqwSvS0BnU="


def signed(address: str, token: str = TOKEN) -> str:
    return sign(token.encode(), address).decode()


@pytest.mark.parametrize(
    "address",
    [
        "wss://voice.example/api/agents/agt_1/twilio",
        "https://voice.example/api/agents/agt_1/twilio",
        "wss://voice.example:443/api/agents/agt_1/twilio",
        "wss://voice.example/api/agents/agt_1/twilio/",
    ],
)
def test_spellings_of_one_address_are_taken(address: str) -> None:
    signature = TwilioSignature(TOKEN)
    assert signature.is_valid(signed(address), "voice.example", "/api/agents/agt_1/twilio")
    assert signature.is_valid(signed(address), "voice.example:443", "/api/agents/agt_1/twilio")


def test_behind_a_proxy_the_public_address_counts() -> None:
    signature = TwilioSignature(TOKEN, "https://voice.example:8443")
    path = "/api/agents/agt_1/twilio"
    assert signature.is_valid(signed(f"wss://voice.example:8443{path}"), "10.0.0.7:8484", path)
    assert not signature.is_valid(signed(f"wss://10.0.0.7:8484{path}"), "10.0.0.7:8484", path)


@pytest.mark.parametrize(
    "given_signature",
    [
        None,
        "",
        "x" * 65,
        "¡™£¢",
        signed("wss://voice.example/other"),
        signed("wss://evil.example/api"),
        signed("wss://voice.example/api", token="54321"),
        signed("ws://voice.example/api"),
    ],
)
def test_any_other_is_refused(given_signature: str | None) -> None:
    assert not TwilioSignature(TOKEN).is_valid(given_signature, "voice.example", "/api")


@given(st.text(max_size=80), st.text(max_size=20))
def test_any_text_is_refused(text: str, host: str) -> None:
    assert not TwilioSignature(TOKEN).is_valid(text, host, "/api")


def test_the_token_is_in_no_repr() -> None:
    assert TOKEN not in repr(TwilioSignature(TOKEN))
