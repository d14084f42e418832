"""Waiting in company: while tools are at work, or an answer is slow, the call says so.

Rules
- While tools are at work the reply goes on by itself once they have returned. That steps in only
  where the call would rest otherwise, in LISTENING or USING_TOOLS; a filler is spoken once for each
  wait, after ``PATIENCE`` seconds of silence.
- A chat model that has given no clause ``ANSWER_PATIENCE`` seconds after its reply was let out is
  covered by the same filler, spoken at the beginning of that very reply; once per turn, and not
  in a turn that has had one already.
"""

from sessions.core.call import Call
from sessions.core.commands import SpeakFiller
from sessions.core.latency import Moments
from sessions.core.replies.replies import Replies
from sessions.core.replies.reply import Reply
from sessions.core.states import State, Trigger

PATIENCE = 1.2
ANSWER_PATIENCE = 2.5
"""Longer than a tool's: the embedded model on a busy machine needs up to 2 s, and would be talked
over by a filler that its answer follows at once."""
FILLERS = {
    "en": "One moment.",
    "de": "Einen Moment.",
    "es": "Un momento.",
    "fr": "Un instant.",
    "it": "Un momento.",
    "nl": "Een moment.",
    "pt": "Um momento.",
}
"""Spoken where a tool or the answer takes long; in other languages nothing is."""


def filler_in(language: str) -> str | None:
    """The filler of a language tag, where there is one."""
    return FILLERS.get(language.partition("-")[0].lower())


class Continuations:
    """Carries a conversation over its tool calls."""

    def __init__(self, call: Call, replies: Replies) -> None:
        self._call = call
        self._replies = replies
        self._filled: float | None = None
        """The wait (its beginning) for which a filler has been spoken."""
        self._filled_turn: int | None = None
        """The newest turn in which one was."""

    def proceed(self) -> None:
        """Wait for the tools at work, or go on with what they brought."""
        call, tools = self._call, self._replies.tools
        if call.state not in (State.LISTENING, State.USING_TOOLS):
            return
        if tools.busy:
            if call.state is State.LISTENING:
                call.move(Trigger.TOOLS_STARTED)
            return
        onward, tools.continuation = tools.continuation, None
        if onward is not None:
            call.move(Trigger.REPLY_REQUESTED)
            moments = Moments(speech_end=call.now, turn_end=call.now, transcript=call.now)
            self._replies.start(
                onward.turn, "", moments, config=onward.config, rounds=onward.rounds
            )
            self._replies.release()
        elif call.state is State.USING_TOOLS:
            call.move(Trigger.REPLY_ENDED)

    def deadline(self) -> float | None:
        """When the caller has waited long enough to be told so."""
        reply = self._slow_reply()
        return self._tool_deadline() if reply is None else reply.progress + ANSWER_PATIENCE

    def _slow_reply(self) -> Reply | None:
        """The reply that is awaited and has no clause yet, where a filler may cover that."""
        reply = self._replies.current
        if (
            self._call.state is not State.THINKING
            or reply is None
            or not (reply.ordered and reply.released and reply.config.output_audio)
            or reply.script is not None
            or reply.generated
            or reply.moments.clause is not None
            or bool(reply.pieces or reply.tool_uses)
            or reply.turn == self._filled_turn
            or filler_in(reply.config.language) is None
        ):
            return None
        return reply

    def _tool_deadline(self) -> float | None:
        since = self._replies.tools.since
        if self._call.state is not State.USING_TOOLS or since is None or since == self._filled:
            return None
        return since + PATIENCE

    def expire(self, now: float) -> None:
        """Say that it takes a moment."""
        due, call = self.deadline(), self._call
        if due is None or due > now:
            return
        if (slow := self._slow_reply()) is not None:
            self._filled_turn, slow.moments.clause = slow.turn, now
            call.order(SpeakFiller(slow.number, f"{filler_in(slow.config.language)} "))
            return
        self._filled = self._replies.tools.since
        onward = self._replies.tools.continuation
        config = onward.config if onward is not None else call.config
        words = filler_in(config.language)
        if words is None or not config.output_audio:
            return
        call.move(Trigger.REPLY_REQUESTED)
        turn = self._filled_turn = onward.turn if onward is not None else call.next_turn()
        self._replies.start(turn, "", Moments(), config=config, script=words)
        self._replies.release()
