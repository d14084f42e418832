"""Genesys Cloud's Audio Connector, which speaks the AudioHook protocol, version 2.

Text frames hold JSON messages, binary ones µ-law at 8 kHz: the caller alone, or interleaved with
the other side. ``open`` offers formats and ``opened`` takes one; where none is understood,
``disconnect`` says so to the flow. Both sides number their messages and repeat the other's last
number. Genesys plays what it is sent in real time, limits how many frames may come a second (so
they are 200 ms long), and forgets what it has not played on the event ``barge_in``. A connection
for the conversation ``PROBE`` tests the address: it is opened and closed like any other, and no
call comes of it.

Requests are signed by HTTP message signatures with the client secret of the integration.
https://developer.genesys.cloud/devapps/audiohook/protocol-reference
https://developer.genesys.cloud/devapps/audiohook/security
"""

import base64
import binascii
import hmac
import re
import time
from typing import Any, ClassVar

import msgspec

from .carrier import (
    USUAL_FORMAT,
    Answer,
    Carrier,
    Heard,
    Message,
    OpeningRequest,
    Proof,
    Started,
    Stopped,
    StreamEvent,
    UnsupportedFormat,
    WireFault,
)
from .media_stream import MAX_PARAMETERS, child_of, decoded, id_of, number_of, pressed_key

PROBE = "00000000-0000-0000-0000-000000000000"
"""The conversation of a connection that only tests the address."""
_RATE = 8_000
_CALLER_FIRST = (["external"], ["external", "internal"])
"""Channels that are understood: the caller's comes first."""
_IGNORED = frozenset(
    (
        "discarded",
        "error",
        "paused",
        "playback_completed",
        "playback_started",
        "resumed",
        "update",
    )
)
_COMPLETED = ("client_hangup", "ended", "max_duration", "peer_gone")
"""Reasons of a close that are no fault."""
_UNAUTHORIZED = (
    "foreign_origin",
    "insufficient_permissions",
    "invalid_api_key",
    "invalid_signature",
    "missing_api_key",
)
_COVERED = frozenset(
    (
        "@request-target",
        "@authority",
        "audiohook-organization-id",
        "audiohook-session-id",
        "audiohook-correlation-id",
        "x-api-key",
    )
)
"""What a signature must cover."""
_SIGNATURE_INPUT = re.compile(r'sig1=(\(((?:"[^"]+" ?)+)\);?(.*))', re.ASCII)
_MAX_SIGNATURE_CHARS = 2_048
_MAX_AGE_SECONDS = 10.0


class Genesys(Carrier):
    """Genesys Cloud: µ-law at 8 kHz. Input variables are the parameters."""

    name = "genesys"
    frame_ms = 200
    secret_setting: ClassVar[str] = "BLAB_GENESYS_CLIENT_SECRET"  # noqa: S105 - the setting's name

    def __init__(self) -> None:
        super().__init__()
        self._session_id: str | None = None
        self._channels = 1
        self._closed = False
        self._sent = 0
        self._received = 0
        """The numbers of the last message in either direction."""

    @classmethod
    def verify(cls, request: OpeningRequest, secret: str) -> Proof:
        """By ``Signature``; ``secret`` is the client secret, in base64 as Genesys has it."""
        return proof_of(request, secret, time.time())

    # ------------------------------------------------------------------ in

    def parse(self, message: Message) -> list[StreamEvent]:
        """Audio, or the events of one message; raises WireFault."""
        if isinstance(message, bytes):
            return self._media(message)
        members = decoded(message)
        kind, number = members.get("type"), number_of(members.get("seq"))
        if number is None:
            raise WireFault("invalid_seq")
        if self._closed:
            raise WireFault("after_stop")
        if kind == "open":
            return self._open(members, number)
        if self._session_id is None:
            raise WireFault("before_start")
        self._received = number
        match kind:
            case "ping":
                return [Answer(self._message("pong"))]
            case "close":
                self._closed = True
                return [Answer(self._message("closed")), Stopped()]
            case "dtmf":
                return [pressed_key(child_of(members, "parameters").get("digit"))]
            case str() if kind in _IGNORED:
                return []
        raise WireFault("unknown_event")

    def _open(self, members: dict[str, Any], number: int) -> list[StreamEvent]:
        if self._session_id is not None:
            raise WireFault("out_of_order")
        session_id = id_of(members, "id")
        if not session_id:
            raise WireFault("invalid_stream_id")
        given = child_of(members, "parameters")
        media = _media_of(given.get("media"))
        self._session_id, self._received = session_id, number
        if media is None:
            code = "unsupported_media_format"
            raise UnsupportedFormat(code, self.hang_up(code))
        self._channels = len(media["channels"])
        opened = Answer(self._message("opened", startPaused=False, media=[media]))
        conversation_id = id_of(given, "conversationId")
        if conversation_id == PROBE:
            return [opened]
        account_id = id_of(given, "organizationId")
        parameters = _parameters(given)
        caller = _text(_participant(given).get("ani"))
        started = Started(session_id, conversation_id, account_id, USUAL_FORMAT, parameters, caller)
        return [opened, started]

    def _media(self, payload: bytes) -> list[StreamEvent]:
        if self._session_id is None:
            raise WireFault("before_start")
        if len(payload) % self._channels:
            raise WireFault("odd_samples")
        pcm = self._decoder.decode(payload[:: self._channels])
        return [Heard(pcm)] if pcm else []

    # ------------------------------------------------------------------ out

    def media(self, pcm: bytes) -> bytes:
        """A binary frame, mono."""
        return self._encoder.encode(pcm)

    def clear(self) -> str:
        """The event ``barge_in``."""
        return self._message("event", entities=[{"type": "barge_in", "data": {}}])

    def hang_up(self, reason: str) -> str | None:
        """``disconnect``, which hands the conversation back to the flow."""
        if self._closed:
            return None
        kind = "error"
        if reason in _COMPLETED:
            kind = "completed"
        elif reason in _UNAUTHORIZED:
            kind = "unauthorized"
        return self._message("disconnect", reason=kind, info=reason)

    def _message(self, kind: str, **parameters: Any) -> str:
        self._sent += 1
        message = {
            "version": "2",
            "id": self._session_id,
            "type": kind,
            "seq": self._sent,
            "clientseq": self._received,
            "parameters": parameters,
        }
        return msgspec.json.encode(message).decode()


