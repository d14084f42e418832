"""One reply: everything known of it, from its start to its end, and how it is recorded.

Rules
- Its ``state`` (``states.REPLY``) says how far it has come; only ``move`` changes it.
- The heard text is a prefix of the published text, which is a prefix of the generated text.
- It ends with ``ReplyDone`` and ``RecordTurn``. The spoken text of the last few replies is kept, so
  that a client can still report how much of them it played.
"""

import re
from bisect import bisect_right
from dataclasses import dataclass, field, replace

from media.formats import milliseconds_of, samples_of
from sessions.core.call import Call, Moments
from sessions.core.commands import RecordTurn, StartReply
from sessions.core.config import SessionConfig, Tool
from sessions.core.events import ReplyClause, ReplyFailed, ReplyGenerated, RequestReply
from sessions.core.items import Item, Message, ReplyStatus, UnknownItem
from sessions.core.notices import (
    ItemTruncated,
    Latency,
    PlayoutCleared,
    ReplyCreated,
    ReplyDone,
    ReplyItemAdded,
    ReplyText,
    ReplyToolUse,
)
from sessions.core.prompt import Prompts, composed
from sessions.core.states import REPLY, ReplyState, ReplyTrigger
from sessions.core.tools import ToolUses

PROGRESS_SECONDS = 30.0
"""A reply is given up after so long without progress."""

_PUNCTUATION = re.compile(r"(?<![,.?!;:…])[,.?!;:…]++(?=\s|$)")
_WORD = re.compile(r"\S+")
_REMEMBERED = 8

_WAITING = (ReplyState.QUEUED, ReplyState.AWAITED)
_SPECULATIVE = (ReplyState.QUEUED, ReplyState.SPECULATIVE)
_AUDIBLE = (ReplyState.PLAYING, ReplyState.CUT)


@dataclass(slots=True)
class SpokenText:
    """A reply's text aligned with its samples: what had been said by sample n.

    The words of a clause are assumed to be spread evenly over its samples; a word counts as heard
    when its last character was."""

    rate: int = 0
    """Hz of the positions; 0 before the first clause."""
    _texts: list[str] = field(default_factory=list)
    _ends: list[int] = field(default_factory=list)

    def add(self, text: str, samples: int, rate: int) -> None:
        """Append a clause; one without text extends the previous one."""
        self.rate = rate or self.rate
        end = self.samples + samples
        if text or not self._ends:
            self._texts.append(text)
            self._ends.append(end)
        else:
            self._ends[-1] = end

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(self._texts)

    @property
    def clauses(self) -> tuple[tuple[str, ...], tuple[int, ...]]:
        """The clauses, and the sample with which each ends."""
        return tuple(self._texts), tuple(self._ends)

    @property
    def samples(self) -> int:
        """Samples generated so far."""
        return self._ends[-1] if self._ends else 0

    def heard(self, samples: int) -> str:
        """The text up to the last word that ended by sample ``samples``: a prefix of ``text``."""
        if samples <= 0:
            return ""
        if samples >= self.samples:
            return self.text if self.samples else ""
        index = bisect_right(self._ends, samples)
        whole = "".join(self._texts[:index])
        start = self._ends[index - 1] if index else 0
        part = self._texts[index]
        cut = len(part) * (samples - start) // (self._ends[index] - start)
        ends = [m.end() for m in _WORD.finditer(part) if m.end() <= cut]
        return (whole + (part[: ends[-1]] if ends else "")).rstrip()


