"""Twilio Media Streams, as https://www.twilio.com/docs/voice/media-streams has them, and
SignalWire's ``<Stream>``, which has the same messages and more formats, as its ``codec`` says
(https://developer.signalwire.com/compatibility-api/cxml/voice/stream).

Twilio's proof of a request is ``X-Twilio-Signature``: the base64 of an HMAC-SHA1, keyed with the
account's auth token, over the address that Twilio asked for, followed by the name and value of each
posted parameter in the order of the names (a stream's opening request has none). Twilio knows the
public address; behind a proxy the server sees another, so the spellings that mean the same are
tried: ``wss`` and ``https``, the default port written out or not, and the slash at the end.
https://www.twilio.com/docs/usage/security#validating-requests
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import ClassVar

from .carrier import OpeningRequest, Proof
from .media_stream import MediaStream, Names

_SIGNATURE = "X-Twilio-Signature"
_MAX_SIGNATURE_CHARS = 64


class Twilio(MediaStream):
    """Twilio: µ-law at 8 kHz."""

    name = "twilio"
    secret_setting = "BLAB_TWILIO_AUTH_TOKEN"  # noqa: S105 - the setting's name
    names = Names(
        stream_id="streamSid",
        call_id="callSid",
        account_id="accountSid",
        media_format="mediaFormat",
        parameters="customParameters",
    )
    encodings: ClassVar[Mapping[str, str]] = {"audio/x-mulaw": "pcmu"}
    rates: ClassVar[Mapping[str, tuple[int, ...]]] = {"pcmu": (8_000,)}

    @classmethod
    def verify(cls, request: OpeningRequest, secret: str) -> Proof:
        """By ``X-Twilio-Signature``; ``secret`` is the account's auth token."""
        signature = request.headers.get(_SIGNATURE)
        if signature is None:
            return Proof.ABSENT
        if len(signature) > _MAX_SIGNATURE_CHARS:
            return Proof.INVALID
        given, token = signature.encode("ascii", "replace"), secret.encode()
        addresses = spellings(request.host, request.path)
        valid = any(hmac.compare_digest(given, sign(token, one)) for one in addresses)
        return Proof.VALID if valid else Proof.INVALID


class SignalWire(MediaStream):
    """SignalWire: what its ``codec`` attribute asks for; it signs nothing."""

    name = "signalwire"
    names = Twilio.names
    encodings: ClassVar[Mapping[str, str]] = {
        **Twilio.encodings,
        "audio/x-alaw": "pcma",
        "audio/x-l16": "l16",
        "audio/l16": "l16",
        "l16": "l16",
        "pcmu": "pcmu",
        "pcma": "pcma",
        "g722": "g722",
    }
    rates: ClassVar[Mapping[str, tuple[int, ...]]] = {
        "pcmu": (8_000,),
        "pcma": (8_000,),
        "l16": (8_000, 16_000, 24_000),
        "g722": (16_000, 8_000),
    }


def sign(token: bytes, address: str, parameters: Mapping[str, str] | None = None) -> bytes:
    """Twilio's signature of a request."""
    posted = "".join(f"{name}{value}" for name, value in sorted((parameters or {}).items()))
    digest = hmac.new(token, (address + posted).encode(), hashlib.sha1).digest()
    return base64.b64encode(digest)


def spellings(host: str, path: str) -> list[str]:
    """The addresses that mean ``path`` at ``host``."""
    bare, colon, port = host.rpartition(":")
    if not colon or not port.isdecimal():
        bare, port = host, "443"
    hosts = [host] if port != "443" else [bare, f"{bare}:443"]
    paths = [path, path.removesuffix("/") if path.endswith("/") else f"{path}/"]
    return [f"{s}://{h}{p}" for s in ("wss", "https") for h in hosts for p in paths]
