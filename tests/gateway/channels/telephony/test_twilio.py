"""Twilio's signature: the documented example is accepted, anything else is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.channels.telephony.carrier import OpeningRequest, Proof
from gateway.channels.telephony.twilio import SignalWire, Twilio, sign

TOKEN = "12345"


def test_the_signature_in_twilios_documentation_is_accepted() -> None:
    posted = {
        "CallSid": "CA1234567890ABCDE",
        "Caller": "+14158675310",
        "Digits": "1234",
        "From": "+14158675310",
        "To": "+18005551212",
    }
    address = "https://example.com/myapp.php?foo=1&bar=2"
    assert sign(TOKEN.encode(), address, posted) == b"L/OH5YylLD5NRKLltdqwSvS0BnU="


def proof(signature: str | None, host: str, path: str) -> Proof:
    headers = {} if signature is None else {"X-Twilio-Signature": signature}
    return Twilio.verify(OpeningRequest(host, path, headers), TOKEN)


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
def test_equivalent_spellings_of_the_address_are_accepted(address: str) -> None:
    for host in ("voice.example", "voice.example:443"):
        assert proof(signed(address), host, "/api/agents/agt_1/twilio") is Proof.VALID


@pytest.mark.parametrize(
    "given_signature",
    [
        "",
        "x" * 65,
        "¡™£¢",
        signed("wss://voice.example/other"),
        signed("wss://evil.example/api"),
        signed("wss://voice.example/api", token="54321"),
        signed("ws://voice.example/api"),
    ],
)
def test_any_other_signature_is_refused(given_signature: str) -> None:
    assert proof(given_signature, "voice.example", "/api") is Proof.INVALID
    assert proof(None, "voice.example", "/api") is Proof.ABSENT


@given(st.text(max_size=80), st.text(max_size=20))
def test_any_text_as_a_signature_is_refused(text: str, host: str) -> None:
    assert proof(text, host, "/api") is Proof.INVALID


def test_signalwire_signs_nothing() -> None:
    headers = {"X-Twilio-Signature": signed("wss://voice.example/api")}
    request = OpeningRequest("voice.example", "/api", headers)
    assert SignalWire.verify(request, TOKEN) is Proof.ABSENT
    assert SignalWire.secret_setting == ""