@dataclass(slots=True)
class Reply:
    """One attempt to answer. Positions in samples of the reply at ``spoken.rate``."""

    number: int
    turn: int
    user_text: str
    reply_id: str
    item_id: str
    config: SessionConfig
    moments: Moments
    progress: float
    """When it last made progress."""
    script: str | None = None
    """Its words, instead of a chat model's."""
    request: RequestReply | None = None
    """The client's request, if there was one."""
    side: bool = False
    """It is a side reply: written beside the conversation and never played."""
    extra: tuple[Message, ...] = ()
    history: tuple[Message, ...] = ()
    tools: tuple[Tool, ...] = ()
    """The tools that it may use."""
    tool_uses: list[tuple[str, str]] = field(default_factory=list)
    """(name, arguments) of each tool use."""
    rounds: int = 0
    """How many replies in a row before it ended with tool uses."""
    state: ReplyState = ReplyState.QUEUED
    result: ReplyGenerated | ReplyFailed | None = None
    """How generation ended; None while it goes on."""
    begins_with_filler: bool = False
    """Its first clause is a filler."""
    published: int = 0
    """How many clauses have been published."""
    clauses: list[str] = field(default_factory=list)
    spoken: SpokenText = field(default_factory=SpokenText)
    paused: int | None = None
    """Samples heard when playout was paused for the current overlap."""
    limit: int | None = None
    """The most samples that the client says it played."""
    reason: str | None = None
    """Why it was cancelled."""
    latency: Latency | None = None
    before: str = ""
    """What the caller heard of the same answer before the call was resumed."""

    def move(self, trigger: ReplyTrigger) -> None:
        """Change the state as the table says; raises IllegalTransition."""
        self.state = REPLY.after(self.state, trigger)

    def start(self, call: Call, tools: ToolUses) -> None:
        """Have the shell generate it, from the history as it is now."""
        self.move(ReplyTrigger.STARTED)
        self.progress = call.now
        self.history = _history_for(self, call.prompts)
        if self.in_conversation and self.script is None:
            self.tools = tools.offered(self.config)
        call.order(
            StartReply(
                self.turn,
                self.number,
                self.reply_id,
                self.item_id,
                self.history,
                self.config,
                self.script,
                side=self.side,
                tools=self.tools,
            )
        )

    def take(self, event: ReplyClause, now: float) -> None:
        """Add a generated clause."""
        if self.moments.audio is None and event.samples:
            self.moments.audio = now
        self.spoken.add(event.text, event.samples, event.rate)
        self.begins_with_filler = self.begins_with_filler or event.filler
        self.clauses.append(event.text)

    @property
    def started(self) -> bool:
        """Whether the shell was ordered to generate it."""
        return self.state not in _WAITING

    @property
    def released(self) -> bool:
        """Whether it may be heard, or will be released as soon as it is started."""
        return self.state not in _SPECULATIVE

    @property
    def audible(self) -> bool:
        """Whether the caller has started to hear it."""
        return self.state in _AUDIBLE

    @property
    def generated(self) -> bool:
        """Whether generation has ended, with all of it or a failure."""
        return self.result is not None

    @property
    def failure(self) -> ReplyFailed | None:
        """The failure that ended generation, if one did."""
        return self.result if isinstance(self.result, ReplyFailed) else None

    @property
    def usage(self) -> tuple[int, int]:
        """Prompt and completion tokens; 0 before it is generated."""
        if isinstance(self.result, ReplyGenerated):
            return self.result.prompt_tokens, self.result.completion_tokens
        return 0, 0

    @property
    def estimated_tokens(self) -> int:
        """Tokens read and written so far, at four characters each."""
        read = sum(len(message.content) for message in self.history)
        return (read + len(self.spoken.text)) // 4

    @property
    def outcome(self) -> tuple[ReplyStatus, str | None]:
        """Its status and the reason for it, if it is heard to its end."""
        if (failure := self.failure) is not None:
            return ReplyStatus.FAILED, failure.code
        if isinstance(self.result, ReplyGenerated) and self.result.truncated:
            return ReplyStatus.INCOMPLETE, "max_output_tokens"
        return ReplyStatus.COMPLETED, None

    @property
    def in_conversation(self) -> bool:
        """Whether it becomes an item."""
        return self.request is None or not self.request.out_of_band

    @property
    def published_text(self) -> str:
        """The text that has been published."""
        return "".join(self.clauses[: self.published])

    @property
    def playing(self) -> str:
        """The text that can echo: up to one second beyond what is being heard."""
        if self.paused is None:
            return self.published_text
        return self.spoken.heard(self.paused + self.spoken.rate)

    @property
    def seconds(self) -> float:
        """The length of the audio generated so far."""
        return self.spoken.samples / self.spoken.rate if self.spoken.rate else 0.0

    def heard(self, samples: int) -> str:
        """The text that reached the caller; of a spoken reply, by sample ``samples``."""
        if not self.config.output_audio:
            return self.published_text
        return min(self.spoken.heard(samples), self.published_text, key=len)


