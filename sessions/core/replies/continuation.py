"""Continuing after tools, and fillers while a tool, an answer or the caller's words are slow.

Rules
- Once the tools have returned, the reply continues by itself; but only when the call would rest
  otherwise, in LISTENING or USING_TOOLS.
- Each wait for tools gets one filler, after ``PATIENCE`` seconds of silence.
- If the chat model has no clause ``ANSWER_PATIENCE`` seconds after its reply was released, the same
  filler is spoken at the beginning of that reply, unless the turn has already had one.
- If the text of a turn has not come ``ANSWER_PATIENCE`` seconds after its end, and no partial text
  can stand in for it, the filler is spoken as its own reply, and the turn is answered after it. A
  client that commits turns by hand gets only the replies that it requested.
- The filler is that of the language's pack; where it has none, nothing is said.
"""

from sessions.core.call import Call, Moments, Timer
from sessions.core.config import TurnMode
from sessions.core.states import ReplyState, State, Trigger
from sessions.core.tools import ToolUses
from sessions.core.turns.ended_turns import EndedTurns
from sessions.core.turns.input_audio import Utterance
from sessions.languages.packs import pack_of

from .replies import Replies
from .reply import Reply

PATIENCE = 1.2
ANSWER_PATIENCE = 2.5
"""Longer than for a tool: on a busy machine the embedded model needs up to 2 s, and a filler just
before its answer would only delay it."""


class Continuations:
    """Continues a conversation after its tool uses, and fills the wait."""

    def __init__(self, call: Call, replies: Replies, tools: ToolUses, ended: EndedTurns) -> None:
        self._call = call
        self._replies = replies
        self._tools = tools
        self._ended = ended
        self._filled: float | None = None
        """The beginning of the last wait that had a filler."""
        self._filled_turn: int | None = None
        """The last turn that had a filler."""
        self._bridging = False
        """A filler is spoken before a turn whose text is late."""
        self._timed = False
        """The filler's timer is set."""

    def proceed(self) -> None:
        """Wait for running tools, or continue with their outputs."""
        call = self._call
        if self._bridging:
            self._cross()
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
        elif (unheard := self._unheard_turn()) is not None:
            self._bridge(unheard)
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

    def _bridge(self, unheard: Utterance) -> None:
        """Speak a filler as its own reply, before the turn whose text is late."""
        words = pack_of(self._call.config.language).spoken.filler
        self._filled_turn, self._bridging = unheard.turn, True
        self._ended.postpone_text()
        self._replies.start(self._call.next_turn(), "", Moments(), script=words, filler=True)
        self._replies.release()

    def _cross(self) -> None:
        """Answer that turn once the filler has ended. Where the caller speaks meanwhile, what
        they say decides."""
        state = self._call.state
        if state is State.LISTENING and self._replies.current is None:
            self._bridging = False
            self._ended.answer_postponed()
        elif state in (State.USER_SPEAKING, State.ENDPOINTING):
            self._bridging = False

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
        if (unheard := self._unheard_turn()) is not None:
            return (unheard.moments.turn_end or self._call.now) + ANSWER_PATIENCE
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

    def _unheard_turn(self) -> Utterance | None:
        """The turn to be answered whose text is missing, if a filler may cover the wait."""
        call, utterance = self._call, self._ended.wanted
        if (
            call.state is not State.THINKING
            or self._replies.current is not None
            or utterance is None
            or utterance.request is not None
            or utterance.partial_stands_in
            or utterance.turn == self._filled_turn
            or call.detection.mode is TurnMode.NONE
            or not call.config.output_audio
            or pack_of(call.config.language).spoken.filler is None
        ):
            return None
        return utterance
