"""One caller in one call: a microphone, an ear and the list of the server's events.

It owns the call's two tasks (sending, receiving); use it as an async context manager. When the call
ends, every wait raises CallEnded.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from gateway.caller.audio import Microphone, Player, Recording, Utterance, audible
from gateway.caller.channels import CLIENT_RATE, CallEnded, CallerChannel

MAX_EVENTS = 100_000
"""Events kept; a call that sends more ends with CallEnded."""
SETTLE_SECONDS = 0.6
"""Quiet after a finished reply before the conversation counts as settled."""
WAITING_MS = 40.0
"""Audio that may wait in the ear of a stream that never pauses (WebRTC)."""
FLUSHING = ("input_audio_buffer.speech_started", "output_audio_buffer.cleared")
MUTING = "blab.playout.held"
UNMUTING = ("blab.playout.resumed", "blab.playout.started")
"""A caller that asked for playout events falls silent at once, as the demo page does, and does not
hear what its jitter buffer still holds."""


class NoAnswer(Exception):
    """What was waited for did not happen in time; the message says what."""


@dataclass(frozen=True, slots=True)
class TimedEvent:
    """A server event and when it arrived (the loop's clock, seconds)."""

    at: float
    event: dict[str, Any]

    @property
    def type(self) -> str:
        """The event's type, or ""."""
        return str(self.event.get("type", ""))


Listener = Callable[[TimedEvent], None]


class Caller:
    """Speaks and listens over ``channel``. Times are on the running loop's clock, in seconds."""

    def __init__(
        self,
        channel: CallerChannel,
        *,
        on_event: Listener | None = None,
        on_audio: Callable[[float], None] | None = None,
    ) -> None:
        self.channel = channel
        self.start = asyncio.get_running_loop().time()
        self.player = Player(CLIENT_RATE, self.start, live=channel.continuous)
        self.microphone = Microphone(channel)
        self.events: list[TimedEvent] = []
        self.audio_arrivals: list[tuple[float, int]] = []
        """(time, bytes) of every piece of audio as it came off the wire."""
        self.closed_because: str | None = None
        self._muted = False
        self._on_event = on_event
        self._on_audio = on_audio
        self._news = asyncio.Condition()
        self._open_responses: set[str] = set()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Caller":
        self._tasks = [
            asyncio.create_task(self._receive(), name="caller-receive"),
            asyncio.create_task(self._speak(), name="caller-speak"),
        ]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.hang_up()

    def now(self) -> float:
        """The loop's clock."""
        return asyncio.get_running_loop().time()

    def say(self, recording: Recording) -> Utterance:
        """Say a recording (24 kHz) in real time; returns at once."""
        return self.microphone.say(recording)

    async def send(self, event: dict[str, Any]) -> None:
        """Send one client event."""
        await self.channel.send_event(event)

    async def wait_for(
        self, wanted: str | Callable[[TimedEvent], bool], *, within: float, since: float = 0.0
    ) -> TimedEvent:
        """The first event of that type (or for which ``wanted`` is true) that came after ``since``.

        Raises NoAnswer after ``within`` seconds and CallEnded when the call ends."""
        match = wanted if callable(wanted) else lambda event: event.type == wanted
        looked = 0

        def found() -> bool:
            nonlocal looked
            while looked < len(self.events):
                candidate = self.events[looked]
                if candidate.at >= since and match(candidate):
                    return True
                looked += 1
            return False

        await self._until(found, within, str(wanted))
        return self.events[looked]

    async def wait_audible(self, *, within: float, since: float) -> float:
        """When the first audible reply sample after ``since`` was heard; raises NoAnswer."""
        deadline = self.now() + within
        while True:
            self.player.advance(self.now())
            moment = self.player.audible_after(since)
            if moment is not None:
                return moment
            self._check(deadline, "audible reply")
            await asyncio.sleep(0.02)

    async def wait_settled(self, *, within: float, since: float) -> None:
        """Wait until a reply that began after ``since`` is done and heard, and quiet follows.

        Raises NoAnswer after ``within`` seconds."""
        deadline = self.now() + within
        quiet_since: float | None = None
        while quiet_since is None or self.now() - quiet_since < SETTLE_SECONDS:
            self.player.advance(self.now())
            busy = bool(self._open_responses) or self.player.waiting_ms > WAITING_MS
            if busy or not self._answered(since) or self._audible_lately():
                quiet_since = None
            elif quiet_since is None:
                quiet_since = self.now()
            self._check(deadline, "finished reply")
            await asyncio.sleep(0.02)

    async def hang_up(self) -> None:
        """End the call and both tasks."""
        await self.channel.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.player.advance(self.now())

    # ------------------------------------------------------------------ the two tasks

    async def _speak(self) -> None:
        try:
            await self.microphone.run()
        except CallEnded as error:
            await self._end(str(error))

    async def _receive(self) -> None:
        try:
            async for arrival in self.channel.receive():
                now = self.now()
                if isinstance(arrival, bytes):
                    if not self._muted:
                        self.player.feed(arrival, now)
                    self.audio_arrivals.append((now, len(arrival)))
                    if self._on_audio is not None and audible(arrival):
                        self._on_audio(now)
                else:
                    await self._take(TimedEvent(now, arrival))
            await self._end("the server closed the call")
        except CallEnded as error:
            await self._end(str(error))
        except ValueError as error:
            await self._end(f"the server sent something that is not a message: {error}")

    async def _take(self, timed: TimedEvent) -> None:
        if len(self.events) >= MAX_EVENTS:
            raise CallEnded(f"the server sent more than {MAX_EVENTS} events")
        if timed.type in FLUSHING:
            self.player.flush(timed.at)
        if timed.type == MUTING:
            self._muted = True
        elif timed.type in UNMUTING:
            self._muted = False
        response = timed.event.get("response")
        if isinstance(response, dict):
            if timed.type == "response.created":
                self._open_responses.add(str(response.get("id")))
            elif timed.type == "response.done":
                self._open_responses.discard(str(response.get("id")))
        self.events.append(timed)
        if self._on_event is not None:
            self._on_event(timed)
        async with self._news:
            self._news.notify_all()

    async def _end(self, reason: str) -> None:
        self.closed_because = self.closed_because or reason
        async with self._news:
            self._news.notify_all()

    # ------------------------------------------------------------------ waiting

    def _answered(self, since: float) -> bool:
        return any(e.at >= since and e.type == "response.done" for e in self.events)

    def _audible_lately(self) -> bool:
        last = self.player.audible_until(self.now())
        return last is not None and self.now() - last < SETTLE_SECONDS

    async def _until(self, found: Callable[[], bool], within: float, what: str) -> None:
        try:
            async with asyncio.timeout(within), self._news:
                await self._news.wait_for(lambda: found() or self.closed_because is not None)
        except TimeoutError:
            raise NoAnswer(f"no {what} within {within:g} s") from None
        if not found():
            raise CallEnded(str(self.closed_because))

    def _check(self, deadline: float, what: str) -> None:
        if self.closed_because is not None:
            raise CallEnded(self.closed_because)
        if self.now() > deadline:
            raise NoAnswer(f"no {what} in time")
