"""Genesys Cloud's Audio Connector: the exchange of messages, the audio, the signature."""

import json
from typing import Any

import pytest
from multidict import CIMultiDict

from gateway.channels.telephony.carrier import (
    Answer,
    Heard,
    OpeningRequest,
    Pressed,
    Proof,
    Started,
    Stopped,
    UnsupportedFormat,
    WireFault,
)
from gateway.channels.telephony.genesys import PROBE, Genesys, proof_of
from media import g711

SESSION = "30b0e395-84d3-4570-ac13-9a62d8f514c0"
MONO = {"type": "audio", "format": "PCMU", "channels": ["external"], "rate": 8000}
STEREO = {**MONO, "channels": ["external", "internal"]}
LINEAR = {**MONO, "format": "L16"}
PARAMETERS: dict[str, Any] = {
    "organizationId": "d7934305-0972-4844-938e-9060eef73d05",
    "conversationId": "090eaa2f-72fa-480a-83e0-8667ff89c0ec",
    "participant": {"id": "883efee8", "ani": "+15555550100", "aniName": "", "dnis": "+1555"},
    "media": [STEREO, MONO, LINEAR],
    "inputVariables": {"order": "A-1734", "count": 7},
}


def message(kind: str, seq: int, parameters: Any = None) -> str:
    members = {"version": "2", "id": SESSION, "type": kind, "seq": seq, "serverseq": 0}
    return json.dumps({**members, "position": "PT0S", "parameters": parameters or {}})


def opened(**parameters: Any) -> Genesys:
    carrier = Genesys()
    carrier.parse(message("open", 1, PARAMETERS | parameters))
    return carrier


def test_the_callers_channel_alone_is_taken_and_the_call_begins() -> None:
    answer, started = Genesys().parse(message("open", 1, PARAMETERS))
    assert isinstance(answer, Answer)
    assert json.loads(answer.message) == {
        "version": "2",
        "id": SESSION,
        "type": "opened",
        "seq": 1,
        "clientseq": 1,
        "parameters": {"startPaused": False, "media": [MONO]},
    }
    assert isinstance(started, Started)
    assert started.stream_id == SESSION
    assert started.call_id == PARAMETERS["conversationId"]
    assert started.account_id == PARAMETERS["organizationId"]
    assert started.parameters == {"order": "A-1734", "caller": "+15555550100", "called": "+1555"}


def test_of_two_channels_the_first_is_heard() -> None:
    carrier = opened(media=[STEREO])
    assert carrier.parse(b"\x10\xff\x20\xff") == [Heard(g711.decode_ulaw(b"\x10\x20"))]
    with pytest.raises(WireFault, match="odd_samples"):
        carrier.parse(b"\x10\xff\x20")


def test_sequence_numbers_count_up_and_acknowledge_the_peers() -> None:
    carrier = opened()
    (pong,) = carrier.parse(message("ping", 5))
    assert isinstance(pong, Answer)
    assert json.loads(pong.message) | {"parameters": {}} == {
        "version": "2",
        "id": SESSION,
        "type": "pong",
        "seq": 2,
        "clientseq": 5,
        "parameters": {},
    }
    clear = json.loads(carrier.clear())
    assert (clear["type"], clear["seq"], clear["clientseq"]) == ("event", 3, 5)
    assert clear["parameters"] == {"entities": [{"type": "barge_in", "data": {}}]}


def test_keys_and_the_end() -> None:
    carrier = opened()
    assert carrier.parse(message("dtmf", 2, {"digit": "5"})) == [Pressed("5")]
    assert carrier.parse(message("playback_completed", 3)) == []
    answer, stopped = carrier.parse(message("close", 4, {"reason": "end"}))
    assert isinstance(answer, Answer)
    assert json.loads(answer.message)["type"] == "closed"
    assert stopped == Stopped()
    assert carrier.hang_up("ended") is None, "the other side closed it"
    with pytest.raises(WireFault, match="after_stop"):
        carrier.parse(message("ping", 5))


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("ended", "completed"),
        ("internal_error", "error"),
        ("server_full", "error"),
        ("missing_api_key", "unauthorized"),
        ("invalid_signature", "unauthorized"),
    ],
)
def test_a_disconnect_says_why(reason: str, said: str) -> None:
    last = opened().hang_up(reason)
    assert last is not None
    assert json.loads(last)["parameters"] == {"reason": said, "info": reason}


