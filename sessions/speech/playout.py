"""The playout ledger: what of a reply was generated, sent, and heard.

Rules
- Positions are samples of the reply at the channel's output rate: heard ≤ sent ≤ generated.
- Audio leaves at most ``lead_ms`` ahead of the moment of hearing, so that a flush takes back
  nearly all that was not heard. The moment of hearing comes from the channel's own clock
  (``Channel.played``); where it has none, from time since the audio left.
- What the channel has reason to believe has not arrived (``Channel.missed``) stops the moment of
  hearing, and once the connection is lost or left (``lost``), puts it back.
- Nothing of a reply leaves before ``release``. Paused, the channel is flushed and ``sent`` falls
  back to ``heard``: resuming sends the unheard part again.
- One reply holds the floor; starting another drops what is left of the one before.
- No task and no clock: ``advance(now)`` sends what is due and says when to come again.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from media.echo import EchoDetector
from media.formats import SAMPLE_BYTES, samples_of
from sessions.audio_tap import AudioTap
from sessions.channel import Channel, Piece
from sessions.core.events import ClauseStarted, Event, PlayoutFinished, PlayoutHeard
from sessions.recording.recorder import CallRecorder

_FRAME_MS = 20
_BUFFER_SECONDS = 20
_SPECULATIVE_SECONDS = 4


@dataclass(slots=True)
class _Ledger:
    reply: int
    reply_id: str
    item_id: str
    rate: int
    base: int
    """The channel's own count when this reply began."""
    released: bool = False
    paused: bool = False
    complete: bool = False
    generated: int = 0
    sent: int = 0
    heard: int = 0
    begun: bool = False
    """Its first sample has been reported as heard."""
    clock: float | None = None
    """Moment at which sample ``heard_at_clock`` was heard; None: standing still."""
    heard_at_clock: int = 0
    chunks: deque[tuple[int, bytes]] = field(default_factory=deque)
    """(first sample, PCM16), from the oldest not wholly heard."""
    clauses: deque[tuple[int, int]] = field(default_factory=deque)
    """(first sample, number) of clauses that have not begun."""
    next_clause: int = 0