def _media_of(offered: Any) -> dict[str, Any] | None:
    """The format to take among those offered: the caller alone where that is among them."""
    if not isinstance(offered, list):
        return None
    fit = [
        one
        for one in offered[:16]
        if isinstance(one, dict)
        and one.get("type") == "audio"
        and one.get("format") == "PCMU"
        and one.get("rate") == _RATE
        and one.get("channels") in _CALLER_FIRST
    ]
    taken = min(fit, key=lambda one: len(one["channels"]), default=None)
    return taken and {name: taken[name] for name in ("type", "format", "channels", "rate")}


def _participant(given: dict[str, Any]) -> dict[str, Any]:
    participant = given.get("participant")
    return participant if isinstance(participant, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _parameters(given: dict[str, Any]) -> dict[str, str]:
    """The flow's input variables, and who called whom."""
    variables = given.get("inputVariables")
    participant = _participant(given)
    found = dict(variables) if isinstance(variables, dict) else {}
    if participant:
        found["caller"], found["called"] = participant.get("ani"), participant.get("dnis")
    texts = [(name, value) for name, value in found.items() if isinstance(value, str)]
    return dict(texts[:MAX_PARAMETERS])


# ---------------------------------------------------------------------- who sent the stream


def proof_of(request: OpeningRequest, secret: str, now: float) -> Proof:
    """What ``Signature`` and ``Signature-Input`` prove at ``now`` (Unix time).

    HTTP message signatures, HMAC-SHA256, as the AudioHook protocol uses them (a draft of RFC 9421:
    the request target is the path with its query)."""
    signature = request.headers.get("Signature")
    described = request.headers.get("Signature-Input")
    if signature is None or described is None:
        return Proof.ABSENT
    match = _SIGNATURE_INPUT.fullmatch(described[:_MAX_SIGNATURE_CHARS])
    if match is None:
        return Proof.INVALID
    parameters, components = match[3], re.findall(r'"([^"]+)"', match[2])
    if not set(components) >= _COVERED or not _in_time(parameters, now):
        return Proof.INVALID
    lines = [f'"{name}": {_component(request, name)}' for name in components]
    signed = "\n".join([*lines, f'"@signature-params": {match[1]}'])
    try:
        key = base64.b64decode(secret, validate=True)
        given = base64.b64decode(signature.removeprefix("sig1=").strip(":"), validate=True)
    except (binascii.Error, ValueError):
        return Proof.INVALID
    valid = hmac.compare_digest(given, hmac.digest(key, signed.encode(), "sha256"))
    return Proof.VALID if valid else Proof.INVALID


def _component(request: OpeningRequest, name: str) -> str:
    if name == "@request-target":
        return request.path
    if name == "@authority":
        return request.host
    return request.headers.get(name, "").strip()


def _in_time(parameters: str, now: float) -> bool:
    """Whether the signature was made now and is not over."""
    stated = dict(re.findall(r"(created|expires)=(\d{1,12})", parameters))
    if abs(now - int(stated.get("created", 0))) > _MAX_AGE_SECONDS:
        return False
    return "expires" not in stated or now <= int(stated["expires"])
