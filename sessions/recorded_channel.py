"""RecordedChannel: a call whose caller is a recording, and whose line is a buffer.

The recording is one turn, ended by hand (``RECORDED`` is the turn detection that goes with it);
the earlier turns of the conversation are put into the history before it. A long one comes in
parts, each of which is transcribed before the next is heard. Nobody listens in real time: whatever
is played counts as heard at once, and the call ends when its turn is over.
"""

from collections.abc import AsyncIterator, Sequence

from media.formats import HEARING_RATE, SAMPLE_BYTES
from sessions.core.config import SessionConfig, TurnDetection, TurnMode
from sessions.core.events import AddItem, CommitInput, RequestReply
from sessions.core.items import Message

from .channel import Incoming, Piece, ServerEvent
from .recorded_turn import RecordedTurn

RECORDED = TurnDetection(mode=TurnMode.NONE)
OUTPUT_RATE = 24_000
"""Hz of the reply's audio."""
_SLICE_BYTES = HEARING_RATE * SAMPLE_BYTES


class RecordedChannel:
    """Implements channel.Channel. ``parts``: the recording, PCM16 mono at HEARING_RATE, not empty;
    a part is at most a minute long."""

    name = "rest"
    input_rate = HEARING_RATE
    output_rate = OUTPUT_RATE
    lead_ms = 24 * 3_600_000
    """Audio leaves as soon as it is there."""

    def __init__(
        self, parts: Sequence[bytes], history: Sequence[Message], turn: RecordedTurn
    ) -> None:
        self._parts = parts
        self._history = history
        self._turn = turn
        self._played = 0
        self.reply = bytearray()
        """The reply's audio, PCM16 mono at OUTPUT_RATE."""

    async def incoming(self) -> AsyncIterator[Incoming]:
        """The history, the recording, its end; then nothing until the turn is over."""
        for message in self._history:
            if message.role != "tool":
                yield AddItem(message.role, message.content)
        for pcm in self._parts:
            await self._turn.texts_came()
            if self._turn.over.is_set():  # it could not be understood
                return
            for start in range(0, len(pcm), _SLICE_BYTES):
                yield pcm[start : start + _SLICE_BYTES]
            yield CommitInput()
        self._turn.input_ended()
        yield RequestReply()
        await self._turn.over.wait()

    def configure(self, config: SessionConfig) -> None:
        """Formats are fixed."""

    def play(self, piece: Piece) -> None:
        """Keep the reply; an apology after one that failed is nobody's."""
        self._played += len(piece.pcm) // SAMPLE_BYTES
        if piece.response_id == self._turn.response_id:
            self.reply += piece.pcm

    def flush(self) -> None:
        """What was played has been heard."""

    def played(self) -> int:
        """All of it."""
        return self._played

    def send(self, event: ServerEvent) -> None:
        """RecordedTurn renders none."""

    async def close(self, reason: str) -> None:
        """Nothing to free."""
