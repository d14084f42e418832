"""Vonage's WebSockets: binary linear audio after one JSON message, and the JWT of the request."""

import json
import time
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.channels.telephony.carrier import (
    Heard,
    MarkReturned,
    OpeningRequest,
    Pressed,
    Proof,
    Started,
    UnsupportedFormat,
    WireFault,
)
from gateway.channels.telephony.vonage import MAX_TOKEN_AGE, Vonage

SECRET = "a-vonage-signature-secret-of-the-account"
CONNECTED = {
    "event": "websocket:connected",
    "content-type": "audio/l16;rate=16000",
    "prop1": "value1",
    "blab_key": "ek_secret",
    "uuid": "aaaaaaaa-bbbb-cccc-dddd-0123456789ab",
    "nested": {"x": 1},
}
"""As the documentation has it; ``prop1`` and what follows are the NCCO's headers."""


def begun(**members: Any) -> Vonage:
    carrier = Vonage()
    carrier.parse(json.dumps(CONNECTED | members))
    return carrier


def test_the_first_message_brings_the_format_and_the_headers() -> None:
    carrier = Vonage()
    (started,) = carrier.parse(json.dumps(CONNECTED))
    assert isinstance(started, Started)
    assert started.call_id == "aaaaaaaa-bbbb-cccc-dddd-0123456789ab"
    assert started.parameters == {k: CONNECTED[k] for k in ("prop1", "blab_key", "uuid")}
    assert (carrier.input_rate, carrier.output_rate) == (16_000, 16_000)


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000])
def test_audio_is_binary_at_the_rate_of_the_stream(rate: int) -> None:
    carrier = begun(**{"content-type": f"audio/l16; rate={rate}"})
    pcm = b"\1\2" * (rate // 50)
    assert carrier.input_rate == carrier.output_rate == rate
    assert carrier.parse(pcm) == [Heard(pcm)]
    assert carrier.parse(b"") == []
    assert carrier.media(pcm) == pcm


@pytest.mark.parametrize("form", ["audio/l16;rate=11025", "audio/x-mulaw", "", 7, None])
def test_an_unsupported_format_ends_the_call(form: Any) -> None:
    with pytest.raises(UnsupportedFormat):
        Vonage().parse(json.dumps({"event": "websocket:connected", "content-type": form}))


def test_a_notify_is_a_mark_and_comes_back_as_it_is() -> None:
    carrier = begun()
    mark, clear = carrier.mark("blab-1"), carrier.clear()
    assert isinstance(mark, str)
    assert isinstance(clear, str)
    assert json.loads(mark) == {"action": "notify", "payload": {"mark": "blab-1"}}
    assert json.loads(clear) == {"action": "clear"}
    back = {"event": "websocket:notify", "payload": json.loads(mark)["payload"]}
    assert carrier.parse(json.dumps(back)) == [MarkReturned("blab-1")]
    assert carrier.parse('{"event": "websocket:cleared"}') == []
    pressed = {"event": "websocket:dtmf", "digit": "5", "duration": 260}
    assert carrier.parse(json.dumps(pressed)) == [Pressed("5")]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"\1\2\3", "odd_samples"),
        ("{", "invalid_json"),
        ("[]", "no_object"),
        ("{}", "unknown_event"),
        ('{"event": ["websocket:dtmf"]}', "unknown_event"),
        ('{"event": "websocket:dtmf", "digit": "12"}', "invalid_digit"),
        ('{"event": "websocket:notify"}', "missing_payload"),
        ('{"event": "websocket:notify", "payload": {}}', "invalid_mark"),
        (json.dumps(CONNECTED), "out_of_order"),
    ],
)
def test_a_malformed_message_is_a_fault_and_changes_nothing(
    message: str | bytes, code: str
) -> None:
    carrier = begun()
    with pytest.raises(WireFault) as caught:
        carrier.parse(message)
    assert caught.value.code == code
    assert carrier.parse(b"\1\2") == [Heard(b"\1\2")]


@given(st.lists(st.one_of(st.text(max_size=30), st.binary(max_size=9)), max_size=6), st.booleans())
def test_any_message_is_events_or_a_fault(messages: list[str | bytes], started: bool) -> None:
    carrier = begun() if started else Vonage()
    for message in messages:
        try:
            events = carrier.parse(message)
        except WireFault:
            continue
        assert started
        assert all(isinstance(event, Heard) and len(event.pcm) % 2 == 0 for event in events)


def proof(token: str | None) -> Proof:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return Vonage.verify(OpeningRequest("voice.example", "/api", headers), SECRET)


def signed(secret: str = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    usual = {"iss": "Vonage", "iat": int(time.time()), "api_key": "abcd1234"}
    return jwt.encode(usual | claims, secret, algorithm)


def test_a_jwt_of_the_account_is_proof() -> None:
    assert proof(signed()) is Proof.VALID
    assert proof(signed(exp=int(time.time()) + 60)) is Proof.VALID


def test_any_other_jwt_proves_nothing() -> None:
    now = int(time.time())
    head, _, tail = signed().partition(".")
    for token in (
        signed(SECRET[::-1]),
        signed(algorithm="HS512", secret=SECRET * 2),
        signed(iat=now - MAX_TOKEN_AGE - 10),
        signed(iat=now + 3600),
        signed(exp=now - 3600),
        jwt.encode({"iss": "Vonage"}, SECRET, "HS256"),
        jwt.encode({"iat": now}, "", "none"),
        f"{head}.e30.{tail.partition('.')[2]}",
        "..",
        "a.b.c",
    ):
        assert proof(token) is Proof.INVALID, token


def test_a_key_is_not_a_jwt() -> None:
    assert proof(None) is Proof.ABSENT
    assert proof("blab_sk_x") is Proof.ABSENT
