"""A server that speaks just enough of the realtime protocol to be called: answers a beep."""

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import numpy as np
from aiohttp import WSMsgType, web

BINARY = "blab.binary.v1"
RATE = 24_000
LOUD = 500
LATENCY = {
    "endpointing_ms": 300,
    "stt_ms": 0,
    "first_token_ms": 80,
    "llm_ms": 120,
    "tts_ms": 30,
    "gateway_ms": 1,
    "total_ms": 451,
    "heard_ms": None,
}


@dataclass
class RealtimeServer:
    """Answers 200 ms of silence after speech with ``beep_ms`` of tone."""

    url: str = ""
    answers: bool = True
    beep_ms: int = 400
    frames: list[bytes] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    queries: list[str] = field(default_factory=list)
    deaf: bool = False
    """It answers nothing more, as if the network were gone."""
    messages: list[dict[str, object]] = field(default_factory=list)

    async def session(self, request: web.Request) -> web.Response:
        return web.json_response({"value": "ek_test", "expires_at": 0})

    async def call(self, request: web.Request) -> web.WebSocketResponse:
        self.keys.append(request.headers.get("Authorization"))
        self.queries.append(request.query_string)
        socket = web.WebSocketResponse(protocols=[BINARY, "realtime"])
        await socket.prepare(request)
        await socket.send_json({"type": "session.created", "session": {"id": "sess_1"}})
        speaking, quiet, turn = False, 0, 0
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                event = json.loads(message.data)
                if self.deaf:
                    continue
                if event["type"] == "blab.ping":
                    await socket.send_json({"type": "blab.pong", "ping_id": event["event_id"]})
                    continue
                if event["type"] != "input_audio_buffer.append":
                    self.messages.append(event)
                    if "resumption" in json.dumps(event):
                        handle = {"handle": "resume.one", "window": 20, "resumed": False}
                        await socket.send_json({"type": "blab.session.resumption", **handle})
                    await socket.send_json({"type": "session.updated", "session": {}})
                    continue
                frame = base64.b64decode(event["audio"])
            elif message.type is WSMsgType.BINARY:
                frame = message.data
            else:
                break
            self.frames.append(frame)
            loud = np.abs(np.frombuffer(frame, "<i2").astype(int)).max() > LOUD
            quiet = 0 if loud else quiet + 1
            if loud and not speaking:
                speaking, turn = True, turn + 1
                await socket.send_json(
                    {"type": "input_audio_buffer.speech_started", "audio_start_ms": 0}
                )
            elif speaking and quiet == 10:
                speaking = False
                if self.answers:
                    await self.answer(socket, f"resp_{turn}")
        return socket

    async def answer(self, socket: web.WebSocketResponse, response: str) -> None:
        item = {"item_id": "item_1", "transcript": "hello"}
        kind = "conversation.item.input_audio_transcription.completed"
        await socket.send_json({"type": kind, **item})
        await socket.send_json({"type": "response.created", "response": {"id": response}})
        kind = "response.output_audio_transcript.delta"
        await socket.send_json({"type": kind, "response_id": response, "delta": "Beep."})
        pcm = np.full(RATE * self.beep_ms // 1000, 4000, "<i2").tobytes()
        if socket.ws_protocol == BINARY:
            await socket.send_bytes(pcm)
        else:
            audio = base64.b64encode(pcm).decode()
            await socket.send_json({"type": "response.output_audio.delta", "delta": audio})
        await socket.send_json({"type": "blab.latency", **LATENCY})
        done = {"id": response, "status": "completed"}
        await socket.send_json({"type": "response.done", "response": done})


@contextlib.asynccontextmanager
async def running(server: RealtimeServer) -> AsyncIterator[RealtimeServer]:
    app = web.Application()
    app.router.add_post("/demo/session", server.session)
    app.router.add_get("/v1/realtime", server.call)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    server.url = f"http://127.0.0.1:{port}"
    try:
        yield server
    finally:
        await runner.cleanup()
        await asyncio.sleep(0)
