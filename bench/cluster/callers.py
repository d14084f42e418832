"""Callers that speak, listen, and come back with their handle when the line is cut.

Each asks a question of a second every few seconds, over a WebSocket with binary audio, and notes
what it heard. One that is cut off connects again, by the proxy, with the handle it was last given.
"""

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

from bench.cluster.engines import ANSWER
from gateway.caller.audio import Recording
from tests.support.paths import AUDIO

RATE = 24_000
CHUNK_MS = 60
"""Audio of one message: a third of the messages that a browser would send."""
CHUNK = RATE * CHUNK_MS // 1000 * 2
SILENCE = bytes(CHUNK)
SPEECH_SECONDS = 1.0
GIVE_UP_SECONDS = 30.0
AGAIN_SECONDS = 0.1
HANDLE = "blab.session.resumption"
SESSION = {
    "type": "realtime",
    "blab": {"events": ["resumption"]},
    "audio": {"input": {"turn_detection": {"type": "server_vad", "silence_duration_ms": 300}}},
}


def question() -> list[bytes]:
    """A second of a recorded voice, in messages."""
    recorded = Recording.read(AUDIO / "joe_q_hours.wav", RATE)
    speech = recorded.samples[recorded.first :][: int(RATE * SPEECH_SECONDS)].tobytes()
    return [speech[at : at + CHUNK] for at in range(0, len(speech) - CHUNK + 1, CHUNK)]


@dataclass(slots=True)
class Cut:
    """A line that was cut: how long until the next one stood, until the call went on, and until it
    was heard again (s)."""

    at: float
    connected: float | None = None
    resumed: float | None = None
    heard: float | None = None
    speaking: bool = False
    """Whether it was cut in the middle of an answer."""
    refusals: list[str] = field(default_factory=list)
    """Why each attempt to come back failed."""


@dataclass(slots=True)
class Caller:
    """One call. ``answers``: numbers of the answers that it heard to their end, by the model's own
    count."""

    url: str
    key: str
    number: int
    every: float
    """Seconds from one question to the next; 0: it says nothing."""
    call_id: str = ""
    answers: list[int] = field(default_factory=list)
    cuts: list[Cut] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    lost: str = ""
    """Why the call could not go on."""
    _handle: str = ""
    _text: str = ""
    _answering: bool = False

    async def run(self, over: asyncio.Event, speech: list[bytes]) -> None:
        """Call, and ask, until it is ``over``."""
        while not over.is_set() and not self.lost:
            line = await self._connect(over)
            if line is None:
                return
            if self.cuts and self.cuts[-1].connected is None:
                self.cuts[-1].connected = time.monotonic() - self.cuts[-1].at
            async with line:
                speaking = asyncio.create_task(self._speak(line, over, speech))
                try:
                    ended = await self._listen(line)
                except WebSocketException as error:
                    ended = str(error)
                finally:
                    speaking.cancel()
                    await asyncio.gather(speaking, return_exceptions=True)
            if not over.is_set():
                self.cuts.append(Cut(time.monotonic(), speaking=self._answering))
                if not self._handle:
                    self.lost = f"no handle to come back with: {ended}"

    async def _connect(self, over: asyncio.Event) -> ClientConnection | None:
        query = f"resume={self._handle}" if self._handle else "model=default"
        patience = time.monotonic() + GIVE_UP_SECONDS
        reason = ""
        while time.monotonic() < patience and not over.is_set():
            try:
                return await connect(
                    f"{self.url.replace('http', 'ws', 1)}/v1/realtime?{query}",
                    additional_headers={"Authorization": f"Bearer {self.key}"},
                    subprotocols=[Subprotocol("blab.binary.v1")],
                    compression=None,
                    ping_interval=None,
                    open_timeout=5,
                    close_timeout=1,
                )
            except InvalidStatus as error:
                reason = _refusal(error)
            except (OSError, InvalidHandshake, TimeoutError) as error:
                reason = type(error).__name__
            if self.cuts:
                self.cuts[-1].refusals.append(reason)
            await asyncio.sleep(AGAIN_SECONDS)
        if not over.is_set():
            self.lost = f"no line: {reason}"
        return None

    async def _speak(
        self, line: ClientConnection, over: asyncio.Event, speech: list[bytes]
    ) -> None:
        """Questions and silence, in real time; hangs up when it is over."""
        begin = time.monotonic()
        period = int(self.every * 1000) // CHUNK_MS
        first = self.number * 7 % max(1, period)  # not all at once
        sent = 0
        while not over.is_set():
            now = time.monotonic()
            place = (sent - first) % period if period and sent >= first else len(speech)
            await line.send(speech[place] if place < len(speech) else SILENCE)
            sent += 1
            await asyncio.sleep(max(0.0, begin + sent * CHUNK_MS / 1000 - now))
        await line.close()

    async def _listen(self, line: ClientConnection) -> str:
        async for message in line:
            if isinstance(message, bytes):
                if self.cuts and self.cuts[-1].heard is None:
                    self.cuts[-1].heard = time.monotonic() - self.cuts[-1].at
                continue
            await self._take(line, json.loads(message))
        return f"closed with {line.close_code} {line.close_reason}"

    async def _take(self, line: ClientConnection, event: dict[str, Any]) -> None:
        match event["type"]:
            case "session.created" if self.call_id:
                if self.cuts and self.cuts[-1].resumed is None:
                    self.cuts[-1].resumed = time.monotonic() - self.cuts[-1].at
                if event["session"]["id"] != self.call_id:
                    self.lost = "another call answered"
            case "session.created":
                self.call_id = event["session"]["id"]
                await line.send(json.dumps({"type": "session.update", "session": SESSION}))
            case kind if kind == HANDLE:
                self._handle = event["handle"]
            case "response.created":
                self._answering, self._text = True, ""
            case "response.output_audio_transcript.done":
                self._text = event["transcript"]
            case "response.done":
                self._answering = False
                if found := ANSWER.search(self._text):
                    self.answers.append(int(found[1]))
            case "error":
                self.faults.append(event["error"]["message"])


def _refusal(error: InvalidStatus) -> str:
    """Status and code of a refused handshake."""
    status, body = error.response.status_code, error.response.body or b""
    try:
        fault = json.loads(body)["error"]
        return f"{status} {fault['code']}: {fault['message']}"
    except (ValueError, KeyError, TypeError):
        return f"{status} by the proxy"


async def run_all(
    url: str, key: str, calls: int, over: asyncio.Event, every: float, *, callers: list[Caller]
) -> None:
    """``calls`` callers at once until it is ``over``; ``callers`` gets them at once."""
    speech = question()
    callers += [Caller(url, key, number, every) for number in range(calls)]

    async def one(caller: Caller) -> None:
        await asyncio.sleep(caller.number * 0.03)
        await caller.run(over, speech)

    await asyncio.gather(*(one(caller) for caller in callers))
