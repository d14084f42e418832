"""A whole call in memory: LiveSession, the real wire_format, scripted engines, a fake channel.

``async with ScriptedCall(...) as call`` runs it; its caller speaks seven times as fast as people
do (the session allows eight), and is silent in between for as long as the call lasts. At the end
it hangs up and asserts that nothing of the call is left, and that the protocol was kept to.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import cycle
from types import TracebackType
from typing import Any

import numpy as np

from gateway.channels.wire.wire_format import RealtimeWireFormat
from media.formats import AudioFormat, samples_of
from pipelines.engines.scripted.live import WORD_MS, ScriptedEngines, scripted_engines, tone
from sessions.core.commands import Command, RecordTurn
from sessions.core.config import Extension, SessionConfig
from sessions.core.events import Event, VoiceWindow
from sessions.core.items import ReplyStatus
from sessions.live import LiveSession
from tests.support.gateway.protocol_validator import check_stream

from .fake_channel import FakeChannel

RATE = 16_000
HASTE = 7
STEP_MS = 20
VOICE_HZ = 440.0
"""A tone that the gate of the voice detector takes for speech."""
TELEVISION_HZ = (300.0, 440.0, 600.0, 800.0, 1000.0)
"""In turns: the gate of the voice detector takes a steady soft tone for noise."""
CONFIG = SessionConfig(
    input_format=AudioFormat(rate=RATE),
    output_format=AudioFormat(rate=RATE),
    instructions="Be brief.",
    extensions=frozenset({Extension.PLAYOUT, Extension.LATENCY}),
)


def scripted_speech(seconds: float, rate: int = RATE) -> bytes:
    """What the voice detector takes for speech."""
    return tone(VOICE_HZ, int(seconds * rate), rate)


class Notes:
    """The observer: what the session reports about itself."""

    def __init__(self) -> None:
        self.turns: list[RecordTurn] = []
        self.steps: list[tuple[Event, list[Command]]] = []

    def published(self, events: list[dict[str, Any]]) -> None:
        pass

    def recorded(self, turn: RecordTurn) -> None:
        self.turns.append(turn)

    def stepped(self, event: Event, now: float, commands: list[Command]) -> None:
        self.steps.append((event, commands))


def hold_back(engines: ScriptedEngines) -> tuple[asyncio.Event, asyncio.Event]:
    """(asked, go): the chat model gives no token before ``go``."""
    asked, go = asyncio.Event(), asyncio.Event()

    async def wait(_: float) -> None:
        asked.set()
        await go.wait()

    engines.chat_model.delay = wait
    return asked, go


class ScriptedCall:
    """One call and its caller."""

    def __init__(
        self,
        engines: ScriptedEngines | None = None,
        config: SessionConfig = CONFIG,
        channel: FakeChannel | None = None,
        television: float = 0.0,
        **changes: Any,
    ) -> None:
        self.engines = engines or scripted_engines(answers=("Fine.",))
        self.channel = channel or FakeChannel(RATE)
        self.notes = Notes()
        self.session = LiveSession(
            "call_1",
            replace(config, **changes),
            self.channel,
            RealtimeWireFormat("call_1", playout_events=True),
            self.engines,
            self.notes,
        )
        self.reason: str | None = None
        self.failure: BaseException | None = None
        self._voiced_ms = 0
        self._hushed = False
        self._frequencies = cycle(np.repeat(TELEVISION_HZ, 4).tolist())
        self._television = television
        """Amplitude of what is heard in the caller's pauses, where the caller's voice is 1."""

    async def __aenter__(self) -> "ScriptedCall":
        self._before = asyncio.all_tasks()
        self.running = asyncio.create_task(self.session.run())
        self._mouth = asyncio.create_task(self._speak())
        await self.event("session.created")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._mouth.cancel()
        await self.channel.inbox.put(None)
        await self.ended()
        await asyncio.gather(self._mouth, return_exceptions=True)
        if error is None:
            self.assert_nothing_left()
            check_stream(self.channel.events)

    async def ended(self, seconds: float = 5.0) -> str | None:
        """Wait until the call is over; its reason, or None where ``run`` raised ``failure``."""
        try:
            self.reason = await asyncio.wait_for(asyncio.shield(self.running), seconds)
        except TimeoutError:
            raise
        except BaseException as failure:  # noqa: BLE001 - what it is, is for the test to say
            self.failure = failure
        return self.reason

    def assert_nothing_left(self) -> None:
        """No task, no timer, no place taken in an engine."""
        assert not asyncio.all_tasks() - self._before - {asyncio.current_task()}
        session, engines = self.session, self.engines
        for handle in (session._alarm, session._pacer):
            assert handle is None or handle.cancelled() or handle.when() <= session._now
        assert not self.channel.reading
        busy = (engines.ears.opened, engines.chat_model.running, engines.voice.running)
        assert busy == (0, 0, 0)

    # ------------------------------------------------------------------ the caller

    async def say(self, words: float) -> None:
        """Speak as long as ``words`` words last; returns when all of it has been sent."""
        self._voiced_ms += int(words * WORD_MS)
        async with asyncio.timeout(10):
            while self._voiced_ms > 0:
                await asyncio.sleep(0.002)

    def hush(self) -> None:
        """Send no audio any more, not even silence."""
        self._hushed = True

    async def send(self, event: Mapping[str, Any]) -> None:
        await self.channel.inbox.put(event)

    async def type(self, text: str) -> None:
        """Write something and ask for an answer."""
        content = [{"type": "input_text", "text": text}]
        item = {"type": "message", "role": "user", "content": content}
        await self.send({"type": "conversation.item.create", "item": item})
        await self.send({"type": "response.create"})

    async def next_turn_is_answered(self) -> None:
        """Wait for silence, speak, and see the answer recorded."""
        await self.until(lambda: len(self.of("response.created")) == len(self.of("response.done")))
        before = len(self._answered_turns())
        await self.say(2)
        await self.until(lambda: len(self._answered_turns()) > before, what="the next answer")

    def _answered_turns(self) -> list[RecordTurn]:
        done = ReplyStatus.COMPLETED
        return [turn for turn in self.notes.turns if turn.user_text and turn.status is done]

    async def configure(self, **session: Any) -> None:
        await self.send({"type": "session.update", "session": session})

    async def _speak(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while not self._hushed:
            voiced = self._voiced_ms > 0
            rate = self.channel.input_rate
            samples = samples_of(STEP_MS, rate)
            pcm = tone(VOICE_HZ, samples, rate) if voiced else self._background(samples)
            await self.channel.inbox.put(pcm)
            self._voiced_ms -= STEP_MS if voiced else 0
            due += STEP_MS / 1000 / HASTE
            await asyncio.sleep(max(0.0, due - loop.time()))

    def _background(self, samples: int) -> bytes:
        if not self._television:
            return bytes(2 * samples)
        pcm = np.frombuffer(tone(next(self._frequencies), samples, self.channel.input_rate), "<i2")
        return (pcm * self._television).astype("<i2").tobytes()

    # ------------------------------------------------------------------ what came

    @property
    def windows_heard(self) -> int:
        """Windows of input (32 ms) that the conversation has taken."""
        return sum(isinstance(event, VoiceWindow) for event, _ in self.notes.steps)

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The events of a type."""
        return [event for event in self.channel.events if event["type"] == kind]

    async def event(self, kind: str, count: int = 1, seconds: float = 8.0) -> dict[str, Any]:
        """The ``count``-th event of that type, waited for if necessary."""
        await self.until(lambda: len(self.of(kind)) >= count, seconds, what=kind)
        return self.of(kind)[count - 1]

    async def until(
        self, condition: Callable[[], bool], seconds: float = 8.0, what: str = "condition"
    ) -> None:
        """Wait until something is true."""
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    await asyncio.sleep(0.005)
        except TimeoutError:
            kinds = [event["type"] for event in self.channel.events]
            raise AssertionError(f"no {what} within {seconds} s; came: {kinds}") from None

    async def answered(self, count: int = 1) -> dict[str, Any]:
        """The ``count``-th reply's ``response.done``."""
        response: dict[str, Any] = (await self.event("response.done", count))["response"]
        return response

    def playout_of(self, response_id: str) -> list[str]:
        """What the playout of that reply did, by ``blab.playout.*``."""
        kinds = [
            event["type"].split(".")[-1]
            for event in self.channel.events
            if event["type"].startswith("blab.playout.") and event.get("response_id") == response_id
        ]
        return [kind for kind in kinds if kind != "heard"]

    def audio_of(self, response_id: str) -> bytes:
        """What was played of that reply."""
        pieces = [piece for piece in self.channel.pieces if piece.response_id == response_id]
        return b"".join(bytes(piece.pcm) for piece in pieces)