def same_words(left: str, right: str) -> bool:
    """Whether two transcripts differ in case and punctuation only."""
    return _spoken(left) == _spoken(right)


def same_history(left: tuple[Message, ...], right: tuple[Message, ...]) -> bool:
    """Whether two histories differ in the case and punctuation of the last message only."""
    if left == right or not left or len(left) != len(right) or left[:-1] != right[:-1]:
        return left == right
    last, other = left[-1], right[-1]
    return replace(last, content=other.content) == other and same_words(last.content, other.content)


def _spoken(text: str) -> list[str]:
    return _PUNCTUATION.sub("", text.lower()).split()


def new_reply(call: Call, turn: int, config: SessionConfig, moments: Moments) -> Reply:
    """A reply with a new number, not started yet."""
    number = call.next_reply()
    return Reply(
        number=number,
        turn=turn,
        user_text="",
        reply_id=f"resp_{call.call_id}_{number}",
        item_id=f"{call.own_items}r{number}",
        config=config,
        moments=moments,
        progress=call.now,
    )


def too_slow(reply: Reply) -> ReplyFailed:
    """The failure of a reply that made no progress."""
    return ReplyFailed(reply.number, "PROVIDER_ERROR", "The reply took too long.")


def created(reply: Reply) -> ReplyCreated:
    """The notice that the reply was released."""
    config, request = reply.config, reply.request
    return ReplyCreated(
        reply.reply_id,
        reply.item_id,
        config.output_audio,
        config.max_output_tokens,
        config.voice,
        request.metadata if request else (),
        reply.in_conversation,
    )


def _history_for(reply: Reply, prompts: Prompts) -> tuple[Message, ...]:
    """The chat model's prompt: the client's own, or the conversation.

    A side reply is a task of the client (a summary, a label), not the agent speaking, so it has the
    client's instructions alone."""
    beside = not reply.in_conversation and not reply.config.output_audio
    alone = reply.request is not None and reply.request.prompt is not None
    instructions = (
        reply.config.instructions if beside else composed(reply.config, names_language=alone)
    )
    if reply.request is not None and reply.request.prompt is not None:
        return prompts.custom(instructions, reply.request.prompt)
    return prompts.messages(instructions, reply.extra, language=reply.config.language)


def overridden(config: SessionConfig, request: RequestReply | None) -> SessionConfig:
    """The configuration of one reply: the session's, with what the request overrides."""
    if request is None:
        return config
    return replace(
        config,
        instructions=(
            config.instructions if request.instructions is None else request.instructions
        ),
        output_audio=(
            config.output_audio if request.output_audio is None else request.output_audio
        ),
        max_output_tokens=request.max_output_tokens or config.max_output_tokens,
        voice=request.voice or config.voice,
        tools=config.tools if request.tools is None else request.tools,
        servers=(
            config.servers
            if request.servers is None
            else tuple(s for s in config.servers if s.fixed or s.label in request.servers)
        ),
        tool_choice=request.tool_choice or config.tool_choice,
    )


