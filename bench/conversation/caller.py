"""A telephone in code: Twilio's media stream with a true playout clock, recorded on two tracks.

The carrier's side of https://www.twilio.com/docs/voice/media-streams/websocket-messages. Media from
the agent is queued and heard at 20 ms a tick, ``clear`` empties the queue, a mark comes back when
all before it was heard or cleared. So the agent's track is what a caller would have heard, and not
what was sent.

Rules
- One clock: a tick sends 160 bytes of the caller and plays 160 of the agent. A late loop catches up
  without shifting the clock.
- The caller's room (``Room``) is heard all the time: a background, and the agent's own voice that
  comes back from the loudspeaker.
- Every wait is bounded; a call that the agent's side ends raises ``HungUp``.
"""

import asyncio
import base64
import json
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import websockets
from websockets.asyncio.client import ClientConnection, connect

from bench.conversation.judge import TICK, TICK_SAMPLES, Samples, Span, audible
from media.g711 import ULAW_SILENCE, decode_ulaw, encode_ulaw

STREAM = "MZ" + "0" * 32
ECHO_DELAY = 6
"""Ticks (120 ms): the network's way there and back is in it."""
MOST_TICKS = 30_000
"""A call of ten minutes."""


class HungUp(Exception):
    """The agent's side ended the call, or it took longer than ``MOST_TICKS``."""


@dataclass(frozen=True, slots=True)
class Room:
    """What the microphone hears beside the caller. ``echo``: the agent's voice, by so many dB."""

    background: Samples | None = None
    """Repeated as long as the call lasts."""
    echo: float | None = None


@dataclass(frozen=True, slots=True)
class Clip:
    """Something to be said, PCM16 at 8 kHz; ``voiced`` and ``pause`` are ticks from its start."""

    name: str
    samples: Samples
    voiced: Span
    text: str = ""
    pause: Span | None = None


@dataclass(slots=True)
class Address:
    """Where a system answers, and what the carrier says at the start of a stream."""

    url: str
    parameters: Mapping[str, str] = field(default_factory=dict)


