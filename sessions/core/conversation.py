"""The conversation: a pure function of events and time.

    commands = conversation.handle(event, now)
    deadline = conversation.next_deadline()
    position = conversation.next_position()

Rules
- No clock, no I/O, no await: ``now`` (seconds, monotonic) is an argument. The same events at the
  same times give the same commands, so a recorded call can be replayed.
- The shell feeds events in the order in which they happened, executes commands in order, and feeds
  ``Tick`` at ``next_deadline``.
- What depends on how long the caller has been silent is no deadline: it is a position of the input
  (``next_position``). Audio that is late postpones it, because the caller may be speaking.
- Results of ended turns and replies are dropped: each part checks the number of the event.
- After ``CloseCall`` only the end of a reply that was still playing follows, once
  ``PlayoutStopped`` reports how much of it was heard.
- Each part receives the neighbours that it uses, and never reaches through one to another.
- The first event is ``CallStarted``, or ``CallResumed`` with the checkpoint of an earlier part of
  the same call.
- Deadlines are in ``call.timers``, by name. A part sets and clears its own; this module acts on
  them, in the order of ``Timer`` if several are due.
"""

from typing import assert_never

from sessions.core.replies.continuation import Continuations
from sessions.core.replies.replies import Replies
from sessions.core.replies.side_replies import SideReplies
from sessions.core.tools import ToolUses
from sessions.core.turns.ended_turns import EndedTurns
from sessions.core.turns.turntaking import TurnTaking

from .call import Call, Timer
from .checkpoint import Checkpoint, Moving
from .commands import CloseCall, Command
from .config import SessionKind
from .events import (
    AddItem,
    AddToolOutput,
    AddToolUse,
    AnswerApproval,
    CallResumed,
    CallStarted,
    ClauseReady,
    ClauseStarted,
    ClearInput,
    ClearOutput,
    ClientRequest,
    CommitInput,
    ConfigureSession,
    DeleteItem,
    Event,
    FinalTranscript,
    FirstToken,
    HangUp,
    InputEnded,
    KeyPressed,
    LanguageDetected,
    LanguagesFound,
    PartialTranscript,
    PlayoutFinished,
    PlayoutHeard,
    PlayoutPaused,
    PlayoutStopped,
    ReplyClause,
    ReplyFailed,
    ReplyGenerated,
    RequestCancel,
    RequestReply,
    RetrieveItem,
    SilenceHeard,
    Tick,
    ToolListFailed,
    ToolReturned,
    ToolsListed,
    ToolUseRequested,
    TranscriptionFailed,
    TranscriptionWaits,
    TruncateItem,
    TurnScored,
    VoiceWindow,
)
from .notices import IdleTimeout, SessionOpened
from .requests import ClientRequests
from .resuming import Resuming
from .states import State, Trigger

CALL_ENDED = "call_ended"
MAXIMUM_LENGTH = "max_duration"
_EXPIRIES = 16
"""How often one timer may fire at the same moment."""


