"""Plivo's audio streaming, as documented: other names, checkpoints, signature V3."""

import base64
import json
from typing import Any

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
    StreamFormat,
    WireFault,
)
from gateway.channels.telephony.plivo import Plivo, sign
from media import g711

TOKEN = "a-plivo-auth-token"
STREAM = "20170ada-f610-433b-8758-c02a2aab3662"
HAND_MADE = b"MOs2/xTcGh7ayMmkzvv2nsPdS+gay1RU6jMymAN9zME="
ADDRESS = "wss://voice.example/api/agents/agt_1/plivo"


def start(encoding: str = "audio/x-mulaw", rate: int = 8_000, extra: Any = "") -> str:
    members = {
        "callId": "12345678-1234-1234-1234-123456789abc",
        "streamId": STREAM,
        "accountId": "MAXXXXXXXXXXXXXXXXXX",
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": encoding, "sampleRate": rate},
    }
    return json.dumps(
        {"event": "start", "sequenceNumber": 1, "start": members, "extra_headers": extra}
    )


def begun(*arguments: Any) -> Plivo:
    carrier = Plivo()
    carrier.parse(start(*arguments))
    return carrier


def media(payload: bytes, chunk: int = 1) -> str:
    members = {
        "track": "inbound",
        "timestamp": str(1_705_312_200_000 + 20 * chunk),
        "chunk": chunk,
        "payload": base64.b64encode(payload).decode(),
    }
    return json.dumps({"event": "media", "streamId": STREAM, "media": members})


def test_a_start_brings_the_extra_headers() -> None:
    (started,) = Plivo().parse(start(extra="order=A-1734; name=Ann%3B%20Lee;empty;blab_key=ek_1"))
    assert started == Started(
        STREAM,
        "12345678-1234-1234-1234-123456789abc",
        "MAXXXXXXXXXXXXXXXXXX",
        StreamFormat("pcmu", 8_000),
        {"order": "A-1734", "name": "Ann; Lee", "blab_key": "ek_1"},
    )
    for extra in ("", "{}", None, 7, []):
        (started,) = Plivo().parse(start(extra=extra))
        assert isinstance(started, Started)
        assert started.parameters == {}


def test_audio_keys_checkpoints_and_the_answer_to_a_clear() -> None:
    carrier = begun()
    assert carrier.parse(media(b"\x80" * 160)) == [Heard(g711.decode_ulaw(b"\x80" * 160))]
    dtmf = {"event": "dtmf", "streamId": STREAM, "dtmf": {"track": "inbound", "digit": "#"}}
    assert carrier.parse(json.dumps(dtmf)) == [Pressed("#")]
    played = {"event": "playedStream", "streamId": STREAM, "name": "blab-1"}
    assert carrier.parse(json.dumps(played)) == [MarkReturned("blab-1")]
    assert carrier.parse(json.dumps({"event": "clearedAudio", "streamId": STREAM})) == []


@pytest.mark.parametrize(
    ("encoding", "rate", "payload"),
    [
        ("audio/x-mulaw", 8_000, b"\xff" * 160),
        ("audio/x-l16", 8_000, bytes(320)),
        ("audio/x-l16", 16_000, bytes(640)),
    ],
)
def test_what_is_played_says_its_format(encoding: str, rate: int, payload: bytes) -> None:
    carrier = begun(encoding, rate)
    pcm = bytes(2 * carrier.output_rate // 50)
    assert json.loads(carrier.media(pcm)) == {
        "event": "playAudio",
        "streamId": STREAM,
        "media": {
            "contentType": encoding,
            "sampleRate": rate,
            "payload": base64.b64encode(payload).decode(),
        },
    }


def test_checkpoint_and_clear() -> None:
    carrier = begun()
    assert json.loads(carrier.mark("m")) == {"event": "checkpoint", "streamId": STREAM, "name": "m"}
    assert json.loads(carrier.clear()) == {"event": "clearAudio", "streamId": STREAM}


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"event": "mark", "mark": {"name": "m"}}, "unknown_event"),
        ({"event": "playedStream"}, "invalid_mark"),
        ({"event": "playedStream", "streamId": "other", "name": "m"}, "foreign_stream"),
    ],
)
def test_a_malformed_message_is_a_fault(message: dict[str, Any], code: str) -> None:
    with pytest.raises(WireFault) as caught:
        begun().parse(json.dumps(message))
    assert caught.value.code == code


def proof(signature: str | None, nonce: str | None = "12345", query: str = "") -> Proof:
    given = {"X-Plivo-Signature-V3": signature, "X-Plivo-Signature-V3-Nonce": nonce}
    headers = {name: value for name, value in given.items() if value is not None}
    path = "/api/agents/agt_1/plivo" + query
    return Plivo.verify(OpeningRequest("voice.example", path, headers), TOKEN)


def signed(address: str = ADDRESS, nonce: str = "12345", token: str = TOKEN) -> str:
    return sign(token, address, nonce).decode()


def test_the_signature_covers_address_sorted_query_and_nonce() -> None:
    assert proof(signed()) is Proof.VALID
    assert proof(signed(ADDRESS.replace("wss", "https"))) is Proof.VALID
    assert proof(f"{signed(token='of-a-subaccount')}, {signed()}") is Proof.VALID
    assert proof(signed(ADDRESS + "?a=1&b=x y&c="), query="?c=&b=x%20y&a=1") is Proof.VALID
    assert proof(None) is Proof.ABSENT


def test_a_signature_made_by_hand() -> None:
    """HMAC-SHA256 of the text, by another tool: ``openssl dgst -sha256 -hmac``."""
    assert sign("12345", "https://example.com/a?x=1", "n") == HAND_MADE


@pytest.mark.parametrize(
    ("signature", "nonce"),
    [
        (signed(token="guess"), "12345"),
        (signed(nonce="other"), "12345"),
        (signed(ADDRESS + "/x"), "12345"),
        (signed(), None),
        (signed(), "1" * 600),
        ("é" * 44, "12345"),
        ("," * 513, "12345"),
        ("", "12345"),
    ],
)
def test_any_other_signature_is_refused(signature: str, nonce: str | None) -> None:
    assert proof(signature, nonce) is Proof.INVALID


@given(st.text(max_size=80), st.text(max_size=20))
def test_any_text_as_a_signature_is_refused(text: str, nonce: str) -> None:
    assert proof(text, nonce) is Proof.INVALID