def test_a_probe_is_answered_without_a_call() -> None:
    events = Genesys().parse(message("open", 1, PARAMETERS | {"conversationId": PROBE}))
    assert [type(event) for event in events] == [Answer]


@pytest.mark.parametrize("media", [[], [LINEAR], None, [{**MONO, "channels": ["internal"]}]])
def test_without_the_callers_voice_there_is_no_call(media: Any) -> None:
    with pytest.raises(UnsupportedFormat) as caught:
        opened(media=media)
    assert caught.value.answer is not None
    assert json.loads(caught.value.answer) == {
        "version": "2",
        "id": SESSION,
        "type": "disconnect",
        "seq": 1,
        "clientseq": 1,
        "parameters": {"reason": "error", "info": "unsupported_media_format"},
    }


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        ("[]", "no_object"),
        ('{"type": "ping"}', "invalid_seq"),
        (message("hello", 2), "unknown_event"),
        (message("open", 2, PARAMETERS), "out_of_order"),
        (message("dtmf", 2, {"digit": "55"}), "invalid_digit"),
    ],
)
def test_faults_are_named(raw: str, code: str) -> None:
    with pytest.raises(WireFault) as fault:
        opened().parse(raw)
    assert fault.value.code == code


SECRET = "TXlTdXBlclNlY3JldEtleVRlbGxOby0xITJAMyM0JDU="
SIGNED = OpeningRequest(
    "audiohook.example.com",
    "/api/v1/voicebiometrics/ws",
    CIMultiDict(
        {
            "audiohook-organization-id": "d7934305-0972-4844-938e-9060eef73d05",
            "audiohook-session-id": SESSION,
            "audiohook-correlation-id": "e160e428-53e2-487c-977d-96989bf5c99d",
            "x-api-key": "SGVsbG8sIEkgYW0gdGhlIEFQSSBrZXkh",
            "signature": "sig1=:NZBwyBHRRyRoeLqy1IzOa9VYBuI8TgMFt2GRDkDuJh4=:",
            "signature-input": 'sig1=("@request-target" "@authority" "audiohook-organization-id"'
            ' "audiohook-session-id" "audiohook-correlation-id" "x-api-key")'
            ';keyid="SGVsbG8sIEkgYW0gdGhlIEFQSSBrZXkh";nonce="VGhpc0lzQVVuaXF1ZU5vbmNl"'
            ';alg="hmac-sha256";created=1641013200;expires=3282026430',
        }
    ),
)
"""The example of Genesys's documentation."""
NOW = 1641013205.0


def test_the_documentations_signature_is_valid() -> None:
    assert proof_of(SIGNED, SECRET, NOW) is Proof.VALID


def changed(**headers: str) -> OpeningRequest:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return OpeningRequest(SIGNED.host, SIGNED.path, CIMultiDict({**SIGNED.headers, **names}))


@pytest.mark.parametrize(
    ("request_", "secret", "now"),
    [
        (SIGNED, "QQ==", NOW),
        (SIGNED, "no base64", NOW),
        (SIGNED, SECRET, NOW + 60),
        (OpeningRequest("evil.example.com", SIGNED.path, SIGNED.headers), SECRET, NOW),
        (OpeningRequest(SIGNED.host, "/api/agents/other", SIGNED.headers), SECRET, NOW),
        (changed(audiohook_session_id="another"), SECRET, NOW),
        (changed(signature="sig1=:AAAA:"), SECRET, NOW),
        (changed(signature="é"), SECRET, NOW),
        (changed(signature_input='sig1=("@authority");created=1641013200'), SECRET, NOW),
        (changed(signature_input="nonsense"), SECRET, NOW),
    ],
)
def test_any_other_signature_is_invalid(request_: OpeningRequest, secret: str, now: float) -> None:
    assert proof_of(request_, secret, now) is Proof.INVALID


def test_without_a_signature_nothing_is_proven() -> None:
    bare = OpeningRequest(SIGNED.host, SIGNED.path, CIMultiDict())
    assert proof_of(bare, SECRET, NOW) is Proof.ABSENT
