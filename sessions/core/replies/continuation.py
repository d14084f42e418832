"""Waiting in company: while tools are at work, or an answer is slow, the call says so.

Rules
- While tools are at work the reply goes on by itself once they have returned. That steps in only
  where the call would rest otherwise, in LISTENING or USING_TOOLS; a filler is spoken once for each
  wait, after ``PATIENCE`` seconds of silence.
- A chat model that has given no clause ``ANSWER_PATIENCE`` seconds after its reply was released is
  covered by the same filler, spoken at the beginning of that very reply; once per turn, and not
  in a turn that has had one already.
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
"""Longer than a tool's: the embedded model on a busy machine needs up to 2 s, and would be talked
over by a filler that its answer follows at once."""


class Continuations:
    """Carries a conversation over its tool uses."""

    def __init__(self, call: Call, replies: Replies, tools: ToolUses) -> None:
        self._call = call
        self._replies = replies
        self._tools = tools
        self._filled: float | None = None
        """The wait (its beginning) for which a filler has been spoken."""
        self._filled_turn: int | None = None
        """The newest turn in which one was."""
        self._timed = False
        """A filler may become due."""

    def proceed(self) -> None:
        """Wait for the tools at work, or go on with what they returned."""
        call = self._call
        if call.state is State.USING_TOOLS or (
            call.state is State.LISTENING and self._tools.pending
        ):
            self._go_on()
        if self._timed or call.state is not State.LISTENING:
            self._set_timer()

    def on_slow(self) -> None:
        """The caller has waited long enough: say that it takes a moment."""
        if (slow := self._slow_reply()) is not None:
            self._filled_turn = slow.turn
            self._replies.speak_filler(f"{pack_of(slow.config.language).spoken.filler} ")
        else:
            self._speak_filler()
        self._set_timer()

    def _speak_filler(self) -> None:
        """Speak a filler as a reply of its own, while tools are at work."""
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
        """When the caller has waited so long that a filler is due."""
        reply = self._slow_reply()
        if reply is not None:
            return reply.progress + ANSWER_PATIENCE
        since = self._tools.since
        if self._call.state is not State.USING_TOOLS or since is None or since == self._filled:
            return None
        return since + PATIENCE

    def _slow_reply(self) -> Reply | None:
        """The reply that is awaited and has no clause yet, where a filler may cover that."""
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
