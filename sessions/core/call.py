"""What every part of the core shares: the state, the configuration, the transcript, the timers and
the commands.

``Call`` is the one mutable state of a conversation. The parts of the core (turn-taking, replies,
tools, client requests) read and change it, and append their commands to ``commands``, which
``Conversation.handle`` passes to the shell.
"""

from dataclasses import dataclass
from enum import StrEnum

from sessions.core.turns.speech_gate import CallerLevel

from .checkpoint import Checkpoint, Numbers
from .commands import Command, Publish
from .config import SessionConfig, SessionKind, TurnDetection
from .items import Transcript
from .notices import Fault, Latency, Notice
from .prompt import Prompts
from .states import CONVERSATION, State, Trigger


class Timer(StrEnum):
    """The deadlines of a conversation. Those that are due together are handled in this order."""

    CALL_END = "call end"
    PLAYOUT_STOP = "playout stop"
    """A stopped playout must report how much was heard."""
    REPLY_PROGRESS = "reply progress"
    SIDE_REPLIES = "side replies"
    TOOLS = "tools"
    FILLER = "filler"
    INPUT = "input"
    """Input audio must keep coming while the caller has the floor."""
    BARGE_IN = "barge-in"
    COMMITTED_TEXT = "committed text"
    """The text of an ended turn must arrive."""
    OPEN_TEXT = "open text"
    """The text of the open utterance must arrive."""
    IDLE = "idle"


class Timers:
    """Named deadlines, in seconds of the conversation's clock. Parts set and clear their own."""

    def __init__(self) -> None:
        self.next: float | None = None
        """The earliest deadline."""
        self._deadlines: dict[Timer, float] = {}

    def set(self, timer: Timer, deadline: float | None) -> None:
        """Make ``timer`` due at ``deadline``; None clears it."""
        if deadline == self._deadlines.get(timer):
            return
        if deadline is None:
            del self._deadlines[timer]
        else:
            self._deadlines[timer] = deadline
        self.next = min(self._deadlines.values(), default=None)

    def is_due(self, timer: Timer, now: float) -> bool:
        """Whether ``timer`` is due."""
        deadline = self._deadlines.get(timer)
        return deadline is not None and deadline <= now


@dataclass(slots=True)
class Moments:
    """When a turn reached each stage (seconds of the shell's clock); None: not yet."""

    speech_end: float | None = None
    turn_end: float | None = None
    transcript: float | None = None
    token: float | None = None
    clause: float | None = None
    audio: float | None = None
    sent: float | None = None
    heard: float | None = None
    begun: float | None = None
    """When the reply was begun, perhaps before the turn's end was certain."""
    discarded: int = 0
    """Replies begun before that, and cancelled for other words or more speech."""
    discarded_tokens: int = 0

    def discard(self, tokens: int) -> None:
        """A reply that nobody was to hear yet was cancelled; it cost about ``tokens``."""
        self.discarded, self.discarded_tokens = self.discarded + 1, self.discarded_tokens + tokens

    def restart(self) -> None:
        """Another reply is made for the turn: forget the stages of the previous one."""
        self.token = self.clause = self.audio = self.sent = self.heard = None

    def latency(self, turn: int, reply_id: str) -> Latency | None:
        """The stages end to end; None if the turn had no speech or nothing was sent."""
        if self.speech_end is None or self.sent is None:
            return None
        reached = self.speech_end
        stages: list[int] = []
        # A filler is spoken before there is a token: the wait for that ends with it.
        token = self.token if self.clause is None else min(self.token or 0.0, self.clause)
        for moment in (self.turn_end, self.transcript, token, self.clause, self.audio, self.sent):
            later = max(reached, moment if moment is not None else reached)
            stages.append(_milliseconds(later) - _milliseconds(reached))
            reached = later
        endpointing, stt, first_token, clause, tts, gateway = stages
        heard = None
        if self.heard is not None:
            heard = _milliseconds(max(reached, self.heard)) - _milliseconds(reached)
        return Latency(
            turn,
            reply_id,
            endpointing_ms=endpointing,
            stt_ms=stt,
            llm_ms=first_token + clause,
            tts_ms=tts,
            gateway_ms=gateway,
            total_ms=sum(stages),
            first_token_ms=first_token,
            heard_ms=heard,
            head_start_ms=self._head_start(),
            discarded_replies=self.discarded,
            discarded_tokens=self.discarded_tokens,
        )

    def _head_start(self) -> int:
        if self.begun is None or self.turn_end is None:
            return 0
        return max(0, _milliseconds(self.turn_end) - _milliseconds(self.begun))


