"""The telephony channel: one call over a carrier's media stream.

Rules
- Outgoing: one bounded outbox, one writer task; frames as the carrier has them, in the format that
  ``start`` asked for.
- What was heard is what marks vouch for, where the carrier returns any: a mark follows every
  ``MARK_MS`` of audio and whatever is last in the outbox. Else it is what there was time for.
- ``flush`` takes back what has not left and sends ``clear`` before anything else.
- At most ``lead_ms`` is sent ahead of what was heard; the carrier buffers it. One that returns no
  mark for ``self._patience.stall``, or does not read, is closed with 1013.
- Less than a frame waits for more; it is filled up with silence once the carrier has nothing left
  to play.
- Incoming: nothing is queued here; the session reads, at a bounded rate. What is malformed is
  dropped and the call goes on; the first such fault is logged without content, and a stream with
  ``self._patience.faults`` of them is closed with 1008.
- Server events go to observers only: a carrier has no use for them.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import assert_never

from gateway.channels.message_socket import CLOSE_CODES, Limits, MessageSocket, MessageStream
from media.formats import SAMPLE_BYTES, AudioFormat, Framer, samples_of
from sessions.channel import Incoming, Piece, ServerEvent
from sessions.core.config import SessionConfig
from sessions.core.events import AddItem, ClearOutput, Event, KeyPressed, RequestReply
from sessions.speech.call_input import CallInput

from .carrier import (
    Answer,
    Carrier,
    Heard,
    MarkingCarrier,
    MarkReturned,
    Message,
    Pressed,
    Started,
    Stopped,
    StreamEvent,
    UnsupportedFormat,
    WireFault,
)
from .clocks import MarkClock, Returned, TimeClock
from .facts import keys_answer

log = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 64 * 1024
LIMITS = Limits(
    max_message_bytes=MAX_MESSAGE_BYTES,
    messages_a_second=400.0,
    messages_at_once=800,
    pong_seconds=5.0,
    look_seconds=5.0,
)
MARK_MS = 100
MOST_KEYS = 32


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a stream is waited for, in seconds, and how much is put up with."""

    start: float = 10.0
    """Until its start."""
    stall: float = 10.0
    """Until the next mark comes back, while there is audio to be played."""
    key: float = 2.0
    """For another key, before the ones that were pressed are an answer."""
    faults: int = 100
    """Malformed messages."""


_CLOSE_CODES = {
    **CLOSE_CODES,
    "malformed": 1008,
    "no_start": 1008,
    "unsupported_media_format": 1008,
    "missing_api_key": 1008,
    "invalid_api_key": 1008,
    "insufficient_permissions": 1008,
    "foreign_origin": 1008,
    "agent_not_found": 1008,
    "agent_not_usable": 1008,
    "invalid_signature": 1008,
    "invalid_value": 1008,
    "resumption_not_found": 1008,
    "resumption_conflict": 1008,
    "resumed_elsewhere": 1008,
    "moved": 1012,
}


