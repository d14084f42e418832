"""What is sent to a carrier over its stream, sans I/O: audio, marks and clears to JSON messages."""

import binascii
from typing import Any

import msgspec

from .dialect import Dialect


class StreamWriter:
    """Writes one stream's messages."""

    def __init__(self, dialect: Dialect, stream_id: str) -> None:
        self._address = {dialect.stream_id: stream_id} if dialect.addressed else {}

    def media(self, audio: bytes) -> bytes:
        """Audio for the caller, in the dialect's encoding."""
        payload = binascii.b2a_base64(audio, newline=False).decode()
        return self._message("media", media={"payload": payload})

    def mark(self, name: str) -> bytes:
        """To be returned when what stands before it has been played."""
        return self._message("mark", mark={"name": name})

    def clear(self) -> bytes:
        """Forget all audio that has not been played."""
        return self._message("clear")

    def _message(self, event: str, **members: Any) -> bytes:
        return msgspec.json.encode({"event": event, **self._address, **members})
