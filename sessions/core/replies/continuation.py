"""Continuing after tools, and fillers while a tool or an answer is slow.

Rules
- Once the tools have returned, the reply continues by itself; but only when the call would rest
  otherwise, in LISTENING or USING_TOOLS.
- Each wait for tools gets one filler, after ``PATIENCE`` seconds of silence.
- If the chat model has no clause ``ANSWER_PATIENCE`` seconds after its reply was released, the same
  filler is spoken at the beginning of that reply, unless the turn has already had one.
- The filler is that of the language's pack; where it has none, nothing is said.
"""

from sessions.core.call import Call, Moments, Timer
from sessions.core.states import ReplyState, State, Trigger
from sessions.core.tools import ToolUses
from sessions.languages.packs import pack_of

from .replies import Replies
from .reply import Reply

PATIENCE = 1.2
ANSWER_PATIENCE = 2.5
"""Longer than for a tool: on a busy machine the embedded model needs up to 2 s, and a filler just
before its answer would only delay it."""


class Continuations:
    """Continues a conversation after its tool uses, and fills the wait."""

    def __init__(self, call: Call, replies: Replies, tools: ToolUses) -> None:
        self._call = call
        self._replies = replies
        self._tools = tools
        self._filled: float | None = None
        """The beginning of the last wait that had a filler."""
        self._filled_turn: int | None = None
        """The last turn that had a filler."""
        self._timed = False
        """The filler's timer is set."""

    def proceed(self) -> None:
        """Wait for running tools, or continue with their outputs."""
        call = self._call
        if call.state is State.USING_TOOLS or (
            call.state is State.LISTENING and self._tools.pending
        ):
            self._go_on()
        if self._timed or call.state is not State.LISTENING:
            self._set_timer()

    def on_slow(self) -> None:
        """The caller has waited long enough: speak the filler."""
        if (slow := self._slow_reply()) is not None:
            self._filled_turn = slow.turn
            self._replies.speak_filler(f"{pack_of(slow.config.language).spoken.filler} ")
        else:
            self._speak_filler()
        self._set_timer()

    def _speak_filler(self) -> None:
        """Speak a filler as its own reply, while tools are running."""
        call, onward = self._call, self._tools.continuation
        self._filled = self._tools.since
        config = onward.config if onward is not None else call.config
        words = pack_of(config.language).spoken.filler
        if words is None or not config.output_audio:
            return
        call.move(Trigger.REPLY_REQUESTED)
        turn = self._filled_turn = onward.turn if onward is not None else call.next_turn()
        self._replies.start(turn, "", Moments(), config=config, script=words)
        self._replies.release()

    def _set_timer(self) -> None:
        due = self._patience_ends()
        self._timed = due is not None
        self._call.timers.set(Timer.FILLER, due)

    def _go_on(self) -> None:
        call, tools = self._call, self._tools
        if tools.busy:
            if call.state is State.LISTENING:
                call.move(Trigger.TOOLS_STARTED)
        elif (onward := tools.take_continuation()) is not None:
            call.move(Trigger.REPLY_REQUESTED)
            moments = Moments(speech_end=call.now, turn_end=call.now, transcript=call.now)
            self._replies.start(
                onward.turn, "", moments, config=onward.config, rounds=onward.rounds
            )
            self._replies.release()
        elif call.state is State.USING_TOOLS:
            call.move(Trigger.REPLY_ENDED)

    def _patience_ends(self) -> float | None:
        """When a filler is due; None if none is."""
        reply = self._slow_reply()
        if reply is not None:
            return reply.progress + ANSWER_PATIENCE
        since = self._tools.since
        if self._call.state is not State.USING_TOOLS or since is None or since == self._filled:
            return None
        return since + PATIENCE

    def _slow_reply(self) -> Reply | None:
        """The released reply that has no clause yet, if a filler may cover the wait."""
        reply = self._replies.current
        if (
            self._call.state is not State.THINKING
            or reply is None
            or reply.state is not ReplyState.RELEASED
            or not reply.config.output_audio
            or reply.script is not None
            or reply.generated
            or reply.moments.clause is not None
            or bool(reply.clauses or reply.tool_uses)
            or reply.turn == self._filled_turn
            or pack_of(reply.config.language).spoken.filler is None
        ):
            return None
        return reply