class ReplyRecords:
    """Writes replies into items, notices and records, and corrects ended ones."""

    def __init__(self, call: Call, tools: ToolUses) -> None:
        self._call = call
        self._tools = tools
        self._spoken: dict[str, SpokenText] = {}

    def add_message(self, reply: Reply) -> None:
        """Add the reply's message to the history, now that it has words."""
        previous, spoken = None, reply.config.output_audio
        filler = len(reply.clauses[0]) if reply.begins_with_filler else 0
        if reply.in_conversation:
            item = Item(reply.item_id, "assistant", "", "in_progress", spoken, filler=filler)
            previous = self._call.transcript.add(item)
        self._call.publish(
            ReplyItemAdded(reply.reply_id, reply.item_id, previous, spoken, reply.in_conversation)
        )

    def publish_text(self, reply: Reply, upto: int) -> None:
        """Publish the text of its first ``upto`` clauses, if that has not been done."""
        spoken = reply.config.output_audio
        for text in reply.clauses[reply.published : upto]:
            if text:
                self._call.publish(ReplyText(reply.reply_id, reply.item_id, text, spoken))
        reply.published = max(reply.published, min(upto, len(reply.clauses)))

    def report_latency(self, reply: Reply, heard: float | None = None) -> None:
        """Publish where the waiting time went, once; ``heard``: when its first sample was."""
        if reply.latency is None:
            reply.moments.heard = heard
            reply.latency = reply.moments.latency(reply.turn, reply.reply_id)
            if reply.latency is not None:
                self._call.publish(reply.latency)

    def finish(
        self,
        reply: Reply,
        status: ReplyStatus,
        reason: str | None,
        samples: int,
        *,
        recorded: bool = True,
    ) -> None:
        """End the released ``reply``, of which ``samples`` were heard.

        ``recorded``: False if the reply that goes on with it will record the turn."""
        call, audible = self._call, reply.audible
        self.report_latency(reply)
        reply.move(ReplyTrigger.ENDED)
        if reply.limit is not None:
            samples = min(samples, reply.limit)
        samples = max(0, min(samples, reply.spoken.samples))
        cut = status in (ReplyStatus.CANCELLED, ReplyStatus.FAILED)
        text = reply.published_text
        heard = reply.heard(samples) if cut else text
        if reply.config.output_audio and not reply.spoken.samples:
            heard = ""
        played = audible or reply.limit is not None
        if cut and played and reply.item_id in call.transcript:
            end_ms = milliseconds_of(samples, reply.spoken.rate or 1)
            call.publish(ItemTruncated(reply.item_id, end_ms, heard))
        self._settle_item(reply, text, None if heard == text and not cut else heard)
        tool_uses: tuple[ReplyToolUse, ...] = ()
        if status is ReplyStatus.COMPLETED:
            first_index = int(bool(reply.clauses))
            tool_uses = self._tools.add(reply.number, reply.tool_uses, reply.tools, first_index)
        prompt_tokens, completion_tokens = reply.usage
        failure = reply.failure if status is ReplyStatus.FAILED else None
        call.publish(
            ReplyDone(
                reply.reply_id,
                reply.item_id,
                status,
                reason,
                text,
                heard,
                reply.config.output_audio,
                prompt_tokens,
                completion_tokens,
                code=failure.code if failure else None,
                message=failure.message if failure else None,
                tool_uses=tool_uses,
                audio_seconds=reply.seconds if reply.config.output_audio else 0.0,
                cached_tokens=getattr(reply.result, "cached_tokens", 0),
            )
        )
        if status is ReplyStatus.CANCELLED and audible:
            call.publish(PlayoutCleared(reply.reply_id, reply.item_id))
        if recorded:
            self.record(reply, status, heard)
        self._tools.begin(
            tool_uses, reply.tools, turn=reply.turn, config=reply.config, rounds=reply.rounds
        )

    def record(self, reply: Reply, status: ReplyStatus, heard: str) -> None:
        """Order the record of the turn that the reply answered."""
        self._call.order(
            RecordTurn(
                reply.turn,
                reply.user_text,
                reply.before + reply.spoken.text,
                (reply.before + heard).rstrip() if reply.before else heard,
                status is ReplyStatus.CANCELLED,
                status,
                reply.latency,
                reply.usage,
            )
        )

    def truncate(self, item_id: str, audio_end_ms: int) -> bool:
        """Cut an ended reply at what the client says it played, clamped.

        False if its audio is no longer known. Raises UnknownItem."""
        known = self._call.transcript.get(item_id)
        spoken = self._spoken.get(item_id)
        if spoken is None:
            return False
        samples = max(0, min(spoken.samples, samples_of(audio_end_ms, spoken.rate)))
        heard = spoken.heard(samples)
        before = known.text if known.heard is None else known.heard
        if len(before) <= len(heard):
            heard = before
        self._call.transcript.update(item_id, text=known.text, heard=heard)
        end_ms = milliseconds_of(samples, spoken.rate or 1)
        self._call.publish(ItemTruncated(item_id, end_ms, heard))
        return True

    def _settle_item(self, reply: Reply, text: str, heard: str | None) -> None:
        try:
            self._call.transcript.update(reply.item_id, text=text, heard=heard)
        except UnknownItem:
            return  # deleted by the client while it was spoken, or never an item
        if reply.spoken.samples:
            self._spoken[reply.item_id] = reply.spoken
            while len(self._spoken) > _REMEMBERED:
                del self._spoken[next(iter(self._spoken))]
