"""Checkpoints of a conversation, and how it goes on from one.

Rules
- A conversation that is resumed is at rest first. Then, of these, the first that applies happens:
  the caller's last words are answered; the reply that was being heard goes on with the words that
  were not heard; a postponed reply is made; a reply that was requested is; tools continue.
- The history is what was heard. A reply that was heard in part ends at its last heard word, and
  what goes on with it is a reply of its own; both are recorded as one turn.
- Words of a turn that had not ended count as all of it, so that the caller is answered and does not
  wait for ever. Sound without words is forgotten.
- No number is given twice.
"""

from collections.abc import Iterable
from dataclasses import replace

from sessions.core.replies.replies import Replies
from sessions.core.replies.reply import Reply, SpokenText, created
from sessions.core.replies.side_replies import SideReplies
from sessions.core.tools import ToolUses
from sessions.core.turns.ended_turns import EndedTurns
from sessions.core.turns.turntaking import TurnTaking

from .call import Call, Moments
from .checkpoint import CallerHabits, Checkpoint, Moving, OpenReply, OpenTurn
from .events import ReplyGenerated
from .notices import BegunReply, ReplyItemAdded, SessionOpened
from .requests import ClientRequests
from .states import ReplyState


class Resuming:
    """Makes checkpoints of one conversation, and resumes it from one."""

    def __init__(
        self,
        call: Call,
        replies: Replies,
        side: SideReplies,
        tools: ToolUses,
        turns: TurnTaking,
        ended: EndedTurns,
        requests: ClientRequests,
    ) -> None:
        self._call = call
        self._replies = replies
        self._side = side
        self._tools = tools
        self._turns = turns
        self._ended = ended
        self._requests = requests

    # ------------------------------------------------------------------ making one

    def moving(self, heard: int) -> Moving:
        """The part of the checkpoint that changes while somebody speaks."""
        reply = self._replies.current
        return Moving(
            self._call.numbers(self._tools.lists),
            self._call.elapsed,
            _open(reply, heard) if reply is not None and reply.released else None,
            self._turns.open_turn(),
        )

    def checkpoint(self, heard: int) -> Checkpoint:
        """The conversation now; ``heard``: samples of the current reply that were heard."""
        call = self._call
        gone = (*self._replies.stopping, *self._side.open)
        known = call.config.language_known or self._turns.language_decided
        return Checkpoint(
            call.call_id,
            replace(call.config, language_known=known),
            self.moving(heard),
            call.quiet_since is not None,
            tuple(call.transcript),
            call.prompts.since,
            tuple(_open(reply, reply.paused or 0) for reply in gone),
            self._ended.waiting_turns(),
            self._ended.pending(),
            self._requests.held,
            self._tools.unfinished(),
            CallerHabits(call.level.turns, self._turns.pace.factor),
        )

    # ------------------------------------------------------------------ going on from one

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on from ``checkpoint``; the first thing that happens to the conversation."""
        call, moving = self._call, checkpoint.moving
        cut, open_turn = moving.reply, moving.open_turn
        call.restore(checkpoint)
        self._tools.restore(moving.numbers.tool_lists)
        self._turns.pace.factor = checkpoint.habits.pace
        begun = (*checkpoint.ended, *((cut,) if cut is not None else ()))
        call.publish(SessionOpened(checkpoint.config, _published(begun, call)))
        self._turns.configure(checkpoint.config)
        self._tools.configure(checkpoint.config)
        for gone in checkpoint.ended:
            self._replies.end_earlier(_reply(gone), gone.heard, goes_on=False)
        answered = _answered(checkpoint.turns, open_turn)
        unsaid = cut if answered is None and open_turn is None else None
        if unsaid is not None and not self._replies.goes_on(_reply(unsaid), unsaid.heard):
            unsaid = None
        if cut is not None and cut.created:
            self._replies.end_earlier(_reply(cut), cut.heard, goes_on=unsaid is not None)
        self._tools.settle(checkpoint.tools)
        recorded = {known.turn for known in checkpoint.ended}
        if cut is not None and (cut.created or unsaid is not None):
            recorded.add(cut.turn)  # a stand-in's, which waits for its text while it is answered
        for turn in (*checkpoint.turns, *((open_turn,) if open_turn is not None else ())):
            by_reply = turn is answered or turn.turn in recorded
            self._ended.commit_earlier(turn, answered=by_reply)
        if answered is not None:
            self._ended.answer_earlier(answered)
        elif unsaid is not None:
            self._replies.go_on(_reply(unsaid), unsaid.heard, unsaid.filler)
        elif checkpoint.pending is not None:
            self._ended.make_pending(checkpoint.pending)
        held = checkpoint.held
        if held is not None and (answered is None or answered.request != held):
            self._requests.hold(held)


def _answered(turns: Iterable[OpenTurn], last: OpenTurn | None) -> OpenTurn | None:
    """The turn that is to be answered: the newest that was."""
    wanted = [turn for turn in turns if turn.wanted]
    if last is not None:
        return last if last.wanted else None
    return wanted[-1] if wanted else None


def _open(reply: Reply, heard: int) -> OpenReply:
    """What is known of a reply. ``heard``: samples."""
    texts, ends = reply.spoken.clauses
    if reply.limit is not None:
        heard = min(heard, reply.limit)
    return OpenReply(
        number=reply.number,
        turn=reply.turn,
        user_text=reply.user_text,
        reply_id=reply.reply_id,
        item_id=reply.item_id,
        config=reply.config,
        request=reply.request,
        script=reply.script,
        rounds=reply.rounds,
        created=reply.started,
        audible=reply.audible,
        texts=texts,
        ends=ends,
        rate=reply.spoken.rate,
        published=reply.published_text if reply.clauses else None,
        heard=max(0, min(heard, reply.spoken.samples)),
        filler=len(reply.clauses[0]) if reply.begins_with_filler and reply.clauses else 0,
        complete=isinstance(reply.result, ReplyGenerated),
        tool_uses=tuple(reply.tool_uses),
        tools=reply.tools,
        before=reply.before,
    )


def _reply(known: OpenReply) -> Reply:
    """The reply as it was, to be ended."""
    text, published = "".join(known.texts), known.published
    clauses = [] if published is None else [published, text[len(published) :]]
    return Reply(
        number=known.number,
        turn=known.turn,
        user_text=known.user_text,
        reply_id=known.reply_id,
        item_id=known.item_id,
        config=known.config,
        moments=Moments(),
        progress=0.0,
        script=known.script,
        request=known.request,
        tools=known.tools,
        tool_uses=list(known.tool_uses),
        rounds=known.rounds,
        state=ReplyState.PLAYING if known.audible else ReplyState.RELEASED,
        result=ReplyGenerated(known.number) if known.complete else None,
        published=min(1, len(clauses)),
        clauses=clauses,
        spoken=SpokenText(known.rate, list(known.texts), list(known.ends)),
        before=known.before,
    )


def _published(replies: Iterable[OpenReply], call: Call) -> tuple[BegunReply, ...]:
    """The replies that the client knows of."""
    begun = []
    for known in replies:
        if known.created:
            reply = _reply(known)
            added = None
            if known.published is not None:
                place = None
                if known.item_id in call.transcript:
                    _, place = call.transcript.place(known.item_id)
                added = ReplyItemAdded(
                    known.reply_id,
                    known.item_id,
                    place,
                    known.config.output_audio,
                    reply.in_conversation,
                )
            begun.append(BegunReply(created(reply), added))
    return tuple(begun)
