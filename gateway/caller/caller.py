"""One caller in one call: a microphone, an ear and the list of the server's events.

It owns the call's tasks (sending, receiving, watching the connection); use it as an async context
manager. When the call ends, every wait raises CallEnded.

A caller that is given ``resume`` goes on over another connection when the first is lost, as the
demo page does: with the newest handle, after pauses that grow, until the window for that is over.
What is said meanwhile is lost, and so is what had arrived and was not heard.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any

from gateway.caller.audio import Microphone, Player, Recording, Samples, Utterance, audible
from gateway.caller.channels import CLIENT_RATE, CallEnded, CallerChannel, ConnectionLost

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


HANDLE = "blab.session.resumption"
PONG = "blab.pong"
PAUSES = (0.2, 1.0, 2.0, 4.0, 8.0)
"""Seconds before each attempt to go on; the last one repeats."""
PING_SECONDS, LOST_SECONDS = 1.0, 4.0
"""Between two pings, and without any event until the connection counts as lost."""


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
Resume = Callable[[str], Awaitable[CallerChannel]]
"""Opens another connection with a handle; raises CallEnded."""


class Caller:
    """Speaks and listens over ``channel``. Times are on the running loop's clock, in seconds.

    ``background``: what its microphone hears beside its voice, CLIENT_RATE, repeated."""

    def __init__(
        self,
        channel: CallerChannel,
        *,
        on_event: Listener | None = None,
        on_audio: Callable[[float], None] | None = None,
        resume: Resume | None = None,
        background: Samples | None = None,
    ) -> None:
        """``resume``: how the call goes on when its connection is lost, if its session has asked
        for handles (``blab.events``: ``resumption``)."""
        self.channel = channel
        self.resumed = 0
        """How often the call went on over another connection."""
        self._resume = resume
        self._handle: str | None = None
        self._window = 0.0
        self.start = asyncio.get_running_loop().time()
        self.player = Player(CLIENT_RATE, self.start, live=channel.continuous)
        self.microphone = Microphone(self._send_audio, background)
        self.events: list[TimedEvent] = []
        self.audio_arrivals: list[tuple[float, int]] = []
        """(time, bytes) of every piece of audio as it came off the wire."""
        self.closed_because: str | None = None
        self._muted = False
        self._on_event = on_event
        self._on_audio = on_audio
        self._news = asyncio.Condition()
        self._open_responses: set[str] = set()
        self._heard_at = self.start
        """When the last event came."""
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Caller":
        self._tasks = [
            asyncio.create_task(self._receive(), name="caller-receive"),
            asyncio.create_task(self._speak(), name="caller-speak"),
        ]
        if self._resume is not None:
            self._tasks.append(asyncio.create_task(self._watch(), name="caller-watch"))
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
        """Send one client event, once there is a connection again."""
        while True:
            channel = self.channel
            try:
                return await channel.send_event(event)
            except ConnectionLost:
                if not self._can_go_on:
                    raise
            await self._until(partial(self._left, channel), self._window, "connection")

    async def wait_for(
        self,
        wanted: str | Callable[[TimedEvent], bool],
        *,
        within: float,
        since: float = 0.0,
        what: str = "",
    ) -> TimedEvent:
        """The first event of that type (or for which ``wanted`` is true) that came after ``since``.

        ``what`` names it where it does not come.
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

        await self._until(found, within, what or str(wanted))
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

    async def wait_settled(
        self, *, within: float, since: float, answered: Callable[[], bool] | None = None
    ) -> None:
        """Wait until a reply that ended after ``since`` has been heard, and quiet follows.

        ``answered``: another condition in its place, such as that it was not cut.
        Raises NoAnswer after ``within`` seconds."""
        answered = answered or (lambda: self._answered(since))
        deadline = self.now() + within
        quiet_since: float | None = None
        while quiet_since is None or self.now() - quiet_since < SETTLE_SECONDS:
            self.player.advance(self.now())
            busy = bool(self._open_responses) or self.player.waiting_ms > WAITING_MS
            if busy or not answered() or self._audible_lately():
                quiet_since = None
            elif quiet_since is None:
                quiet_since = self.now()
            self._check(deadline, "finished reply")
            await asyncio.sleep(0.02)

    async def hang_up(self) -> None:
        """End the call and its tasks."""
        self._resume = None
        await self.channel.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.player.advance(self.now())

    # ------------------------------------------------------------------ the tasks

    async def _speak(self) -> None:
        try:
            await self.microphone.run()
        except CallEnded as error:
            await self._end(str(error))

    async def _send_audio(self, pcm: bytes) -> None:
        try:
            await self.channel.send_audio(pcm)
        except ConnectionLost:
            if not self._can_go_on:
                raise

    async def _receive(self) -> None:
        reason = None
        while reason is None:
            try:
                await self._hear()
                reason = "the server closed the call"
            except ConnectionLost as error:
                reason = await self._go_on(str(error))
            except CallEnded as error:
                reason = str(error)
            except ValueError as error:
                reason = f"the server sent something that is not a message: {error}"
        await self._end(reason)

    async def _hear(self) -> None:
        async for arrival in self.channel.receive():
            now = self.now()
            if isinstance(arrival, bytes):
                if not self._muted:
                    self.player.feed(arrival, now)
                self.audio_arrivals.append((now, len(arrival)))
                if self._on_audio is not None and audible(arrival):
                    self._on_audio(now)
            else:
                self._heard_at = now
                await self._take(TimedEvent(now, arrival))

    async def _watch(self) -> None:
        """Notice that the network is gone, which a socket does not."""
        for number in itertools.count():
            await asyncio.sleep(PING_SECONDS)
            channel = self.channel
            try:
                await channel.send_event({"type": "blab.ping", "event_id": f"ping_{number}"})
            except CallEnded:
                continue
            if self._can_go_on and self.now() - self._heard_at > LOST_SECONDS:
                channel.abandon()

    # ------------------------------------------------------------------ another connection

    @property
    def _can_go_on(self) -> bool:
        return self._resume is not None and self._handle is not None

    def _left(self, channel: CallerChannel) -> bool:
        return self.channel is not channel

    async def _go_on(self, why: str) -> str | None:
        """Go on over another connection; returns why that is not possible, or None."""
        self.player.flush(self.now())
        self._open_responses.clear()
        self._muted = False
        deadline = self.now() + self._window
        for pause in itertools.chain(PAUSES, itertools.repeat(PAUSES[-1])):
            if self._resume is None or self._handle is None:
                return why
            if self.now() + pause > deadline:
                break
            await asyncio.sleep(pause)
            try:
                channel = await self._resume(self._handle)
            except ConnectionLost:
                continue
            except CallEnded as error:
                return f"{why}; the call did not go on: {error}"
            lost, self.channel = self.channel, channel
            self.resumed += 1
            self._heard_at = self.now()
            await lost.close()  # not before: a connection that still lives would end the call
            async with self._news:
                self._news.notify_all()
            return None
        return f"{why}; the call could not be resumed within {self._window:g} s"

    async def _take(self, timed: TimedEvent) -> None:
        if len(self.events) >= MAX_EVENTS:
            raise CallEnded(f"the server sent more than {MAX_EVENTS} events")
        if timed.type == PONG:
            return
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
        if timed.type == HANDLE:
            self._handle, self._window = timed.event["handle"], float(timed.event["window"])
            if timed.event.get("reconnect") and self._can_go_on:
                raise ConnectionLost("the node is shutting down")

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
