"""The conversation: a pure function of events and time.

    commands = conversation.handle(event, now)
    deadline = conversation.next_deadline()

Rules
- No clock, no I/O, no await: ``now`` (seconds, monotonic) is an argument, and the same events at
  the same times give the same commands, so a recorded call can be replayed.
- The shell feeds events in the order in which they happened, executes commands in the order in
  which they are given, and feeds ``Tick`` when ``next_deadline`` has come.
- Results of dead turns and replies are dropped: each part checks the number it is given.
- After ``CloseCall`` nothing follows but the end of a reply that was still sounding, once
  ``PlayoutStopped`` tells how much of it was heard.
"""

from typing import assert_never

from sessions.core.replies.replies import Replies
from sessions.core.replies.side_replies import SideReplies
from sessions.core.tools.continuation import Continuations
from sessions.core.tools.tool_requests import ToolRequests
from sessions.core.turns.turntaking import TurnTaking

from .call import Call
from .commands import CloseCall, Command
from .config import SessionKind
from .events import (
    AddItem,
    AddToolOutput,
    AddToolUse,
    AnswerApproval,
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
    HangUp,
    InputEnded,
    KeyPressed,
    PartialTranscript,
    PlayoutFinished,
    PlayoutPaused,
    PlayoutStopped,
    ReplyClause,
    ReplyFailed,
    ReplyGenerated,
    RequestCancel,
    RequestReply,
    RetrieveItem,
    Tick,
    ToolListFailed,
    ToolReturned,
    ToolsListed,
    ToolUseRequested,
    TranscriptionFailed,
    TruncateItem,
    TurnScored,
    VoiceWindow,
)
from .notices import IdleTimeout, SessionOpened
from .requests import ClientRequests
from .states import State, Trigger

MAXIMUM_LENGTH = "max_duration"


class Conversation:
    """One call's decisions. See the module's rules."""

    def __init__(self, call_id: str) -> None:
        self._call = Call(call_id)
        self._replies = Replies(self._call)
        self._turns = TurnTaking(self._call, self._replies)
        self._side = SideReplies(self._call)
        self._requests = ClientRequests(self._call, self._replies, self._turns, self._side)
        self._continuations = Continuations(self._call, self._replies)
        self._started: float | None = None
        self._tool_requests = ToolRequests(self._call)

    @property
    def state(self) -> State:
        """Where the conversation stands."""
        return self._call.state

    @property
    def call_id(self) -> str:
        """The call's id, part of every item and response id."""
        return self._call.call_id

    def handle(self, event: Event, now: float) -> list[Command]:
        """What follows from ``event`` at ``now``, in order of execution."""
        call = self._call
        if call.state is State.CLOSED and not isinstance(event, PlayoutStopped):
            return []
        call.now = max(call.now, now)
        self._take(event)
        if call.state is not State.CLOSED:
            self._continuations.proceed()
            self._expire()
            self._requests.proceed()
            self._continuations.proceed()
        commands, call.commands = call.commands, []
        return commands

    def next_deadline(self) -> float | None:
        """When to feed ``Tick`` at the latest; None: never, as things stand."""
        if self._call.state is State.CLOSED:
            return None
        moments = (
            self._turns.deadline(),
            self._replies.deadline(),
            self._side.deadline(),
            self._replies.tools.deadline(),
            self._continuations.deadline(),
            self._idle_deadline(),
            self._end_deadline(),
        )
        return min((moment for moment in moments if moment is not None), default=None)

    # ------------------------------------------------------------------ within

    def _take(self, event: Event) -> None:
        """Show the event to the parts that it concerns; where two are, each passes over what is
        not its own."""
        turns, replies, side = self._turns, self._replies, self._side
        tools = replies.tools
        match event:
            case VoiceWindow():  # first: it comes 31 times a second
                turns.on_window(event)
            case PartialTranscript():
                turns.on_partial(event)
            case FinalTranscript():
                turns.on_final(event)
            case TurnScored():
                turns.on_scored(event)
            case TranscriptionFailed():
                turns.on_failed(event)
            case PlayoutPaused():
                turns.on_paused(event)
            case InputEnded():
                turns.on_input_ended()
            case ClauseReady():
                replies.on_clause_ready(event)
            case ReplyClause():
                replies.on_piece(event)
                side.on_piece(event)
            case ReplyGenerated():
                replies.on_generated(event)
                side.on_generated(event)
            case ReplyFailed():
                replies.on_failed(event)
                side.on_failed(event)
            case ToolUseRequested():
                replies.on_tool_called(event)
            case ClauseStarted():
                turns.ended.on_piece_started(event)
                replies.on_piece_started(event)
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
            case HangUp(reason):
                self._close(reason)
            case Tick():
                pass
            case _:
                self._take_request(event)

    def _take_request(self, event: ClientRequest) -> None:
        """Carry out what the client asks for."""
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
                self._tool_requests.add_output(event)
            case AddToolUse():
                self._tool_requests.add_call(event)
            case AnswerApproval():
                self._replies.tools.approve(event)
            case _:
                assert_never(event)

    def _expire(self) -> None:
        now = self._call.now
        ends = self._end_deadline()
        if ends is not None and ends <= now:
            self._close(MAXIMUM_LENGTH)
            return
        waited = self._replies.deadline()
        if waited is not None and waited <= now:
            self._replies.expire(now)
        self._side.expire(now)
        self._replies.tools.expire(now)
        self._continuations.proceed()
        self._continuations.expire(now)
        due = self._turns.deadline()
        if due is not None and due <= now:
            self._turns.expire(now)
        idle = self._idle_deadline()
        if idle is not None and idle <= now:
            self._prompt_idle_caller()

    def _on_started(self, event: CallStarted) -> None:
        self._started = self._call.now
        self._call.tell(SessionOpened(event.config))
        self._turns.configured(event.config)
        self._replies.tools.configured(event.config)

    def _end_deadline(self) -> float | None:
        if self._started is None or self._call.state is State.CLOSED:
            return None
        return self._started + self._call.config.max_call_ms / 1000

    def _idle_deadline(self) -> float | None:
        call = self._call
        if call.config.kind is SessionKind.TRANSCRIPTION:
            return None
        timeout = call.detection.idle_timeout_ms
        if timeout is None or call.quiet_since is None or call.state is not State.LISTENING:
            return None
        return call.quiet_since + timeout / 1000

    def _prompt_idle_caller(self) -> None:
        """Nobody speaks: tell so and let the agent say something."""
        call = self._call
        since = call.quiet_since if call.quiet_since is not None else call.now
        started = self._started or 0.0
        call.tell(IdleTimeout(round((since - started) * 1000), round((call.now - started) * 1000)))
        self._requests.respond(RequestReply())

    def _close(self, reason: str) -> None:
        call = self._call
        if call.state is State.CLOSED:
            return
        self._replies.cancel("call_ended")
        self._side.close()
        self._replies.tools.give_up()
        self._turns.close()
        call.move(Trigger.CALL_ENDED)
        call.order(CloseCall(reason))
