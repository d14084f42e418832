"""How replies go down in the books: what was said, what was heard, in item, notice and record.

Rules: heard is a prefix of what was told, and told one of what was generated. The spoken text
of the last few replies is kept, so that a client may still say how much of them it played.
"""

from media.formats import milliseconds_of, samples_of
from sessions.core.call import Call
from sessions.core.commands import RecordTurn
from sessions.core.items import ReplyStatus
from sessions.core.notices import ItemTruncated, PlayoutCleared, ReplyDone, ReplyToolUse
from sessions.core.tools.tool_calls import ToolUses
from sessions.core.transcript import UnknownItem

from .reply import Reply
from .spoken_text import SpokenText

_REMEMBERED = 8


class ReplyRecords:
    """Ends replies, and corrects the ended ones."""

    def __init__(self, call: Call, tools: ToolUses | None = None) -> None:
        """``tools``: who carries out what replies call; None: they call nothing."""
        self._call = call
        self._tools = tools
        self._spoken: dict[str, SpokenText] = {}

    def finish(self, reply: Reply, status: ReplyStatus, reason: str | None, samples: int) -> None:
        """The released ``reply`` has ended; ``samples`` of it were heard."""
        call = self._call
        if reply.limit is not None:
            samples = min(samples, reply.limit)
        samples = max(0, min(samples, reply.spoken.samples))
        cut = status in (ReplyStatus.CANCELLED, ReplyStatus.FAILED)
        told = reply.told_text
        heard = self._heard(reply, samples) if cut else told
        if reply.config.output_audio and not reply.spoken.samples:
            heard = ""
        played = reply.audible or reply.limit is not None
        if cut and played and reply.item_id in call.transcript:
            end_ms = milliseconds_of(samples, reply.spoken.rate or 1)
            call.tell(ItemTruncated(reply.item_id, end_ms, heard))
        self._settle_item(reply, told, None if heard == told and not cut else heard)
        failed = status is ReplyStatus.FAILED
        calls: tuple[ReplyToolUse, ...] = ()
        if self._tools is not None and status is ReplyStatus.COMPLETED:
            calls = self._tools.tell(reply, int(reply.announced))
        call.tell(
            ReplyDone(
                reply.reply_id,
                reply.item_id,
                status,
                reason,
                told,
                heard,
                reply.config.output_audio,
                *reply.usage,
                code=reason if failed else None,
                message=reply.message if failed else None,
                tool_uses=calls,
                audio_seconds=reply.seconds if reply.config.output_audio else 0.0,
            )
        )
        cancelled = status is ReplyStatus.CANCELLED
        if cancelled and reply.audible:
            call.tell(PlayoutCleared(reply.reply_id, reply.item_id))
        self.record(reply, status, heard)
        if self._tools is not None:
            self._tools.begin(reply, calls)

    def record(self, reply: Reply, status: ReplyStatus, heard: str) -> None:
        """Store the turn that the reply answered."""
        self._call.order(
            RecordTurn(
                reply.turn,
                reply.user_text,
                reply.spoken.text,
                heard,
                status is ReplyStatus.CANCELLED,
                status,
                reply.latency,
                reply.usage,
            )
        )

    def truncate(self, item_id: str, audio_end_ms: int) -> bool:
        """Take the client's word for how much of an ended reply it played, clamped.

        False where the item holds no audio that is still known. Raises UnknownItem."""
        known = self._call.transcript.get(item_id)
        spoken = self._spoken.get(item_id)
        if spoken is None:
            return False
        samples = samples_played(audio_end_ms, spoken)
        heard = spoken.heard(samples)
        before = known.text if known.heard is None else known.heard
        if len(before) <= len(heard):
            heard = before
        self._call.transcript.update(item_id, text=known.text, heard=heard)
        self._call.tell(ItemTruncated(item_id, milliseconds_of(samples, spoken.rate or 1), heard))
        return True

    def _heard(self, reply: Reply, samples: int) -> str:
        if not reply.config.output_audio:
            return reply.told_text
        heard, told = reply.spoken.heard(samples), reply.told_text
        return heard if len(heard) <= len(told) else told

    def _settle_item(self, reply: Reply, text: str, heard: str | None) -> None:
        try:
            self._call.transcript.update(reply.item_id, text=text, heard=heard)
        except UnknownItem:
            return  # the client deleted it while it was spoken
        if reply.spoken.samples:
            self._spoken[reply.item_id] = reply.spoken
            while len(self._spoken) > _REMEMBERED:
                del self._spoken[next(iter(self._spoken))]


def samples_played(audio_end_ms: int, spoken: SpokenText) -> int:
    """What the client says it played, in samples, no more than there was."""
    return max(0, min(spoken.samples, samples_of(audio_end_ms, spoken.rate)))
