"""Reads a call's timeline out of its event log.

One reader for everybody who draws or prints a call: ``blab replay --timeline`` and
``GET /api/calls/{id}/timeline``. It runs the log through the core (``read_timeline``), and is
itself a function of its steps alone (``TimelineReader``).

Rules
- Only what was released is shown of a reply. ``heard`` is always the beginning of ``text``.
- Where playout paused or ran dry, the agent's speech has a gap. Words within a clause have no times
  of their own: a clause is the finest that is known.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from media.formats import HEARING_RATE
from sessions.core.commands import (
    CloseCall,
    Command,
    Publish,
    ReleaseReply,
    ResumePlayout,
    StartReply,
    StartTranscription,
)
from sessions.core.events import (
    AddToolOutput,
    CallResumed,
    ClauseStarted,
    Event,
    FinalTranscript,
    PlayoutFinished,
    PlayoutHeard,
    PlayoutPaused,
    PlayoutStopped,
    ReplyClause,
    VoiceWindow,
)
from sessions.core.items import Item
from sessions.core.notices import (
    Fault,
    IdleTimeout,
    InputCommitted,
    KeyReceived,
    LanguageChanged,
    Latency,
    Notice,
    PlayoutHeld,
    PlayoutResumed,
    ReplyCreated,
    ReplyDone,
    SessionChanged,
    SpeechStarted,
    SpeechStopped,
    ToolBegun,
    ToolEnded,
    TranscriptFailed,
    TranscriptFinal,
    TranscriptPartial,
)
from sessions.core.replies.reply import SpokenText
from sessions.core.states import State
from sessions.event_log import EventLog, steps_of

from .clock import DRY_MS, CallClock
from .timeline import (
    BACKCHANNEL,
    DROPPED,
    IN_PROGRESS,
    SOUND,
    TURN,
    ClauseTime,
    Mark,
    Partial,
    ReplyTime,
    Span,
    StateSpan,
    Timeline,
    ToolTime,
    TurnTime,
)

MOST_PARTIALS = 200
"""Of one utterance; of more, the last are kept."""
_VOICED, _VOICED_KEPT = 0.5, 128
_STRETCH = 64
"""Steps between two rests."""


@dataclass(slots=True)
class _Spoken:
    """A reply that is being made: its clauses in samples, and where they were heard."""

    time: ReplyTime
    created: bool = False
    ends: list[int] = field(default_factory=list)
    """By ``ReplyClause``, of which a clause may have several."""
    rate: int = HEARING_RATE
    words: SpokenText = field(default_factory=SpokenText)
    runs: list["_Run"] = field(default_factory=list)

    def starts(self, place: int, sample: int) -> None:
        if not self.runs or self.runs[-1].over:
            self.runs.append(_Run(place, sample, sample, place))

    def stops(self, sample: int, place: int) -> None:
        """``sample`` was not heard any more; the one before was, at ``place`` at the latest."""
        if not self.runs or self.runs[-1].over:
            return
        run = self.runs[-1]
        run.over, run.behind = True, max(run.first, sample)
        run.ends = run.begins + (run.behind - run.first) * HEARING_RATE // self.rate
        if place - run.ends > DRY_MS * HEARING_RATE // 1000:  # it ran dry within
            run.ends = place

    def goes_on(self, place: int, sample: int) -> None:
        """``sample`` is sent now: later than what was sent before it was heard, or in time."""
        if not self.runs or self.runs[-1].over:
            self.starts(place, sample)
            return
        run = self.runs[-1]
        due = run.begins + (sample - run.first) * HEARING_RATE // self.rate
        if place - due > DRY_MS * HEARING_RATE // 1000:
            self.stops(sample, due)
            self.starts(place, sample)

    def heard_from(self, place: int) -> None:
        """The first sample was heard at ``place``, if that is later than it was sent."""
        if len(self.runs) == 1 and not self.runs[0].over:
            self.runs[0].begins = max(self.runs[0].begins, place)

    @property
    def heard(self) -> list["_Run"]:
        """What was heard."""
        return [run for run in self.runs if run.behind > run.first]


@dataclass(slots=True)
class _Run:
    """What was heard in one go: from sample ``first`` to the one before ``behind``, and where."""

    begins: int
    first: int
    behind: int
    ends: int
    over: bool = False

    def place(self, sample: int) -> int:
        """Where a sample was heard, of those within."""
        heard = max(0, min(sample, self.behind) - self.first)
        return self.begins + heard * (self.ends - self.begins) // (self.behind - self.first)


class TimelineReader:
    """Takes the steps of one part of a call, in order. ``begins_ms``: where it is in the call."""

    def __init__(self, begins_ms: int = 0) -> None:
        self._begins = begins_ms
        self._clock: CallClock | None = None
        self._now = 0
        """The place of the step."""
        self._voiced: deque[tuple[int, int]] = deque(maxlen=_VOICED_KEPT)
        """First sample and the one behind the last of the windows with a voice, by position."""
        self._position = 0
        self._opened = (0, 0)
        """Number and first position of the utterance that was opened last."""
        self._state: State | None = None
        self._state_since = 0
        self._states: list[StateSpan] = []
        self._turns: dict[str, TurnTime] = {}
        self._speaking: str | None = None
        """Item of the utterance whose end is not known."""
        self._replies: dict[int, _Spoken] = {}
        self._reply_of: dict[str, int] = {}
        self._tools: dict[str, ToolTime] = {}
        self._by_item: dict[str, str] = {}
        """The tool use that an item is."""
        self._marks: list[Mark] = []

    def take(
        self, event: Event, now: float, commands: Sequence[Command], state: State | None
    ) -> None:
        """One step; ``state``: that behind it, None if it is not known."""
        if self._clock is None:
            self._clock = CallClock(now)
        clock = self._clock
        if isinstance(event, VoiceWindow):
            clock.hear(event, now)
            if event.voice >= _VOICED:
                self._voiced.append((self._position, event.position))
            self._position = event.position
        self._now = max(self._now, clock.at(now))
        before = self._state
        self._take_event(event, now)
        for command in commands:
            self._take_command(command)
        if state is not None:
            self._enter(state)
            if before is State.BARGE_IN:
                self._judge(state)

    def timeline(self) -> Timeline:
        """What was taken so far."""
        if self._speaking is not None:
            self._ends_speaking(self._speaking, self._last_voice())
        self._keep_state()
        replies = [one for one in self._replies.values() if one.created]
        for spoken in replies:
            self._settle(spoken)
        end = max([self._now, self._clock.end if self._clock else 0, *map(_end, replies)])
        turns = list(self._turns.values())
        return Timeline(
            self._ms(end),
            tuple(Span(turn.from_ms, turn.to_ms, turn.item_id) for turn in turns),
            tuple(self._heard_spans(replies)),
            tuple(self._states),
            tuple(turns),
            tuple(one.time for one in replies),
            tuple(self._tools.values()),
            tuple(self._marks),
        )

    # ------------------------------------------------------------------ events and commands

    def _take_event(self, event: Event, now: float) -> None:
        match event:
            case ReplyClause():
                if (spoken := self._replies.get(event.reply)) is not None:
                    spoken.rate = event.rate or spoken.rate
                    spoken.words.add(event.text, event.samples, event.rate)
                    last = spoken.ends[-1] if spoken.ends else 0
                    spoken.ends.append(last + event.samples)
            case ClauseStarted():
                spoken = self._replies.get(event.reply)
                if spoken is not None and event.clause <= len(spoken.ends):
                    first = spoken.ends[event.clause - 1] if event.clause else 0
                    spoken.goes_on(self._now, first)
            case PlayoutPaused() | PlayoutStopped() | PlayoutFinished():
                if (spoken := self._replies.get(event.reply)) is not None:
                    spoken.stops(event.heard, self._now)
            case PlayoutHeard(reply, ago):
                if (spoken := self._replies.get(reply)) is not None and self._clock is not None:
                    spoken.heard_from(self._clock.at(now - ago))
            case AddToolOutput():
                if (tool := self._tools.get(event.tool_use_id)) is not None and tool.to_ms is None:
                    tool.to_ms, tool.output = self._ms(self._now), event.output
            case FinalTranscript(turn=number, text=text) if text.strip():
                for turn in self._turns.values():
                    if turn.number == number and turn.decided_ms is None:
                        turn.text = text
            case CallResumed():
                self._mark("resumed")

    def _take_command(self, command: Command) -> None:
        match command:
            case StartTranscription(turn, position):
                self._opened = (turn, position)
            case StartReply() if not command.side:
                time = ReplyTime(command.reply_id, command.item_id, command.turn)
                time.script = command.script is not None
                self._replies[command.reply] = _Spoken(time)
                self._reply_of[command.reply_id] = command.reply
            case ReleaseReply(reply):
                if (spoken := self._replies.get(reply)) is not None:
                    spoken.created = True
            case ResumePlayout(reply):
                if (spoken := self._replies.get(reply)) is not None and spoken.runs:
                    spoken.starts(self._now, spoken.runs[-1].behind)
            case CloseCall(reason):
                self._mark("end", reason)
            case Publish(notice):
                self._take_notice(notice)

    def _take_notice(self, notice: Notice) -> None:
        match notice:
            case SpeechStarted() | SpeechStopped() | InputCommitted() | TranscriptPartial():
                self._take_speech(notice)
            case TranscriptFinal(item_id, text):
                if (turn := self._turns.get(item_id)) is not None:
                    turn.text = text
            case TranscriptFailed(message=message):
                self._mark("fault", message)
            case ReplyCreated(reply_id):
                if (spoken := self._spoken(reply_id)) is not None:
                    spoken.created = True
            case ReplyDone():
                self._take_done(notice)
            case Latency():
                if (spoken := self._spoken(notice.reply_id)) is not None:
                    spoken.time.latency = notice
            case PlayoutHeld(reply_id):
                self._mark("hold", reply_id=reply_id)
            case PlayoutResumed(reply_id):
                self._mark("resume", reply_id=reply_id)
            case ToolBegun(item_id):
                if (tool := self._tools.get(self._by_item.get(item_id, ""))) is not None:
                    tool.from_ms = self._ms(self._now)
            case ToolEnded(item, failed=failed):
                self._take_output(item, failed=failed)
            case KeyReceived(digit):
                self._mark("key", digit)
            case LanguageChanged(config):
                self._mark("language", config.language)
            case SessionChanged():
                self._mark("session")
            case IdleTimeout():
                self._mark("idle")
            case Fault(message=message, server=True):
                self._mark("fault", message)

    def _take_speech(
        self, notice: SpeechStarted | SpeechStopped | InputCommitted | TranscriptPartial
    ) -> None:
        item_id = notice.item_id
        match notice:
            case SpeechStarted(position=position):
                self._begins_speaking(item_id, self._onset(position))
            case SpeechStopped(position=position):
                self._ends_speaking(item_id, position)
            case InputCommitted():
                if item_id not in self._turns and self._opened[0]:  # push to talk
                    self._begins_speaking(item_id, self._onset(self._opened[1]))
                if (turn := self._turns.get(item_id)) is not None:
                    if self._speaking == item_id:
                        self._ends_speaking(item_id, self._last_voice())
                    turn.outcome, turn.decided_ms = TURN, self._ms(self._now)
            case TranscriptPartial(text=text):
                if (turn := self._turns.get(item_id)) is not None:
                    turn.partials.append(Partial(self._ms(self._now), text))
                    del turn.partials[:-MOST_PARTIALS]
                    turn.text = text

    def _take_done(self, done: ReplyDone) -> None:
        spoken = self._spoken(done.reply_id)
        if spoken is None:
            return
        time = spoken.time
        time.text, time.heard = done.text, done.heard
        time.status, time.reason = str(done.status), done.reason
        time.prompt_tokens, time.completion_tokens = done.prompt_tokens, done.completion_tokens
        for made in done.tool_uses:
            use = made.item.tool_use
            if use is None:
                continue
            self._by_item[made.item.item_id] = use.tool_use_id
            self._tools[use.tool_use_id] = ToolTime(
                use.tool_use_id,
                use.name,
                use.arguments,
                use.label,
                self._ms(self._now),
                reply_id=done.reply_id,
            )

    def _take_output(self, item: Item, *, failed: bool) -> None:
        use = item.tool_use
        tool = self._tools.get(use.tool_use_id) if use is not None else None
        if tool is not None:
            tool.to_ms, tool.failed = self._ms(self._now), failed
            tool.output = item.output[1] if item.output is not None else None

    # ------------------------------------------------------------------ the caller

    def _begins_speaking(self, item_id: str, position: int) -> None:
        if self._speaking is not None:
            self._ends_speaking(self._speaking, self._last_voice())
        place = self._ms(self._place(position))
        overlaps = self._state in (State.SPEAKING, State.BARGE_IN)
        self._turns[item_id] = TurnTime(self._opened[0], item_id, place, place, overlaps=overlaps)
        self._speaking = item_id

    def _ends_speaking(self, item_id: str, position: int) -> None:
        if (turn := self._turns.get(item_id)) is not None:
            turn.to_ms = max(turn.from_ms, self._ms(self._place(position, end=True)))
        if self._speaking == item_id:
            self._speaking = None

    def _judge(self, state: State) -> None:
        """What the caller said over the reply has been judged, if the state has changed."""
        turn = next(reversed(self._turns.values()), None)
        if turn is None or state is State.BARGE_IN:
            return
        if state is State.SPEAKING:
            turn.outcome = BACKCHANNEL if turn.text.strip() else SOUND
            self._mark(turn.outcome, turn.text)
        elif state is not State.CLOSED:
            self._mark("interruption", turn.text)

    def _onset(self, position: int) -> int:
        """Where the voice sets in, of an utterance that begins at ``position`` with padding."""
        voiced = [first for first, behind in self._voiced if behind > position]
        return max(position, voiced[0]) if voiced else position

    def _last_voice(self) -> int:
        return self._voiced[-1][1] if self._voiced else self._position

    # ------------------------------------------------------------------ the agent

    def _spoken(self, reply_id: str) -> _Spoken | None:
        return self._replies.get(self._reply_of.get(reply_id, -1))

    def _settle(self, spoken: _Spoken) -> None:
        """Give the reply and its clauses their times."""
        time = spoken.time
        if spoken.runs and not spoken.runs[-1].over:  # heard at this moment
            run = spoken.runs[-1]
            heard = run.first + (self._now - run.begins) * spoken.rate // HEARING_RATE
            spoken.stops(min(heard, spoken.ends[-1] if spoken.ends else 0), self._now)
        runs = spoken.heard
        if time.status == IN_PROGRESS:  # the part ended before it did
            time.text = spoken.words.text
            time.heard = spoken.words.heard(runs[-1].behind) if runs else ""
        if runs:
            time.from_ms, time.to_ms = self._ms(runs[0].begins), self._ms(runs[-1].ends)
        time.clauses = list(_clauses(spoken, self._ms))

    def _heard_spans(self, replies: Iterable[_Spoken]) -> Iterable[Span]:
        for spoken in replies:
            for run in spoken.heard:
                yield Span(self._ms(run.begins), self._ms(run.ends), spoken.time.reply_id)

    # ------------------------------------------------------------------ places

    def _enter(self, state: State) -> None:
        if state is self._state:
            return
        self._keep_state()
        self._state, self._state_since = state, self._now
        if self._speaking is None or state not in (State.LISTENING, State.CLOSED):
            return
        turn = self._turns.get(self._speaking)
        if turn is not None and state is State.LISTENING:
            turn.outcome = DROPPED
            self._ends_speaking(turn.item_id, self._last_voice())

    def _keep_state(self) -> None:
        """The current state has lasted until now."""
        if self._state is None or self._state is State.CLOSED:
            return
        begins, ends = self._ms(self._state_since), self._ms(self._now)
        last = self._states[-1] if self._states else None
        if last is not None and last.state == self._state.value:
            self._states[-1] = StateSpan(last.state, last.from_ms, ends)
        elif ends > begins:
            self._states.append(StateSpan(self._state.value, begins, ends))

    def _mark(self, kind: str, text: str = "", reply_id: str | None = None) -> None:
        self._marks.append(Mark(kind, self._ms(self._now), text, reply_id))

    def _place(self, position: int, *, end: bool = False) -> int:
        if self._clock is None:
            return 0
        if end:
            return self._clock.of(position - 1) + 1 if position else 0
        return self._clock.of(position)

    def _ms(self, place: int) -> int:
        return self._begins + place * 1000 // HEARING_RATE


def _end(spoken: _Spoken) -> int:
    """The place behind what was heard last; 0 if nothing was."""
    return spoken.heard[-1].ends if spoken.heard else 0


def _clauses(spoken: _Spoken, ms: Callable[[int], int]) -> Iterable[ClauseTime]:
    """The clauses, with what was heard of each."""
    left, first = spoken.time.heard, 0
    for text, last in zip(*spoken.words.clauses, strict=True):
        heard, left = left[: len(text)], left[len(text) :]
        runs = [run for run in spoken.heard if run.first < last and run.behind > first]
        if runs:
            begins, ends = ms(runs[0].place(first)), ms(runs[-1].place(last))
            yield ClauseTime(text, heard, begins, ends)
        else:
            yield ClauseTime(text, heard, None, None)
        first = last


def read_timeline(
    log: EventLog, begins_ms: int = 0, rest: Callable[[], None] = lambda: None
) -> Timeline:
    """The timeline of a log; raises IllegalTransition if another version of the core wrote it.

    ``rest``: called now and then."""
    reader = TimelineReader(begins_ms)
    for number, (entry, commands, state) in enumerate(steps_of(log)):
        reader.take(entry.event, entry.now, commands, state)
        if not number % _STRETCH:
            rest()
    return reader.timeline()