class Playout:
    """Sends one reply at a time, paced, and keeps its ledger."""

    def __init__(
        self,
        channel: Channel,
        dispatch: Callable[[Event], None],
        echo: EchoDetector | None = None,
    ) -> None:
        """``echo`` is shown what leaves, and what is taken back."""
        self._channel = channel
        self._dispatch = dispatch
        self._echo = echo
        self.tap: AudioTap | None = None
        """Is shown what leaves and what is taken back, while somebody listens in."""
        self.recorder: CallRecorder | None = None
        """Is given what leaves and what is taken back, if the call is recorded."""
        self._ledger: _Ledger | None = None
        self._moved = asyncio.Event()

    def start(self, reply: int, reply_id: str, item_id: str) -> None:
        """Open the ledger of a new reply."""
        base = self._channel.played() or 0
        self._ledger = _Ledger(reply, reply_id, item_id, self._channel.output_rate, base)

    def append(self, reply: int, pcm: bytes) -> None:
        """Take the audio of the reply's next clause (PCM16 at the channel's output rate)."""
        ledger = self._of(reply)
        if ledger is None:
            return
        if pcm:
            ledger.clauses.append((ledger.generated, ledger.next_clause))
            ledger.chunks.append((ledger.generated, pcm))
        ledger.next_clause += 1
        ledger.generated += len(pcm) // SAMPLE_BYTES

    def complete(self, reply: int) -> None:
        """Nothing more will be appended."""
        ledger = self._of(reply)
        if ledger is not None:
            ledger.complete = True

    def release(self, reply: int) -> None:
        """Let the reply's audio out."""
        ledger = self._of(reply)
        if ledger is not None:
            ledger.released = True

    def sounding(self, reply: int) -> bool:
        """Whether the reply has been released and not been heard to its end."""
        ledger = self._of(reply)
        if ledger is None or not ledger.released:
            return False
        return not ledger.complete or ledger.heard < ledger.generated

    def unheard_seconds(self, reply: int, now: float) -> float:
        """Length of the reply's audio that is still to be heard; all of it while it stands
        still."""
        ledger = self._of(reply)
        if ledger is None:
            return 0.0
        if ledger.released and not ledger.paused:
            self._listen(ledger, now)
        return (ledger.generated - ledger.heard) / ledger.rate

    def position(self, now: float, *, lost: bool = False) -> int:
        """How many samples of the reply that holds the floor have been heard. ``lost``: the
        connection is, or is given up for another one."""
        ledger = self._ledger
        if ledger is None:
            return 0
        if ledger.released and not ledger.paused:
            self._listen(ledger, now, lost=lost)
        return ledger.heard

    async def room(self, reply: int) -> None:
        """Wait until the reply may be generated further: not too much is buffered unsent."""
        while (ledger := self._of(reply)) is not None:
            seconds = _BUFFER_SECONDS if ledger.released else _SPECULATIVE_SECONDS
            if ledger.generated - ledger.sent <= seconds * ledger.rate:
                return
            self._moved.clear()
            await self._moved.wait()

    def pause(self, reply: int, now: float) -> tuple[int, int]:
        """Stand still at once; (heard, sent) samples."""
        ledger = self._of(reply)
        if ledger is None:
            return 0, 0
        self._listen(ledger, now)
        sent = ledger.sent
        ledger.paused, ledger.clock = True, None
        self._flush(now, sent - ledger.heard)
        ledger.sent = ledger.heard
        self._rebase(ledger)
        return ledger.heard, sent

    def resume(self, reply: int) -> None:
        """Go on from the heard sample."""
        ledger = self._of(reply)
        if ledger is not None:
            ledger.paused = False

    def stop(self, reply: int, now: float) -> tuple[int, int]:
        """Flush and forget the reply; (heard, sent) samples."""
        ledger = self._of(reply)
        if ledger is None:
            return 0, 0
        if not ledger.paused:
            self._listen(ledger, now)
            self._flush(now, ledger.sent - ledger.heard)
        self._ledger = None
        return ledger.heard, max(ledger.sent, ledger.heard)

    def discard(self, reply: int) -> None:
        """Forget an unreleased reply."""
        ledger = self._of(reply)
        if ledger is not None and not ledger.released:
            self._ledger = None

    def advance(self, now: float) -> float | None:
        """Send what is due at ``now``; the moment to come again, None while nothing is due."""
        self._moved.set()
        ledger = self._ledger
        if ledger is None or not ledger.released or ledger.paused:
            return None
        self._listen(ledger, now)
        lead = samples_of(self._channel.lead_ms, ledger.rate)
        frame = samples_of(_FRAME_MS, ledger.rate)
        while ledger.sent < ledger.generated and ledger.sent - ledger.heard < lead:
            self._send(ledger, min(frame, ledger.generated - ledger.sent), now)
            if self._ledger is not ledger or ledger.paused:
                return None
        if ledger.heard >= ledger.generated:
            if ledger.complete and ledger.generated:
                self._ledger = None
                self._dispatch(PlayoutFinished(ledger.reply, ledger.heard))
            return None
        return now + _FRAME_MS / 1000

    # ------------------------------------------------------------------ within

    def _of(self, reply: int) -> _Ledger | None:
        ledger = self._ledger
        return ledger if ledger is not None and ledger.reply == reply else None

    def _listen(self, ledger: _Ledger, now: float, *, lost: bool = False) -> None:
        """Bring ``heard`` up to ``now``, or back to what arrived."""
        played = self._channel.played()
        if played is not None:
            heard = played - self._channel.missed - ledger.base
        elif ledger.clock is None:
            heard = ledger.heard
        else:
            heard = ledger.heard_at_clock + int((now - ledger.clock) * ledger.rate)
        known = 0 if lost or self._channel.dropped else ledger.heard
        ledger.heard = max(known, min(heard, ledger.sent))
        if ledger.heard and not ledger.begun:
            ledger.begun = True
            self._dispatch(PlayoutHeard(ledger.reply, ledger.heard / ledger.rate))
        if ledger.heard == ledger.sent:
            ledger.clock = None  # run dry: time counts again from the next sample sent
        chunks = ledger.chunks
        while len(chunks) > 1 and chunks[1][0] <= ledger.heard:
            chunks.popleft()

    def _rebase(self, ledger: _Ledger) -> None:
        played = self._channel.played()
        if played is not None:
            ledger.base = played - ledger.heard

    def _flush(self, now: float, unheard: int) -> None:
        """Take back what has left and was not heard: ``unheard`` samples."""
        self._channel.flush()
        if self.recorder is not None:
            self.recorder.taken_back(unheard)
        if self.tap is not None:
            self.tap.taken_back(now)
        if self._echo is not None:
            self._echo.flush()

    def _send(self, ledger: _Ledger, count: int, now: float) -> None:
        follows = ledger.sent > ledger.heard
        if ledger.clock is None:
            ledger.clock, ledger.heard_at_clock = now, ledger.heard
        begun = []
        while ledger.clauses and ledger.clauses[0][0] <= ledger.sent:
            begun.append(ledger.clauses.popleft()[1])
        for part in _slices(ledger.chunks, ledger.sent, count):
            self._channel.play(Piece(ledger.reply_id, ledger.item_id, part))
            if self._echo is not None:
                self._echo.reference(part, ledger.rate)
            at = now + (ledger.sent - ledger.heard) / ledger.rate
            if self.tap is not None:
                self.tap.played(part, ledger.rate, at)
            if self.recorder is not None:
                self.recorder.played(part, ledger.rate, None if follows else at)
            follows = True
        ledger.sent += count
        for clause in begun:
            self._dispatch(ClauseStarted(ledger.reply, clause))


def _slices(chunks: deque[tuple[int, bytes]], start: int, count: int) -> list[memoryview]:
    """``count`` samples from sample ``start`` on, as views of the chunks they lie in."""
    parts: list[memoryview] = []
    for first, pcm in chunks:
        end = first + len(pcm) // SAMPLE_BYTES
        if end <= start or count <= 0:
            continue
        upto = min(end, start + count)
        parts.append(
            memoryview(pcm)[(start - first) * SAMPLE_BYTES : (upto - first) * SAMPLE_BYTES]
        )
        count -= upto - start
        start = upto
    return parts