class Conversation:
    """Decides what happens in one call; see the rules of the module."""

    def __init__(self, call_id: str) -> None:
        call = self._call = Call(call_id)
        tools = self._tools = ToolUses(call)
        replies = self._replies = Replies(call, tools)
        side = self._side = SideReplies(call, tools)
        ended = self._ended = EndedTurns(call, replies, tools)
        turns = self._turns = TurnTaking(call, replies, tools, ended)
        self._requests = ClientRequests(call, replies, side, tools, turns, ended)
        self._continuations = Continuations(call, replies, tools, ended)
        self._resuming = Resuming(call, replies, side, tools, turns, ended, self._requests)

    @property
    def state(self) -> State:
        """The state of the conversation."""
        return self._call.state

    @property
    def call_id(self) -> str:
        """The id of the call, which is part of every item and reply id."""
        return self._call.call_id

    def handle(self, event: Event, now: float) -> list[Command]:
        """The commands that follow from ``event`` at ``now``, in order."""
        call = self._call
        if call.state is State.CLOSED and not isinstance(event, PlayoutStopped):
            return []
        call.now = max(call.now, now)
        self._take(event)
        if call.state is not State.CLOSED:
            self._continuations.proceed()
            if call.timers.next is not None and call.timers.next <= call.now:
                self._expire()
            self._requests.proceed()
            self._continuations.proceed()
        commands, call.commands = call.commands, []
        return commands

    def next_deadline(self) -> float | None:
        """When to feed ``Tick`` at the latest; None if nothing is due."""
        call = self._call
        return None if call.state is State.CLOSED else call.timers.next

    def next_position(self) -> int | None:
        """Feed ``SilenceHeard`` as soon as the input has reached this position without speech, if
        no ``VoiceWindow`` comes first; None if nothing depends on it."""
        return self._turns.awaited

    def checkpoint(self, now: float, heard: int) -> Checkpoint:
        """What the conversation needs to go on later, with ``CallResumed``.

        ``heard``: how many samples of the current reply were heard; 0 if there is none."""
        self._call.now = max(self._call.now, now)
        return self._resuming.checkpoint(heard)

    def moving(self, now: float, heard: int) -> Moving:
        """The part of ``checkpoint`` that changes while somebody speaks."""
        self._call.now = max(self._call.now, now)
        return self._resuming.moving(heard)

    # ------------------------------------------------------------------ within

    def _take(self, event: Event) -> None:
        """Pass the event to the part that it concerns."""
        turns, replies, tools = self._turns, self._replies, self._tools
        match event:
            case VoiceWindow():  # first: it comes 31 times a second
                turns.on_window(event)
            case SilenceHeard():
                turns.on_silence(event)
            case PartialTranscript():
                turns.on_partial(event)
            case FinalTranscript():
                turns.on_final(event)
            case TranscriptionWaits():
                turns.on_waits(event)
            case TurnScored():
                turns.on_scored(event)
            case LanguageDetected() | LanguagesFound():
                turns.on_language(event)
            case TranscriptionFailed():
                turns.on_failed(event)
            case PlayoutPaused():
                replies.on_paused(event)
            case InputEnded():
                turns.on_input_ended()
            case FirstToken():
                replies.on_first_token(event)
            case ClauseReady():
                replies.on_clause_ready(event)
            case ReplyClause():
                replies.on_clause(event)
                self._side.on_clause(event)
            case ReplyGenerated():
                replies.on_generated(event)
                self._side.on_generated(event)
            case ReplyFailed():
                replies.on_failed(event)
                self._side.on_failed(event)
            case ToolUseRequested():
                replies.on_tool_use(event)
            case ClauseStarted():
                self._ended.on_clause_started(event)
                replies.on_clause_started(event)
            case PlayoutHeard():
                replies.on_playout_heard(event)
            case PlayoutFinished():
                turns.on_playout_finished(event)
            case PlayoutStopped():
                replies.on_playout_stopped(event)
            case ToolsListed():
                tools.on_listed(event)
            case ToolListFailed():
                tools.on_list_failed(event)
            case ToolReturned():
                tools.on_returned(event)
            case CallStarted():
                self._on_started(event)
            case CallResumed(checkpoint):
                self._resuming.resume(checkpoint)
            case HangUp(reason):
                self._close(reason)
            case Tick():
                pass
            case _:
                self._take_request(event)

    def _take_request(self, event: ClientRequest) -> None:
        """Carry out a request of the client."""
        requests = self._requests
        match event:
            case ConfigureSession():
                requests.configure(event)
            case CommitInput():
                requests.commit(event)
            case ClearInput():
                requests.clear(event)
            case AddItem():
                requests.add_item(event)
            case DeleteItem():
                requests.delete_item(event)
            case RetrieveItem():
                requests.retrieve_item(event)
            case TruncateItem():
                requests.truncate_item(event)
            case RequestReply():
                requests.respond(event)
            case RequestCancel():
                requests.cancel(event)
            case ClearOutput():
                requests.clear_output(event)
            case KeyPressed():
                requests.key(event)
            case AddToolOutput():
                self._requests.add_tool_output(event)
            case AddToolUse():
                self._requests.add_tool_use(event)
            case AnswerApproval():
                self._tools.approve(event)
            case _:
                assert_never(event)

    def _expire(self) -> None:
        """Act on every deadline that is due; each act clears its own and may clear others."""
        call = self._call
        for timer in Timer:
            if timer is Timer.FILLER:  # overdue tools have been given up: continue first
                self._continuations.proceed()
            for _ in range(_EXPIRIES):
                if call.state is State.CLOSED or not call.timers.is_due(timer, call.now):
                    break
                self._act_on(timer)

    def _act_on(self, timer: Timer) -> None:
        match timer:
            case Timer.CALL_END:
                self._close(MAXIMUM_LENGTH)
            case Timer.PLAYOUT_STOP:
                self._replies.on_stop_overdue()
            case Timer.REPLY_PROGRESS:
                self._replies.on_overdue()
            case Timer.SIDE_REPLIES:
                self._side.on_overdue()
            case Timer.TOOLS:
                self._tools.on_overdue()
            case Timer.FILLER:
                self._continuations.on_slow()
            case Timer.INPUT:
                self._turns.on_input_ended()
            case Timer.BARGE_IN:
                self._turns.on_barge_in_overdue()
            case Timer.COMMITTED_TEXT:
                self._ended.on_overdue()
            case Timer.OPEN_TEXT:
                self._turns.on_text_overdue()
            case Timer.IDLE:
                self._prompt_idle_caller()
            case _:
                assert_never(timer)

    def _on_started(self, event: CallStarted) -> None:
        self._call.started = self._call.now
        config = event.config
        self._call.publish(SessionOpened(config))
        self._turns.configure(config)
        self._tools.configure(config)
        if config.records and config.recording is not None and config.recording.consent:
            self._requests.announce(config.recording.consent)
        if config.greeting and config.kind is SessionKind.REALTIME:
            self._requests.greet(config.greeting)

    def _prompt_idle_caller(self) -> None:
        """Nobody speaks: publish that, and let the agent say something."""
        call = self._call
        since = call.quiet_since if call.quiet_since is not None else call.now
        started = call.started or 0.0
        start_ms, end_ms = round((since - started) * 1000), round((call.now - started) * 1000)
        call.publish(IdleTimeout(start_ms, end_ms))
        self._requests.respond(RequestReply())

    def _close(self, reason: str) -> None:
        call = self._call
        if call.state is State.CLOSED:
            return
        self._replies.cancel(CALL_ENDED)
        self._side.close(CALL_ENDED)
        self._tools.give_up()
        self._turns.close()
        call.move(Trigger.CALL_ENDED)
        call.order(CloseCall(reason))
