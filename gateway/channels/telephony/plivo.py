"""Plivo audio streaming: Twilio's protocol with other names for what is sent, and marks that are
called checkpoints. A ``checkpoint`` is answered by ``playedStream``, once the audio before it was
played; what ``clearAudio`` takes back is not answered.
https://www.plivo.com/docs/voice-agents/audio-streaming/concepts/audio-streaming-reference

Plivo signs the opening request: ``X-Plivo-Signature-V3`` is the base64 of an HMAC-SHA256, keyed
with the account's auth token, over the address, its query sorted by name, a dot and the nonce in
``X-Plivo-Signature-V3-Nonce``. The header may hold several signatures, divided by commas (of the
account and the subaccount).
https://www.plivo.com/docs/voice-agents/audio-streaming/concepts/audio-streaming-guide
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import parse_qsl, unquote

from media.formats import Encoding

from .carrier import Message, OpeningRequest, Proof, StreamEvent
from .media_stream import MAX_PARAMETERS, MediaStream, Names, returned_mark
from .twilio import spellings

_SIGNATURE = "X-Plivo-Signature-V3"
_NONCE = "X-Plivo-Signature-V3-Nonce"
_MAX_HEADER_CHARS = 512


class Plivo(MediaStream):
    """Plivo: µ-law at 8 kHz, linear audio at 8 or 16 kHz. ``extraHeaders`` are the parameters."""

    name = "plivo"
    secret_setting = "BLAB_PLIVO_AUTH_TOKEN"  # noqa: S105 - the setting's name
    names = Names(
        stream_id="streamId",
        call_id="callId",
        account_id="accountId",
        media_format="mediaFormat",
        parameters="extra_headers",
    )
    encodings: ClassVar[Mapping[str, str]] = {"audio/x-mulaw": "pcmu", "audio/x-l16": "l16"}
    rates: ClassVar[Mapping[str, tuple[int, ...]]] = {"pcmu": (8_000,), "l16": (8_000, 16_000)}

    def __init__(self) -> None:
        super().__init__()
        del self._readers["mark"]
        self._readers["playedStream"] = self._played
        self._readers["clearedAudio"] = lambda _: []

    @classmethod
    def verify(cls, request: OpeningRequest, secret: str) -> Proof:
        """By ``X-Plivo-Signature-V3``; ``secret`` is the account's auth token."""
        signatures, nonce = (request.headers.get(name) for name in (_SIGNATURE, _NONCE))
        if signatures is None:
            return Proof.ABSENT
        if nonce is None or len(signatures) > _MAX_HEADER_CHARS or len(nonce) > _MAX_HEADER_CHARS:
            return Proof.INVALID
        path, mark, query = request.path.partition("?")
        for address in spellings(request.host, path):
            expected = sign(secret, f"{address}{mark}{_sorted(query)}", nonce)
            for one in signatures.split(","):
                if hmac.compare_digest(one.strip().encode("ascii", "replace"), expected):
                    return Proof.VALID
        return Proof.INVALID

    def media(self, pcm: bytes) -> Message:
        """A ``playAudio`` message in the stream's encoding."""
        ulaw = self.format.encoding is Encoding.PCMU
        payload = binascii.b2a_base64(self._encoder.encode(pcm), newline=False).decode()
        media = {
            "contentType": "audio/x-mulaw" if ulaw else "audio/x-l16",
            "sampleRate": self.output_rate,
            "payload": payload,
        }
        return self._message("playAudio", media=media)

    def mark(self, name: str) -> Message:
        """A ``checkpoint``."""
        return self._message("checkpoint", name=name)

    def clear(self) -> Message:
        """A ``clearAudio`` message."""
        return self._message("clearAudio")

    def _played(self, message: dict[str, Any]) -> list[StreamEvent]:
        return [returned_mark(message.get("name"))]

    def _parameters(self, message: dict[str, Any], start: dict[str, Any]) -> dict[str, str]:
        """``name=value;…`` beside ``start``, with percent signs for what is special."""
        given = message.get(self.names.parameters) or start.get(self.names.parameters)
        if not isinstance(given, str):
            return {}
        pairs = [one.partition("=") for one in given.split(";", MAX_PARAMETERS)[:MAX_PARAMETERS]]
        return {name.strip(): unquote(value.strip()) for name, sign, value in pairs if sign}


def sign(token: str, address: str, nonce: str) -> bytes:
    """Plivo's signature of a GET request for ``address``, its query sorted."""
    signed = f"{address}.{nonce}".encode(errors="replace")
    return base64.b64encode(hmac.new(token.encode(), signed, hashlib.sha256).digest())


def _sorted(query: str) -> str:
    return "&".join(f"{n}={v}" for n, v in sorted(parse_qsl(query, keep_blank_values=True)))
