"""A call over WebSocket ``/v1/realtime`` (OpenAI Realtime; audio raw or as base64 JSON)."""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from gateway.caller.line import LineClosed

BINARY = Subprotocol("blab.binary.v1")
OPEN_SECONDS = 15.0
MAX_MESSAGE = 16 * 1024 * 1024


class WebSocketLine:
    """Carries audio as binary frames where the server agrees, else as base64 in JSON events."""

    continuous = False

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self.binary = connection.subprotocol == BINARY

    @classmethod
    async def open(
        cls, url: str, key: str | None, *, binary: bool = True, query: str = "model=default"
    ) -> "WebSocketLine":
        """Connect to the server at ``url`` (http:// or https://); raises LineClosed."""
        address = f"{url.rstrip('/').replace('http', 'ws', 1)}/v1/realtime?{query}"
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        protocols = [BINARY, Subprotocol("realtime")] if binary else [Subprotocol("realtime")]
        try:
            connection = await connect(
                address,
                additional_headers=headers,
                subprotocols=protocols,
                compression=None,
                max_size=MAX_MESSAGE,
                open_timeout=OPEN_SECONDS,
                close_timeout=2,
            )
        except InvalidStatus as error:
            body = (error.response.body or b"")[:500].decode(errors="replace")
            raise LineClosed(f"HTTP {error.response.status_code}: {body}") from error
        except (OSError, InvalidHandshake, TimeoutError) as error:
            raise LineClosed(f"no connection to {address}: {error or 'no answer'}") from error
        return cls(connection)

    async def send_audio(self, pcm: bytes) -> None:
        """Send 20 ms of PCM16."""
        if self.binary:
            await self._send(pcm)
        else:
            audio = base64.b64encode(pcm).decode()
            await self.send_event({"type": "input_audio_buffer.append", "audio": audio})

    async def send_event(self, event: dict[str, Any]) -> None:
        """Send one client event."""
        await self._send(json.dumps(event))

    async def _send(self, message: str | bytes) -> None:
        try:
            await self._connection.send(message)
        except ConnectionClosed as error:
            raise LineClosed(_reason(error)) from error

    async def receive(self) -> AsyncIterator[bytes | dict[str, Any]]:
        """Audio and events; an audio delta is yielded as event (without audio) and as audio."""
        try:
            async for message in self._connection:
                if isinstance(message, bytes):
                    yield message
                    continue
                event: dict[str, Any] = json.loads(message)
                pcm = b""
                if event.get("type") in ("response.output_audio.delta", "response.audio.delta"):
                    pcm = base64.b64decode(event.pop("delta"))
                    event["audio_bytes"] = len(pcm)
                yield event
                if pcm:
                    yield pcm
        except ConnectionClosed as error:
            raise LineClosed(_reason(error)) from error

    async def close(self) -> None:
        """Close with code 1000."""
        await self._connection.close()


def _reason(error: ConnectionClosed) -> str:
    frame = error.rcvd or error.sent
    return f"closed with {frame.code} {frame.reason}".strip() if frame else "connection lost"