class NeverStarted(Exception):
    """The stream did not begin; ``reason`` as in close reasons."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class TelephonyChannel:
    """A prepared WebSocket as a Channel; use as an async context manager, ``started`` first."""

    missed = 0

    def __init__(
        self,
        ws: MessageStream,
        transport: asyncio.WriteTransport | None,
        carrier: Carrier,
        clock: Callable[[], float] = time.time,
        *,
        limits: Limits = LIMITS,
        patience: Patience = Patience(),
    ) -> None:
        """``clock``: Unix time, reported with pressed keys."""
        self.name = carrier.name
        self.lead_ms = carrier.lead_ms
        self.resumes = carrier.resumes
        self._patience = patience
        self._socket = MessageSocket(
            ws,
            transport,
            limits,
            name=self.name,
            close_codes=_CLOSE_CODES,
            sent_all=self._mark,
        )
        self._carrier = carrier
        self._unix_time = clock
        self._loop = asyncio.get_running_loop()
        self._started = self._ended = False
        self._keys: KeyGather | None = None
        self._behind: list[StreamEvent] = []
        """What came in one message with the start."""
        self._agree()
        self._marking = carrier if isinstance(carrier, MarkingCarrier) else None
        self._marks = MarkClock() if self._marking is not None else None
        self._time = TimeClock()
        self._rest: asyncio.TimerHandle | None = None
        """Sends less than a frame, where time says that all else was played."""
        self._progress = 0.0
        """When the carrier last had nothing of ours, or played some of it (loop's clock)."""
        self._faults = 0
        self._stopped = False
        self._taker: CallInput | None = None

    async def __aenter__(self) -> "TelephonyChannel":
        await self._socket.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close("internal_error" if kind else "ended")

    async def started(self) -> Started:
        """Wait for the stream's ``start``; raises NeverStarted."""
        try:
            async with asyncio.timeout(self._patience.start):
                while (events := await self._receive()) is not None:
                    for at, event in enumerate(events):
                        if isinstance(event, Started):
                            self._begin(event, events[at + 1 :])
                            return event
                        if isinstance(event, Stopped):
                            raise NeverStarted("peer_gone")
        except TimeoutError as error:
            raise NeverStarted("no_start") from error
        except UnsupportedFormat as error:
            self._send_message(error.answer)
            raise NeverStarted(error.code) from error
        raise NeverStarted("malformed" if self._faults >= self._patience.faults else "peer_gone")

    def _begin(self, started: Started, behind: list[StreamEvent]) -> None:
        self._started = True
        self._behind = behind
        self._agree()
        if keys_answer(started.parameters):
            self._keys = KeyGather(self._patience.key)

    def _agree(self) -> None:
        """Take the formats of the stream, before any audio."""
        self.input_rate, self.output_rate = self._carrier.input_rate, self._carrier.output_rate
        frame_samples = samples_of(self._carrier.frame_ms, self.output_rate)
        self._framer = Framer(frame_samples * SAMPLE_BYTES)

    @property
    def format(self) -> AudioFormat:
        """How the stream's audio is written, as the session object says it."""
        return self._carrier.format

    # ------------------------------------------------------------------ Channel

    @property
    def dropped(self) -> bool:
        """Whether the stream broke off: the carrier has not said that it stopped."""
        return not self._stopped

    @property
    def lost(self) -> bool:
        """Whether the stream is gone already."""
        return self._socket.lost

    async def incoming(self) -> AsyncIterator[Incoming]:
        """PCM16 at ``input_rate`` and pressed keys, until the stream has ended."""
        events: list[StreamEvent] | None = self._behind
        while events is not None:
            for event in events:
                match event:
                    case Heard(pcm):
                        yield pcm
                    case Pressed(digit):
                        for pressed in self._pressed(digit):
                            yield pressed
                    case MarkReturned(name):
                        self._returned(name)
                    case Stopped():
                        self._stopped = True
                        return
                    case Started() | Answer():
                        pass  # a second start means nothing; an answer has been sent
                    case _:
                        assert_never(event)
            for due in self._keys_due():
                yield due
            events = await self._receive()

    def configure(self, config: SessionConfig) -> None:
        """The carrier's format holds for the whole stream."""

    def play(self, piece: Piece) -> None:
        """Queue audio for the caller."""
        for frame in self._framer.push(piece.pcm):
            self._queue(frame, len(frame) // SAMPLE_BYTES)
        if self._framer.pending and not self._outstanding:
            self._loop.call_soon(self._send_rest)
        elif self._framer.pending:
            self._send_rest_when_silent()

    def flush(self) -> None:
        """Have everything forgotten that the caller has not heard."""
        self._framer.clear()
        self._socket.drop_audio()
        if self._outstanding and self._started:
            self._send_message(self._carrier.clear())
        self._time.clear()
        if self._marks is not None:
            self._marks.clear()

    def played(self) -> int | None:
        """What marks vouch for; None where the carrier returns none."""
        return self._marks.heard if self._marks is not None else None

    def send(self, event: ServerEvent) -> None:
        """Observers have it from the fan-out."""

    async def close(self, reason: str, words: str | None = None) -> None:
        """Send what is queued, then close with ``reason``; cut the peer off if it lingers.

        ``words``: to be sent in the reason's place."""
        if self._rest is not None:
            self._rest.cancel()
        if self._started and not self._ended:
            self._ended = True
            self._send_message(self._carrier.hang_up(reason))
        await self._socket.close(reason, words)

    # ------------------------------------------------------------------ incoming

    def push_to(self, taker: CallInput) -> None:
        """Pass audio in real time to ``taker`` as it arrives, in order with ``incoming``."""
        self._taker = taker
        self._socket.push_to(self._pushed)

    def _pushed(self, binary: bool, data: bytes) -> bool:
        """Pass on a short message that is nothing but audio; False for any other. Where keys are
        gathered, each message is an occasion to look whether they are due."""
        taker = self._taker
        if binary or taker is None or not taker.ready or self._keys is not None or self._stalled():
            return False
        pcm = self._carrier.audio(data) if self._socket.count() else None
        if pcm:
            taker.take(pcm)
        return pcm is not None

    async def _receive(self) -> list[StreamEvent] | None:
        """The events of the next message; None where the stream is over. Raises
        UnsupportedFormat."""
        if self._stalled():
            return None
        try:
            received = await self._socket.receive()
        except TimeoutError:
            return []
        if received is None:
            return None
        await self._socket.hold_back()
        return self._parse(*received)

    def _parse(self, binary: bool, data: bytes) -> list[StreamEvent] | None:
        try:
            events = self._carrier.parse(data if binary else data.decode())
        except UnsupportedFormat:
            raise
        except WireFault as fault:
            return self._refuse(fault.code)
        except UnicodeDecodeError:
            return self._refuse("invalid_utf8")
        for event in events:
            if isinstance(event, Answer):
                self._send_message(event.message)
        return events

    def _refuse(self, code: str) -> list[StreamEvent] | None:
        self._faults += 1
        if self._faults == 1:
            log.info("a %s stream sent what cannot be taken: %s", self.name, code)
        if self._faults < self._patience.faults:
            return []
        self._socket.give_up("malformed")
        return None

    def _returned(self, name: str) -> None:
        if self._marks is not None and self._marks.returned(name) is Returned.PLAYED:
            self._progress = self._loop.time()
            self._send_rest()

    def _pressed(self, digit: str) -> list[Event]:
        pressed = KeyPressed(digit, int(self._unix_time()))
        keys = self._keys.press(digit, self._loop.time()) if self._keys is not None else None
        return [pressed, *_answer(keys)]

    def _keys_due(self) -> list[Event]:
        return _answer(self._keys.due(self._loop.time())) if self._keys is not None else []

    def _stalled(self) -> bool:
        """Whether the carrier plays nothing of what it was sent; it is closed then."""
        if self._marks is None or not self._marks.outstanding:
            return False
        if self._loop.time() - self._progress < self._patience.stall:
            return False
        log.info("a %s stream plays nothing: closed", self.name)
        self._socket.give_up("slow_reader")
        return True

    # ------------------------------------------------------------------ outgoing

    @property
    def _outstanding(self) -> bool:
        """Whether the carrier has something that the caller has not heard."""
        if self._marks is not None:
            return self._marks.outstanding > 0
        return self._time.left(self._loop.time()) > 0

    def _queue(self, frame: bytes, samples: int) -> None:
        if not self._started:
            return
        if self._marks is None:
            self._time.send(samples / self.output_rate, self._loop.time())
        else:
            if not self._marks.outstanding:
                self._progress = self._loop.time()
            self._marks.send(samples)
        self._put_audio(self._carrier.media(frame))
        if self._marks is not None and (self._marks.unmarked * 1000 >= MARK_MS * self.output_rate):
            self._mark()

    def _mark(self) -> None:
        """Learn when everything so far has been played."""
        if self._marking is not None and self._marks is not None and self._marks.unmarked:
            # Taken back like the audio that it stands behind.
            self._put_audio(self._marking.mark(self._marks.mark()))

    def _send_rest(self) -> None:
        """Less than a frame is left: send it where nothing else is being played."""
        if self._framer.pending and not self._outstanding:
            samples = self._framer.pending // SAMPLE_BYTES
            self._queue(self._framer.flush(), samples)
        elif self._framer.pending:
            self._send_rest_when_silent()

    def _send_rest_when_silent(self) -> None:
        """Come again once time says that all was played; a mark that returns says it itself."""
        if self._marks is not None:
            return
        if self._rest is not None:
            self._rest.cancel()
        left = self._time.left(self._loop.time())
        self._rest = self._loop.call_later(left, self._send_rest)

    def _send_message(self, message: Message | None) -> None:
        if message is not None:
            self._put(message, audio=False)

    def _put_audio(self, message: Message) -> None:
        self._put(message, audio=True)

    def _put(self, message: Message, *, audio: bool) -> None:
        binary = isinstance(message, bytes)
        self._socket.send(
            message if isinstance(message, bytes) else message.encode(), binary=binary, audio=audio
        )


class KeyGather:
    """Pressed keys as something the caller says: gathered until they make an answer.

    An answer ends with ``#``, after ``pause`` seconds without another key, or at ``MOST_KEYS``
    keys. Time is an argument."""

    def __init__(self, pause: float = 2.0) -> None:
        self._pause = pause
        self._keys = ""
        self._pressed = 0.0

    def press(self, digit: str, now: float) -> str | None:
        """Take a key at ``now`` (s); the whole answer where it is one now."""
        self._keys += digit
        self._pressed = now
        return self._take() if digit == "#" or len(self._keys) >= MOST_KEYS else None

    def due(self, now: float) -> str | None:
        """The answer, where no other key has come for long enough."""
        return self._take() if self._keys and now - self._pressed >= self._pause else None

    def _take(self) -> str:
        keys, self._keys = self._keys, ""
        return keys


def _answer(keys: str | None) -> list[Event]:
    """What pressed keys mean where they are something that the caller says."""
    if keys is None:
        return []
    said = AddItem("user", f"(I pressed {keys} on my telephone.)")
    return [ClearOutput(), said, RequestReply()]