class Call:
    """State shared by the parts of one conversation's core."""

    def __init__(self, call_id: str) -> None:
        self.call_id = call_id
        self.config = SessionConfig()
        self.state = State.LISTENING
        self.transcript = Transcript()
        self.prompts = Prompts(self.transcript)
        self.level = CallerLevel()
        self.timers = Timers()
        self.now = 0.0
        self.started: float | None = None
        """When the call began."""
        self.quiet_since: float | None = None
        """When the call last became quiet; None before the first reply."""
        self.commands: list[Command] = []
        self._turns = 0
        self._replies = 0
        self._items = 0

    @property
    def detection(self) -> TurnDetection:
        """The current turn detection."""
        return self.config.turn_detection

    @property
    def elapsed(self) -> float:
        """Seconds since the call began."""
        return 0.0 if self.started is None else self.now - self.started

    def numbers(self, tool_lists: int) -> Numbers:
        """The last numbers that were given."""
        return Numbers(self._turns, self._replies, self._items, tool_lists)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from ``checkpoint``; the configuration follows with ``configure``."""
        numbers, now = checkpoint.moving.numbers, self.now
        self._turns, self._replies, self._items = numbers.turns, numbers.replies, numbers.items
        self.started = now - checkpoint.moving.elapsed
        self.quiet_since = now if checkpoint.rested else None
        for item in checkpoint.items:
            self.transcript.add(item)
        self.prompts.since = checkpoint.since
        for level in checkpoint.habits.levels:
            self.level.learn(level)

    def configure(self, config: SessionConfig) -> None:
        """Replace the configuration."""
        self.config = config
        if self.started is not None:
            self.timers.set(Timer.CALL_END, self.started + config.max_call_ms / 1000)
        self._set_idle_timer()

    def move(self, trigger: Trigger) -> None:
        """Change the state as the table says; raises IllegalTransition."""
        self.state = CONVERSATION.after(self.state, trigger)
        if self.state is State.LISTENING and (
            trigger is Trigger.REPLY_ENDED or self.quiet_since is not None
        ):
            self.quiet_since = self.now
        self._set_idle_timer()

    def note_activity(self) -> None:
        """The caller is present, although silent: the call is not idle."""
        if self.quiet_since is not None:
            self.quiet_since = self.now
        self._set_idle_timer()

    def order(self, command: Command) -> None:
        """Queue a command for the shell."""
        self.commands.append(command)

    def publish(self, notice: Notice) -> None:
        """Queue a notice for the shell to publish."""
        self.commands.append(Publish(notice))

    def refuse(
        self, code: str, message: str, param: str | None = None, event_id: str | None = None
    ) -> None:
        """Publish that a client's request was refused."""
        self.publish(Fault(code, message, param, event_id))

    def next_turn(self) -> int:
        """A new turn number."""
        self._turns += 1
        return self._turns

    def next_reply(self) -> int:
        """A new reply number."""
        self._replies += 1
        return self._replies

    def next_item_id(self) -> str:
        """A new item id; a replay of the call gives the same one."""
        self._items += 1
        return f"{self.own_items}{self._items}"

    @property
    def own_items(self) -> str:
        """The prefix of the core's own item ids, which clients may not use."""
        return f"item_{self.call_id}_"

    def _set_idle_timer(self) -> None:
        timeout, since = self.detection.idle_timeout_ms, self.quiet_since
        resting = self.state is State.LISTENING and self.config.kind is SessionKind.REALTIME
        if resting and timeout is not None and since is not None:
            self.timers.set(Timer.IDLE, since + timeout / 1000)
        else:
            self.timers.set(Timer.IDLE, None)


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
