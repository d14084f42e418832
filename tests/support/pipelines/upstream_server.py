"""A local server that speaks OpenAI's HTTP contracts, and breaks them on demand."""

import asyncio
import io
import json
import wave
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from aiohttp import web

KEY = "sk-test-0123456789abcdef"
MODELS = ("upstream-chat", "upstream-voice", "upstream-ears")


class Fault(Enum):
    NONE = auto()
    SILENT = auto()
    """No answer at all."""
    STALLS = auto()
    """Headers and a first piece, then nothing."""
    BREAKS_OFF = auto()
    """A first piece, then the connection is closed."""
    REFUSES = auto()
    """Status and body of ``Upstream.refusal``."""
    GARBAGE = auto()
    """Status 200 with something else."""
    ERROR_IN_STREAM = auto()


@dataclass
class Upstream:
    """Set ``fault`` and look at ``requests``; ``disconnected`` is set when a client has left."""

    fault: Fault = Fault.NONE
    refusal: tuple[int, Any] = (500, {"error": {"message": "out of order"}})
    reply: tuple[str, ...] = ("Hello", " there", ".")
    thoughts: list[str] = field(default_factory=list)
    """``reasoning_content`` before the reply."""
    calls: list[dict[str, Any]] = field(default_factory=list)
    """Pieces of tool calls that follow the reply."""
    audio: bytes = bytes(range(256)) * 20
    requests: list[dict[str, Any]] = field(default_factory=list)
    disconnected: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""
    _runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/v1/models", self._guarded(self._models))
        app.router.add_post("/v1/chat/completions", self._guarded(self._chat))
        app.router.add_post("/v1/audio/speech", self._guarded(self._speech))
        app.router.add_post("/v1/audio/transcriptions", self._guarded(self._transcription))
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}/v1"

    async def stop(self) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    def _guarded(
        self, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def guarded(request: web.Request) -> web.StreamResponse:
            if request.headers.get("Authorization") != f"Bearer {KEY}":
                message = f"Incorrect API key provided: {request.headers.get('Authorization')}"
                return web.json_response({"error": {"message": message}}, status=401)
            try:
                if self.fault is Fault.SILENT:
                    await asyncio.Event().wait()
                if self.fault is Fault.REFUSES:
                    status, body = self.refusal
                    if isinstance(body, str):
                        return web.Response(status=status, text=body, content_type="text/html")
                    return web.json_response(body, status=status)
                return await handler(request)
            except (asyncio.CancelledError, ConnectionError):
                self.disconnected.set()
                raise

        return guarded

    async def _models(self, request: web.Request) -> web.Response:
        self.requests.append({"path": request.path})
        if self.fault is Fault.GARBAGE:
            return web.json_response(["not", "an", "object"])
        data = [{"id": name, "object": "model"} for name in MODELS]
        return web.json_response({"object": "list", "data": data})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.requests.append(body)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        if self.fault is Fault.GARBAGE:
            await response.write(b"data: {nonsense\n\n")
            return response
        if self.fault is Fault.ERROR_IN_STREAM:
            await response.write(_event({"error": {"message": f"lost {KEY}", "code": 500}}))
            return response
        await response.write(b": keep-alive\n\n")
        for text in self.thoughts:
            await response.write(_event({"choices": [{"delta": {"reasoning_content": text}}]}))
        for text in self.reply:
            await response.write(_event({"choices": [{"index": 0, "delta": {"content": text}}]}))
            await self._maybe_fail(request)
            if self.fault is Fault.BREAKS_OFF:
                return response
        for piece in self.calls:
            await response.write(_event({"choices": [{"delta": {"tool_calls": [piece]}}]}))
        await response.write(_event({"choices": [{"delta": {}, "finish_reason": "stop"}]}))
        usage = {"prompt_tokens": 11, "completion_tokens": len(self.reply)}
        await response.write(_event({"choices": [], "usage": usage}) + b"data: [DONE]\n\n")
        return response

    async def _speech(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(await request.json())
        if self.fault is Fault.GARBAGE:
            return web.json_response({"detail": "no pcm here"})
        response = web.StreamResponse(headers={"Content-Type": "audio/pcm"})
        await response.prepare(request)
        for start in range(0, len(self.audio), 1001):  # odd, so that samples are cut in two
            await response.write(self.audio[start : start + 1001])
            await self._maybe_fail(request)
        return response

    async def _transcription(self, request: web.Request) -> web.Response:
        form = await request.post()
        file = form["file"]
        assert isinstance(file, web.FileField)
        with wave.open(io.BytesIO(file.file.read())) as recording:
            seconds = recording.getnframes() / recording.getframerate()
        self.requests.append({"model": form["model"], "language": form["language"]})
        if self.fault is Fault.GARBAGE:
            return web.json_response({"words": []})
        return web.json_response({"text": f" {seconds:.1f} seconds of speech. "})

    async def _maybe_fail(self, request: web.Request) -> None:
        if self.fault is Fault.STALLS:
            await asyncio.Event().wait()
        if self.fault is Fault.BREAKS_OFF and request.transport is not None:
            request.transport.abort()


def _event(data: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"