class Telephone:
    """One call. ``run`` plays a script, which speaks and listens by the other methods."""

    def __init__(self, address: Address, room: Room) -> None:
        self._address = address
        self._room = room
        self._mouth: deque[Samples] = deque()
        self._waiting = bytearray()
        self._marks: deque[tuple[int, str]] = deque()
        self._queued = self._played = 0
        self._said: list[Samples] = []
        self._heard: list[Samples] = []
        self._audible: list[bool] = []
        self._ticked = asyncio.Event()

    @property
    def tick(self) -> int:
        """How many have passed."""
        return len(self._heard)

    @property
    def tracks(self) -> tuple[Samples, Samples]:
        """(caller, agent) so far."""
        nothing = np.zeros(0, np.int16)
        return np.concatenate([nothing, *self._said]), np.concatenate([nothing, *self._heard])

    async def run(self, script: Callable[["Telephone"], Awaitable[None]]) -> None:
        """Call, play the script, hang up; raises HungUp, or what the script raises."""
        try:
            async with connect(self._address.url, ping_interval=None, max_queue=None) as line:
                await self._start(line)
                async with asyncio.TaskGroup() as tasks:
                    listening = tasks.create_task(self._listen(line))
                    clock = tasks.create_task(self._tick_on(line))
                    await script(self)
                    clock.cancel()
                    listening.cancel()
                await line.send(json.dumps({"event": "stop", "streamSid": STREAM}))
        except* (websockets.ConnectionClosed, OSError, HungUp) as errors:
            raise HungUp(str(errors.exceptions[0])) from errors

    def say(self, clip: Clip) -> Span:
        """Say it at once; returns its voiced ticks in the call."""
        base = self.tick + len(self._mouth)
        padded = np.pad(clip.samples, (0, -len(clip.samples) % TICK_SAMPLES))
        self._mouth.extend(padded.reshape(-1, TICK_SAMPLES))
        return Span(base + clip.voiced.first, base + clip.voiced.last)

    async def listen(self, ticks: int) -> None:
        """Let so many pass."""
        await self._until(lambda: False, ticks)

    async def hears(self, since: int, *, within: int) -> bool:
        """Whether the agent is audible at or after tick ``since``, ``within`` ticks from now."""
        return await self._until(lambda: any(self._audible[since:]), within)

    async def hears_nothing(self, ticks: int, *, within: int) -> bool:
        """Whether the agent falls silent for ``ticks``, ``within`` ticks from now."""
        return await self._until(lambda: not any(self._audible[-ticks:]), within)

    async def _until(self, condition: Callable[[], bool], within: int) -> bool:
        end = self.tick + within
        while not condition() and self.tick < end:
            self._ticked.clear()
            await self._ticked.wait()
        return condition()

    async def _start(self, line: ClientConnection) -> None:
        await line.send(json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"}))
        start = {
            "streamSid": STREAM,
            "callSid": "CA" + "0" * 32,
            "accountSid": "AC" + "0" * 32,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": dict(self._address.parameters),
        }
        message = {"event": "start", "sequenceNumber": "1", "streamSid": STREAM, "start": start}
        await line.send(json.dumps(message))

    async def _listen(self, line: ClientConnection) -> None:
        async for message in line:
            event = json.loads(message)
            match event.get("event"):
                case "media":
                    payload = base64.b64decode(event["media"]["payload"])
                    self._waiting += payload
                    self._queued += len(payload)
                case "mark":
                    self._marks.append((self._queued, event["mark"]["name"]))
                case "clear":
                    self._waiting.clear()
                    self._played = self._queued
                    await self._return_marks(line)
        raise HungUp("the agent's side hung up")

    async def _return_marks(self, line: ClientConnection) -> None:
        while self._marks and self._marks[0][0] <= self._played:
            name = self._marks.popleft()[1]
            mark = {"event": "mark", "streamSid": STREAM, "mark": {"name": name}}
            await line.send(json.dumps(mark))

    async def _tick_on(self, line: ClientConnection) -> None:
        async def send(number: int, sound: Samples) -> Samples:
            payload = encode_ulaw(sound.tobytes())
            media = {
                "track": "inbound",
                "chunk": str(number + 1),
                "timestamp": str(number * 20),
                "payload": base64.b64encode(payload).decode(),
            }
            message = {"event": "media", "sequenceNumber": str(number + 2), "streamSid": STREAM}
            await line.send(json.dumps(message | {"media": media}))
            await self._return_marks(line)
            return np.frombuffer(decode_ulaw(payload), np.int16)

        await self._keep_time(self._next_heard, send)

    def _next_heard(self) -> Samples:
        payload = bytes(self._waiting[:TICK_SAMPLES])
        del self._waiting[:TICK_SAMPLES]
        self._played += len(payload)
        payload = payload.ljust(TICK_SAMPLES, bytes([ULAW_SILENCE]))
        return np.frombuffer(decode_ulaw(payload), np.int16)

    async def _keep_time(
        self, hear: Callable[[], Samples], send: Callable[[int, Samples], Awaitable[Samples]]
    ) -> None:
        """Tick: ``hear`` gives what the agent says, ``send`` sends the microphone's sound and
        returns it as the line carries it."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        for number in range(MOST_TICKS):
            self._heard.append(hear())
            self._audible.append(_ends_audible(self._heard[-2:]))
            self._said.append(await send(number, self._microphone(number)))
            self._ticked.set()
            await asyncio.sleep(max(0.0, start + (number + 1) * TICK - loop.time()))
        raise HungUp("the call took too long")

    def _microphone(self, number: int) -> Samples:
        heard = np.zeros(TICK_SAMPLES)
        if self._mouth:
            heard += self._mouth.popleft()
        if self._room.background is not None:
            background = self._room.background
            begin = number * TICK_SAMPLES % (len(background) - TICK_SAMPLES)
            heard += background[begin : begin + TICK_SAMPLES]
        if self._room.echo is not None and number >= ECHO_DELAY:
            heard += self._heard[number - ECHO_DELAY] * 10 ** (self._room.echo / 20)
        return np.clip(heard, -32768, 32767).astype(np.int16)


def _ends_audible(last: list[Samples]) -> bool:
    return bool(audible(np.concatenate(last))[-1])
