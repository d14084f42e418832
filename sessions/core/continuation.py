"""The reply that goes on: while tools are at work the call waits, says so, and then answers.

Rules: it steps in only where the call would rest otherwise, in LISTENING or CALLING; a filler is
spoken once for each wait, after ``PATIENCE`` seconds of silence.
"""

from .call import Call
from .latency import Moments
from .replies import Replies
from .turns import State, Trigger

PATIENCE = 1.2
FILLERS = {
    "en": "One moment.",
    "de": "Einen Moment.",
    "es": "Un momento.",
    "fr": "Un instant.",
    "it": "Un momento.",
    "nl": "Een moment.",
    "pt": "Um momento.",
}
"""Spoken where a tool takes long; in other languages nothing is."""


class Continuations:
    """Carries a conversation over its tool calls."""

    def __init__(self, call: Call, replies: Replies) -> None:
        self._call = call
        self._replies = replies
        self._filled: float | None = None
        """The wait (its beginning) for which a filler has been spoken."""

    def proceed(self) -> None:
        """Wait for the tools at work, or go on with what they brought."""
        call, tools = self._call, self._replies.tools
        if call.state not in (State.LISTENING, State.CALLING):
            return
        if tools.busy:
            if call.state is State.LISTENING:
                call.move(Trigger.TOOLS_CALLED)
            return
        onward, tools.continuation = tools.continuation, None
        if onward is not None:
            call.move(Trigger.REPLY_REQUESTED)
            moments = Moments(speech_end=call.now, turn_end=call.now, transcript=call.now)
            self._replies.start(
                onward.turn, "", moments, config=onward.config, rounds=onward.rounds
            )
            self._replies.release()
        elif call.state is State.CALLING:
            call.move(Trigger.REPLY_ENDED)

    def deadline(self) -> float | None:
        """When the caller has waited long enough to be told so."""
        since = self._replies.tools.since
        if self._call.state is not State.CALLING or since is None or since == self._filled:
            return None
        return since + PATIENCE

    def expire(self, now: float) -> None:
        """Say that it takes a moment."""
        due, call = self.deadline(), self._call
        if due is None or due > now:
            return
        self._filled = self._replies.tools.since
        onward = self._replies.tools.continuation
        config = onward.config if onward is not None else call.config
        words = FILLERS.get(config.language)
        if words is None or not config.output_audio:
            return
        call.move(Trigger.REPLY_REQUESTED)
        turn = onward.turn if onward is not None else call.next_turn()
        self._replies.start(turn, "", Moments(), config=config, script=words)
        self._replies.release()
