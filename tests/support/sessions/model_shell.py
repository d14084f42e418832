"""A model of the shell around the core: obeys its commands, keeps ledgers, checks the rules.

It answers PausePlayout and StopPlayout right after, as the shell must; everything else comes
when a test says so. Each command is checked against the rules of ``docs/conversation.md`` as it
is carried out, so that every test that uses the model tests the invariants too.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from sessions.core.checkpoint import Checkpoint
from sessions.core.commands import (
    CancelReply,
    CancelTool,
    CloseCall,
    Command,
    DetectLanguage,
    DropTranscription,
    FinishTranscription,
    ListTools,
    PausePlayout,
    Publish,
    RecordTurn,
    ReleaseReply,
    RestartTranscription,
    ResumePlayout,
    RunTool,
    ScoreTurn,
    SpeakFiller,
    StartReply,
    StartTranscription,
    StopPlayout,
    TranscribeClip,
)
from sessions.core.config import SessionConfig, SessionKind
from sessions.core.conversation import Conversation
from sessions.core.events import (
    CallResumed,
    CallStarted,
    ClauseReady,
    ClauseStarted,
    ConfigureSession,
    Event,
    FinalTranscript,
    LanguageDetected,
    PartialTranscript,
    PlayoutFinished,
    PlayoutHeard,
    PlayoutPaused,
    PlayoutStopped,
    ReplyClause,
    ReplyFailed,
    ReplyGenerated,
    Tick,
    ToolReturned,
    ToolUseRequested,
    TurnScored,
    VoiceWindow,
)
from sessions.core.items import Message, ReplyStatus
from sessions.core.notices import (
    ItemTruncated,
    Latency,
    Notice,
    PlayoutCleared,
    ReplyCreated,
    ReplyDone,
    ReplyItemAdded,
    ReplyText,
    ToolEnded,
)
from sessions.core.states import State

WINDOW = 512
WINDOW_SECONDS = WINDOW / 16_000
RATE = 24_000

T = TypeVar("T")

_AFTER_CLOSE = (ItemTruncated, Latency, PlayoutCleared, ReplyDone)


def check_template(history: Sequence[Message]) -> None:
    """What the chat templates of Gemma and Mistral demand, as far as they can agree.

    One system message, in front; user and assistant in turns, the user first and nobody but the
    user or a tool last; calls directly followed by their outputs, which do not count as a turn."""
    said = history[history[:1] != () and history[0].role == "system" :]
    assert said, "a template needs a user message"
    roles = [m.role for m in said if m.role != "tool" and not m.tool_uses]
    assert roles == ["user", "assistant"] * (len(roles) // 2) + ["user"] * (len(roles) % 2)
    assert said[0].role == "user"
    assert said[-1].role in ("user", "tool")
    awaited: list[str] = []
    for message in said:
        assert message.content.strip() or message.tool_uses
        if message.role == "tool":
            assert awaited.pop(0) == message.tool_use_id
        else:
            assert not awaited
        awaited += [call.tool_use_id for call in message.tool_uses]
    assert not awaited


@dataclass
class ModelReply:
    """What the shell knows of one reply."""

    order: StartReply
    clauses: list[tuple[str, int]] = field(default_factory=list)
    begun: int = 0
    """Clauses that have begun to play."""
    heard: int = 0
    released: bool = False
    paused: bool = False
    complete: bool = False
    """Nothing more will be generated."""
    dead: bool = False
    """Cancelled: its generator is gone."""
    stopped: bool = False
    """Its playout is gone."""
    published: str = ""
    created: bool = False
    filler: str = ""
    """What it is to begin with, until that is spoken or too late."""
    done: ReplyDone | None = None
    records: int = 0
    goes_on: bool = False
    """Another reply goes on with it, and records both."""

    @property
    def number(self) -> int:
        return self.order.reply

    @property
    def said(self) -> tuple[Message, ...]:
        """The history that it answers, behind the system prompt."""
        system, *said = self.order.history
        assert system.role == "system"
        return tuple(said)

    @property
    def text(self) -> str:
        return "".join(text for text, _ in self.clauses)

    @property
    def generated(self) -> int:
        return sum(samples for _, samples in self.clauses)


class ModelShell:
    """Feeds a conversation and carries out its commands."""

    def __init__(self, config: SessionConfig | None = None, call_id: str = "c") -> None:
        self.core = Conversation(call_id)
        self.now = 100.0
        self.position = 0
        self.replies: dict[int, ModelReply] = {}
        self.side_replies: dict[int, ModelReply] = {}
        self.transcriptions: set[int] = set()
        self.turns: set[int] = set()
        self.asked: list[FinishTranscription] = []
        self.scores: list[ScoreTurn] = []
        self.detections: list[DetectLanguage] = []
        self.notices: list[Notice] = []
        self.records: list[RecordTurn] = []
        self.commands: list[Command] = []
        self.log: list[tuple[Event, float, list[Command]]] = []
        self.work: dict[str, RunTool] = {}
        """Calls being carried out."""
        self.run: set[str] = set()
        self.listings: list[ListTools] = []
        self.closed: str | None = None
        self.resumed_at: list[int] = []
        """How many notices there were each time the call was resumed."""
        self._events: deque[Event] = deque()
        self._unanswered_stops: set[int] = set()
        self.config = config or SessionConfig()
        self.feed(CallStarted(self.config))

    def resume(self, lost: float = 2.0, *, encoded: bool = True) -> Checkpoint:
        """The node dies, and the call goes on elsewhere ``lost`` seconds later.

        ``encoded``: the checkpoint goes there as bytes."""
        heard = next((r.heard for r in self.replies.values() if self._sounds(r)), 0)
        checkpoint = self.core.checkpoint(self.now, heard)
        if encoded:
            packed = msgspec.msgpack.encode(checkpoint)
            assert msgspec.msgpack.decode(packed, type=Checkpoint) == checkpoint
            checkpoint = msgspec.json.decode(msgspec.json.encode(checkpoint), type=Checkpoint)
        self.core = Conversation(checkpoint.call_id)
        self.now += lost
        self.position = 0
        for gone in (self.transcriptions, self.asked, self.scores, self.detections, self.work):
            gone.clear()
        self.listings.clear()
        self._unanswered_stops.clear()
        for reply in (*self.replies.values(), *self.side_replies.values()):
            reply.dead = reply.stopped = True
        self.config, self.resumed_at = checkpoint.config, [*self.resumed_at, len(self.notices)]
        event = CallResumed(checkpoint)
        commands = self.core.handle(event, self.now)
        self.log.append((event, self.now, commands))
        for command in commands:
            self.carry_out(command)
        for reply in (*self.replies.values(), *self.side_replies.values()):
            if reply.done is not None and not reply.records:
                started = [c for c in commands if isinstance(c, StartReply)]
                assert [c.turn for c in started] == [reply.order.turn], "its rest is recorded"
                reply.records, reply.goes_on = 1, True
        self.check_rest()
        return checkpoint

    def _sounds(self, reply: ModelReply) -> bool:
        return reply.released and not reply.stopped

    def stands(self, state: State) -> bool:
        """Whether the conversation is in ``state``."""
        return self.core.state is state

    # ------------------------------------------------------------------ time and events

    def feed(self, event: Event) -> list[Command]:
        """Feed one event (and what its commands answer); all commands that came of it."""
        self._events.append(event)
        orders: list[Command] = []
        while self._events:
            event = self._events.popleft()
            self._answered(event)
            if isinstance(event, ConfigureSession):
                self.config = event.config
            commands = self.core.handle(event, self.now)
            self.log.append((event, self.now, commands))
            orders += commands
            for command in commands:
                self.carry_out(command)
        self.check_rest()
        return orders

    def pass_time(self, seconds: float) -> None:
        """Let time pass without a sound, with a Tick at every deadline."""
        end = self.now + seconds
        for _ in range(1000):
            deadline = self.core.next_deadline()
            if deadline is None or deadline > end:
                break
            self.now = max(self.now, deadline)
            self.feed(Tick())
        else:
            raise AssertionError("deadlines without end")
        self.now = end

    def hear(
        self, voice: float, windows: int = 1, level: float | None = None, echo: float = 0.0
    ) -> None:
        """Windows of audio, in real time, with the playout going on meanwhile."""
        for _ in range(windows):
            self.pass_time(WINDOW_SECONDS)
            self.play(WINDOW_SECONDS)
            self.position += WINDOW
            self.feed(VoiceWindow(self.position, voice, level, echo))

    def speak(self, milliseconds: float, words: str = "", level: float | None = None) -> None:
        """The caller speaks; ``words`` come as a partial of the open turn at the end."""
        self.hear(0.95, max(1, round(milliseconds / 32)), level)
        if words:
            self.partial(words)

    def silence(self, milliseconds: float) -> None:
        """The caller is silent."""
        self.hear(0.02, max(1, round(milliseconds / 32)), -70.0)

    def ask(
        self,
        words: str,
        probability: float | None = 0.9,
        patient: float = 300,
        level: float | None = None,
    ) -> None:
        """The caller says ``words``; the recogniser is prompt, the silence as long as said."""
        self.speak(640, level=level)
        self.silence(128)
        self.final(words, probability)
        self.silence(patient)

    def have_spoken(
        self, text: str = "Paris is the capital of France. ", ms: float = 2_000
    ) -> None:
        """The caller asks, and the agent has begun to speak a clause of ``ms``."""
        self.ask("what is the capital of france")
        self.clause(text, ms)
        self.play(0.0)

    # ------------------------------------------------------------------ engines

    def partial(self, words: str) -> list[Command]:
        """A partial transcript of the newest open transcription."""
        turn = max(self.transcriptions)
        return self.feed(PartialTranscript(turn, words, self.position))

    def final(self, words: str, probability: float | None = None) -> list[Command]:
        """Answer the newest question for text, and for a score where one is given."""
        question = self.asked[-1]
        commands = self.feed(FinalTranscript(question.turn, words, question.position))
        if probability is not None and self.scores:
            asked = self.scores[-1]
            commands += self.feed(TurnScored(asked.turn, asked.position, probability))
        return commands

    def detect(self, language: str, probability: float = 0.95) -> list[Command]:
        """Answer the newest question for the language."""
        asked = self.detections[-1]
        return self.feed(LanguageDetected(asked.turn, asked.position, language, probability))

    @property
    def reply(self) -> ModelReply:
        """The newest reply."""
        return self.replies[max(self.replies)]

    def clause(self, text: str, milliseconds: float = 500.0) -> list[Command]:
        """The newest reply's next clause, spoken."""
        reply = self.reply
        samples = int(RATE * milliseconds / 1000) if reply.order.config.output_audio else 0
        commands = self.feed(ClauseReady(reply.number))
        return commands + self.generate(reply, text, samples)

    def speak_filler(self, reply: ModelReply) -> None:
        """The filler that was ordered for ``reply`` has been spoken."""
        text, reply.filler = reply.filler, ""
        reply.clauses.append((text, RATE // 2))
        self.feed(ReplyClause(reply.number, text, RATE // 2, RATE, filler=True))

    def generate(self, reply: ModelReply, text: str, samples: int) -> list[Command]:
        """More of ``reply``, whoever still wants it."""
        if not reply.dead:
            reply.clauses.append((text, samples))
        return self.feed(ReplyClause(reply.number, text, samples, RATE))

    def generated(self, reply: ModelReply | None = None, *, truncated: bool = False) -> None:
        """The reply is complete."""
        reply = reply or self.reply
        reply.complete = True
        self.feed(ReplyGenerated(reply.number, 20, 10, truncated))

    def call_tool(self, name: str, arguments: str = "{}", reply: ModelReply | None = None) -> None:
        """The reply calls a tool."""
        self.feed(ToolUseRequested((reply or self.reply).number, name, arguments))

    def tool_returns(
        self, output: str = "sunny", *, failed: bool = False, tool_use_id: str | None = None
    ) -> list[Command]:
        """The oldest call at work, or the named one, is over."""
        tool_use_id = tool_use_id or next(iter(self.work))
        self.work.pop(tool_use_id, None)
        return self.feed(ToolReturned(tool_use_id, output, failed))

    def fail(self, reply: ModelReply | None = None) -> list[Command]:
        """The reply's engine fails."""
        reply = reply or self.reply
        reply.complete = True
        return self.feed(ReplyFailed(reply.number, "PROVIDER_ERROR", "The engine failed."))

    def play(self, seconds: float) -> None:
        """The playout of the reply that is out goes on for a while."""
        for reply in list(self.replies.values()):
            if reply.released and not reply.stopped and not reply.paused:
                self._play(reply, seconds)

    def _play(self, reply: ModelReply, seconds: float) -> None:
        before, reply.heard = reply.heard, min(reply.generated, reply.heard + int(RATE * seconds))
        start = sum(samples for _, samples in reply.clauses[: reply.begun])
        while reply.begun < len(reply.clauses) and not (reply.stopped or reply.paused):
            samples = reply.clauses[reply.begun][1]
            if samples and start > reply.heard:
                break
            reply.begun += 1
            start += samples
            if samples:
                self.feed(ClauseStarted(reply.number, reply.begun - 1))
        if reply.heard and not before:
            self.feed(PlayoutHeard(reply.number, reply.heard / RATE))
        if reply.stopped or reply.paused or not reply.complete or not reply.generated:
            return
        if reply.heard >= reply.generated:
            reply.stopped = True
            self.feed(PlayoutFinished(reply.number, reply.heard))

    # ------------------------------------------------------------------ commands

    def carry_out(self, command: Command) -> None:
        """Do what the core orders, and check that it may order it."""
        self.commands.append(command)
        if self.closed is not None:
            assert isinstance(command, RecordTurn | Publish), f"{command} after the end"
            if isinstance(command, Publish):
                assert isinstance(command.notice, _AFTER_CLOSE)
        match command:
            case StartTranscription(turn, position):
                assert turn not in self.turns, "a turn number was used twice"
                assert 0 <= position <= self.position
                self.turns.add(turn)
                self.transcriptions.add(turn)
            case TranscribeClip(turn):
                assert turn not in self.turns, "a turn number was used twice"
                self.turns.add(turn)
                self.transcriptions.add(turn)
                self.asked.append(FinishTranscription(turn, 0))
            case FinishTranscription(turn, position):
                assert turn in self.transcriptions
                assert position <= self.position
                self.asked.append(command)
            case ScoreTurn(turn, position):
                assert turn in self.transcriptions
                self.scores.append(command)
            case DetectLanguage(turn, position):
                assert turn in self.transcriptions
                assert position <= self.position
                assert len(command.languages) > 1, "there is nothing to find out"
                self.detections.append(command)
            case RestartTranscription(turn, _):
                assert turn in self.transcriptions
            case DropTranscription(turn):
                assert turn in self.transcriptions, "released twice"
                self.transcriptions.remove(turn)
            case StartReply() | ReleaseReply() | CancelReply():
                self._carry_out_reply(command)
            case SpeakFiller(number):
                covered = self.replies[number]
                assert covered.released
                assert covered.order.config.output_audio
                assert not covered.clauses
                assert self._lives(covered)
                covered.filler = command.text
            case ListTools():
                self.listings.append(command)
            case RunTool(tool_use_id):
                assert tool_use_id not in self.run, "a tool use runs once"
                self.run.add(tool_use_id)
                self.work[tool_use_id] = command
            case CancelTool(tool_use_id):
                assert tool_use_id in self.work, "cancelled twice, or after its return"
                del self.work[tool_use_id]
            case PausePlayout() | ResumePlayout() | StopPlayout():
                self._carry_out_playout(command)
            case Publish(notice):
                self.notices.append(notice)
                self._publish(notice)
            case RecordTurn():
                self._record(command)
            case CloseCall(reason):
                assert self.closed is None
                assert not self.transcriptions, "a recogniser was not released"
                self.closed = reason

    def _carry_out_reply(self, command: StartReply | ReleaseReply | CancelReply) -> None:
        if isinstance(command, StartReply):
            assert command.reply not in self.replies
            if not command.side:
                assert not any(self._lives(reply) for reply in self.replies.values())
                assert not self._unanswered_stops, "the heard text is not known yet"
            assert command.side or command.script is not None or not self.work, (
                "a tool use has no output yet"
            )
            assert self.config.kind is SessionKind.REALTIME, "captions have no agent"
            self._check_history(command)
            made = self.replies if not command.side else self.side_replies
            made[command.reply] = ModelReply(command, released=command.side)
            return
        reply = self.replies.get(command.reply) or self.side_replies[command.reply]
        assert self._lives(reply), f"{command} for an ended reply"
        if isinstance(command, ReleaseReply):
            assert not reply.released
            assert not any(r.released and not r.stopped for r in self.replies.values())
            reply.released = True
        else:
            reply.dead = True
            reply.stopped = reply.stopped or not reply.released

    def _check_history(self, order: StartReply) -> None:
        check_template(order.history)

    def _carry_out_playout(self, command: PausePlayout | ResumePlayout | StopPlayout) -> None:
        reply = self.replies[command.reply]
        assert reply.released
        assert not reply.stopped, f"{command} for an ended reply"
        match command:
            case PausePlayout():
                assert not reply.paused
                assert not reply.dead
                reply.paused = True
                self._events.append(PlayoutPaused(reply.number, reply.heard, reply.heard))
            case ResumePlayout():
                assert reply.paused
                assert not reply.dead
                reply.paused = False
            case StopPlayout():
                assert reply.dead, "StopPlayout follows CancelReply"
                reply.stopped = True
                self._unanswered_stops.add(reply.number)
                self._events.append(PlayoutStopped(reply.number, reply.heard, reply.heard))

    def _answered(self, event: Event) -> None:
        if isinstance(event, PlayoutStopped):
            self._unanswered_stops.discard(event.reply)

    def _lives(self, reply: ModelReply) -> bool:
        return not reply.dead and reply.done is None

    # ------------------------------------------------------------------ what is published

    def _publish(self, notice: Notice) -> None:
        if isinstance(notice, ToolEnded):
            call = notice.item.tool_use
            assert call is not None
            assert call.tool_use_id not in self.work, "it has ended and is still running"
        if not isinstance(notice, ReplyCreated | ReplyItemAdded | ReplyText | ReplyDone):
            return
        made = (*self.replies.values(), *self.side_replies.values())
        reply = next(r for r in made if r.order.reply_id == notice.reply_id)
        begins = isinstance(notice, ReplyCreated | ReplyItemAdded)
        assert reply.released or begins, "nothing of an unreleased reply is published"
        assert reply.done is None, "nothing is published of a reply after its end"
        match notice:
            case ReplyCreated():
                assert not reply.created
                reply.created = True
            case ReplyText(delta=delta):
                assert reply.created
                reply.published += delta
                assert reply.text.startswith(reply.published), "published ≤ generated"
                if notice.output_audio and reply.generated:
                    begun = "".join(text for text, _ in reply.clauses[: reply.begun])
                    assert begun.startswith(reply.published), "published ≤ sent"
            case ReplyDone():
                assert reply.created
                assert notice.text == reply.published
                assert reply.published.startswith(notice.heard), "heard ≤ published"
                self._check_heard(reply, notice)
                reply.done = notice
                reply.stopped = reply.stopped or not reply.generated

    def _check_heard(self, reply: ModelReply, done: ReplyDone) -> None:
        if not done.output_audio:
            return
        if done.status in (ReplyStatus.COMPLETED, ReplyStatus.INCOMPLETE):
            assert done.heard == (done.text if reply.generated else "")
            return
        start, most = 0, ""
        for text, samples in reply.clauses:
            if start < reply.heard or not samples:
                most += text
            start += samples
        assert most.startswith(done.heard), "heard ≤ played"

    def _record(self, record: RecordTurn) -> None:
        self.records.append(record)
        assert record.reply_text.startswith(record.heard_text)
        for reply in (*self.replies.values(), *self.side_replies.values()):
            if reply.done is not None and not reply.records and reply.order.turn == record.turn:
                reply.records += 1
                assert record.heard_text.rstrip().endswith(reply.done.heard.rstrip())
                assert record.status is reply.done.status
                assert reply.done.text in record.reply_text
                if not any(other.goes_on for other in self._of_turn(record.turn)):
                    assert record.heard_text == reply.done.heard
                return

    def _of_turn(self, turn: int) -> list[ModelReply]:
        made = (*self.replies.values(), *self.side_replies.values())
        return [reply for reply in made if reply.order.turn == turn]

    def check_rest(self) -> None:
        """What holds whenever the core has nothing to do."""
        audible = [r for r in self.replies.values() if r.released and not r.stopped]
        assert len(audible) <= 1
        assert all(r.released for r in self.replies.values() if r.created)
        for reply in (*self.replies.values(), *self.side_replies.values()):
            if reply.done is not None:
                assert reply.records == 1, "each released reply is recorded once"
            if reply.released and reply.dead:
                assert reply.done is not None, "each stopped reply has ended"
        state = self.core.state
        if state in (State.SPEAKING, State.BARGE_IN):
            assert len(audible) == 1
            assert state is State.BARGE_IN or not audible[0].paused
        if state is State.LISTENING:
            assert not audible
            assert not any(self._lives(reply) for reply in self.replies.values())
            assert not self.work, "the call rests while a tool is running"
        if state is State.USING_TOOLS:
            assert self.work
            assert not audible
        if state is State.CLOSED:
            assert not self.work
            assert self.closed is not None
            assert not audible

    def published(self, kind: type[T]) -> list[T]:
        """All notices of one kind so far."""
        return [notice for notice in self.notices if isinstance(notice, kind)]

    def ordered(self, kind: type[T]) -> list[T]:
        """All commands of one kind so far."""
        return [command for command in self.commands if isinstance(command, kind)]
