"""Vonage Voice API WebSockets: linear audio in binary frames, JSON for everything else.

The stream begins with ``websocket:connected``, which names the format and holds the headers of the
customer's NCCO; from then on every binary frame is 20 ms of little-endian PCM. ``notify`` comes
back as ``websocket:notify`` when the audio before it has been played; ``clear`` empties the buffer.
https://developer.vonage.com/en/voice/voice-api/concepts/websockets

With ``"authorization": {"type": "vonage"}`` in the NCCO, the opening request carries a JWT in
``Authorization``, signed (HS256) with the account's signature secret, as for signed webhooks:
https://developer.vonage.com/en/getting-started/concepts/webhooks#validating-signed-webhooks
"""

import re
import time
from typing import Any

import jwt
import msgspec
from aiohttp import hdrs

from .carrier import (
    BadAudio,
    Heard,
    MarkingCarrier,
    Message,
    OpeningRequest,
    Proof,
    Started,
    StreamEvent,
    StreamFormat,
    UnsupportedFormat,
    WireFault,
)
from .media_stream import MAX_PARAMETERS, child_of, decoded, id_of, pressed_key, returned_mark

MAX_TOKEN_AGE = 300.0
"""Seconds after which a JWT proves nothing any more: a call's stream is opened at once."""
_CLOCK_SKEW = 60.0
_CONTENT_TYPE = re.compile(r"audio/l16;\s*rate=(8000|16000|24000)", re.IGNORECASE | re.ASCII)
_USUAL = StreamFormat("l16", 16_000)


class Vonage(MarkingCarrier):
    """Vonage: linear audio at 8, 16 or 24 kHz. The NCCO's headers are the parameters."""

    name = "vonage"
    secret_setting = "BLAB_VONAGE_SIGNATURE_SECRET"  # noqa: S105 - the setting's name
    signs_in_authorization = True

    def __init__(self) -> None:
        super().__init__(_USUAL)
        self._started = False

    @classmethod
    def verify(cls, request: OpeningRequest, secret: str) -> Proof:
        """By the JWT in ``Authorization``; ``secret`` is the account's signature secret."""
        scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        if scheme.lower() != "bearer" or token.count(".") != 2:
            return Proof.ABSENT
        try:
            claims = jwt.decode(
                token.strip(),
                secret,
                algorithms=["HS256"],
                leeway=_CLOCK_SKEW,
                options={"require": ["iat"], "verify_aud": False},
            )
        except jwt.InvalidTokenError:
            return Proof.INVALID
        fresh = time.time() - claims["iat"] <= MAX_TOKEN_AGE
        return Proof.VALID if fresh else Proof.INVALID

    def parse(self, message: Message) -> list[StreamEvent]:
        """Audio, or one event; raises WireFault."""
        if isinstance(message, bytes):
            return self._media(message)
        event = decoded(message)
        if event.get("event") == "websocket:connected":
            return [self._start(event)]
        if not self._started:
            raise WireFault("before_start")
        match event.get("event"):
            case "websocket:dtmf":
                return [pressed_key(event.get("digit"))]
            case "websocket:notify":
                return [returned_mark(child_of(event, "payload").get("mark"))]
            case "websocket:cleared":
                return []
        raise WireFault("unknown_event")

    def _start(self, event: dict[str, Any]) -> Started:
        if self._started:
            raise WireFault("out_of_order")
        described = event.get("content-type", f"audio/l16;rate={_USUAL.rate}")
        found = _CONTENT_TYPE.fullmatch(described) if isinstance(described, str) else None
        if found is None:
            raise UnsupportedFormat("unsupported_media_format")
        form = StreamFormat("l16", int(found[1]))
        own = ("event", "content-type")
        given = [(n, v) for n, v in event.items() if n not in own and isinstance(v, str)]
        self._started = True
        self._agree(form, form)
        # Vonage itself names no call; an NCCO may pass on what its answer webhook was given.
        call_id = id_of(event, "uuid") or id_of(event, "conversation_uuid")
        return Started(call_id, call_id, "", form, dict(given[:MAX_PARAMETERS]))

    def _media(self, payload: bytes) -> list[StreamEvent]:
        if not self._started:
            raise WireFault("before_start")
        try:
            pcm = self._decoder.decode(payload)
        except BadAudio as error:
            raise WireFault(error.code) from error
        return [Heard(pcm)] if pcm else []

    def media(self, pcm: bytes) -> Message:
        """A binary frame."""
        return self._encoder.encode(pcm)

    def mark(self, name: str) -> Message:
        """A ``notify``, whose payload is returned as it is."""
        return _action("notify", payload={"mark": name})

    def clear(self) -> Message:
        """A ``clear``."""
        return _action("clear")


def _action(name: str, **members: Any) -> str:
    return msgspec.json.encode({"action": name, **members}).decode()
