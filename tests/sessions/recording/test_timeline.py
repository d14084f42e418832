"""The timeline of any call at all is in order, complete and true to what was heard."""

import itertools

from hypothesis import HealthCheck, settings

from sessions.core.conversation import Conversation
from sessions.core.events import CallResumed, HangUp
from sessions.core.notices import ReplyCreated, ReplyDone
from sessions.recording.timeline import BACKCHANNEL, TURN, Timeline, joined
from sessions.recording.timeline_reader import TimelineReader
from tests.sessions.core.test_conversation_properties import Calls
from tests.support.examples import examples
from tests.support.sessions.model_shell import ModelShell

FRANCE = "Paris is the capital of France. "


def timeline_of(shell: ModelShell, begins_ms: int = 0) -> Timeline:
    reader, core = TimelineReader(begins_ms), Conversation("c")
    for event, now, commands in shell.log:
        if isinstance(event, CallResumed):
            core = Conversation("c")
        core.handle(event, now)
        reader.take(event, now, commands, core.state)
    return reader.timeline()


def test_a_turn_and_its_answer() -> None:
    shell = ModelShell()
    shell.silence(992)
    shell.have_spoken(FRANCE, 2_000)
    shell.generated()
    shell.silence(2_560)
    shell.feed(HangUp("bye"))
    timeline = timeline_of(shell)
    (turn,) = timeline.turns
    assert (turn.number, turn.outcome, turn.overlaps) == (1, TURN, False)
    assert turn.text == "what is the capital of france"
    assert (turn.from_ms, turn.to_ms) == (992, 1_632)
    assert turn.decided_ms is not None
    (reply,) = timeline.replies
    assert (reply.text, reply.heard, reply.status) == (FRANCE, FRANCE, "completed")
    assert (reply.prompt_tokens, reply.completion_tokens) == (20, 10)
    assert reply.from_ms is not None
    assert reply.to_ms is not None
    assert reply.from_ms >= turn.decided_ms
    assert reply.to_ms - reply.from_ms == 2_000
    (clause,) = reply.clauses
    assert (clause.text, clause.from_ms, clause.to_ms) == (FRANCE, reply.from_ms, reply.to_ms)
    assert reply.latency is not None
    states = [span.state for span in timeline.states]
    assert states == [
        "listening",
        "user_speaking",
        "endpointing",
        "thinking",
        "speaking",
        "listening",
    ]
    assert [mark.kind for mark in timeline.marks] == ["end"]


def test_an_interruption_cuts_the_reply() -> None:
    shell = ModelShell()
    shell.have_spoken(FRANCE, 4_000)
    shell.silence(512)
    shell.speak(480, "no wait please stop")
    shell.silence(640)
    shell.feed(HangUp("bye"))
    timeline = timeline_of(shell)
    reply = timeline.replies[0]
    assert reply.status == "cancelled"
    assert reply.heard != reply.text
    assert timeline.turns[1].overlaps
    kinds = [mark.kind for mark in timeline.marks]
    assert kinds[:2] == ["hold", "interruption"]
    spans = [span for span in timeline.agent_speech if span.of == reply.reply_id]
    assert sum(span.to_ms - span.from_ms for span in spans) < 1_200
    assert reply.to_ms == spans[-1].to_ms


def test_a_backchannel_holds_and_resumes_it() -> None:
    shell = ModelShell()
    shell.have_spoken(FRANCE, 4_000)
    shell.silence(512)
    shell.speak(320, "mhm")
    shell.silence(256)
    shell.final("Mhm.")
    shell.silence(640)
    timeline = timeline_of(shell)
    assert timeline.turns[1].outcome == BACKCHANNEL
    kinds = [mark.kind for mark in timeline.marks]
    assert kinds[0] == "hold"
    assert {"resume", "backchannel"} <= set(kinds)
    assert len(timeline.agent_speech) == 2
    before, behind = timeline.agent_speech
    assert behind.from_ms > before.to_ms
    assert timeline.turns[1].text == "Mhm."


def test_parts_of_a_call_lie_behind_each_other() -> None:
    shell = ModelShell()
    shell.have_spoken(FRANCE, 1_000)
    whole = joined([timeline_of(shell), timeline_of(shell, 60_000)])
    assert [turn.from_ms for turn in whole.turns] == [0, 60_000]
    assert whole.duration_ms > 60_000
    assert joined([]) == Timeline(0)


def check(timeline: Timeline, shell: ModelShell) -> None:
    """What is true of every timeline."""
    last = timeline.duration_ms
    spans = [(s.from_ms, s.to_ms) for s in (*timeline.caller_speech, *timeline.agent_speech)]
    for begins, ends in (*spans, *((s.from_ms, s.to_ms) for s in timeline.states)):
        assert 0 <= begins <= ends <= last
    for left, right in itertools.pairwise(timeline.agent_speech):
        if left.of == right.of:
            assert left.to_ms <= right.from_ms + 1
    for before, behind in itertools.pairwise(timeline.states):
        assert before.to_ms == behind.from_ms
        assert before.state != behind.state
    created = [n.reply_id for n in shell.notices if isinstance(n, ReplyCreated)]
    mine = {reply.reply_id: reply for reply in timeline.replies}
    assert set(mine) <= set(created)
    for done in (n for n in shell.notices if isinstance(n, ReplyDone)):
        if (reply := mine.get(done.reply_id)) is not None:
            assert (reply.text, reply.heard, reply.status) == (done.text, done.heard, done.status)
    for reply in timeline.replies:
        assert reply.text.startswith(reply.heard)
        assert (reply.from_ms is None) == (reply.to_ms is None)
        assert "".join(clause.heard for clause in reply.clauses) in reply.heard
        for clause in reply.clauses:
            assert clause.text.startswith(clause.heard)
            if clause.from_ms is not None and clause.to_ms is not None:
                assert reply.from_ms is not None
                assert reply.to_ms is not None
                assert reply.from_ms <= clause.from_ms <= clause.to_ms <= reply.to_ms
    for turn in timeline.turns:
        assert turn.from_ms <= turn.to_ms
        assert [p.at_ms for p in turn.partials] == sorted(p.at_ms for p in turn.partials)
    assert [m.at_ms for m in timeline.marks] == sorted(m.at_ms for m in timeline.marks)
    for tool in timeline.tools:
        assert tool.to_ms is None or tool.to_ms >= tool.from_ms


class DrawnCalls(Calls):
    """Any call at all, and its timeline at its end."""

    def teardown(self) -> None:
        super().teardown()
        shell = getattr(self, "shell", None)
        if shell is not None and not shell.resumed_at:
            check(timeline_of(shell), shell)


TestDrawnCalls = DrawnCalls.TestCase
TestDrawnCalls.settings = settings(
    max_examples=examples(25),
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
del Calls
