"""Speech over the reply: paused at once, judged by its words."""

import pytest

from sessions.core.commands import (
    CancelReply,
    PausePlayout,
    ResumePlayout,
    ScoreTurn,
    StartReply,
    StopPlayout,
)
from sessions.core.config import TurnTakingSettings
from sessions.core.events import InputEnded, RequestCancel, Tick, TranscriptionFailed
from sessions.core.items import Message, ReplyStatus
from sessions.core.notices import (
    ItemTruncated,
    PlayoutCleared,
    PlayoutHeld,
    PlayoutResumed,
    ReplyDone,
    SpeechStarted,
)
from sessions.core.states import State
from sessions.core.turns.bargein import AGREEMENT_MS
from tests.sessions.core.conftest import ShellFactory
from tests.support.sessions.model_shell import ModelShell


@pytest.fixture
def shell(call: ShellFactory) -> ModelShell:
    """The agent is speaking "Paris is the capital of France." for two seconds."""
    shell = call()
    shell.have_spoken()
    assert shell.stands(State.SPEAKING)
    return shell


def test_speech_pauses_within_a_tenth_of_a_second(shell: ModelShell) -> None:
    shell.hear(0.9, 2)
    assert not shell.ordered(PausePlayout)
    shell.hear(0.9, 1)
    assert shell.ordered(PausePlayout) == [PausePlayout(1)]
    assert shell.stands(State.BARGE_IN)
    assert shell.published(PlayoutHeld)[0].audio_end_ms == 96
    assert len(shell.published(SpeechStarted)) == 2


def test_words_confirm_a_barge_in_and_cut_history_at_the_heard_word(shell: ModelShell) -> None:
    shell.silence(900)
    shell.speak(128)
    commands = shell.partial("no wait")
    assert [type(c) for c in commands if isinstance(c, CancelReply | StopPlayout)] == [
        CancelReply,
        StopPlayout,
    ]
    assert shell.stands(State.USER_SPEAKING)
    done = shell.published(ReplyDone)[-1]
    assert (done.status, done.reason) == (ReplyStatus.CANCELLED, "turn_detected")
    assert done.text == "Paris is the capital of France. "
    assert done.heard == "Paris is the"
    assert shell.published(ItemTruncated)[-1].heard == "Paris is the"
    assert shell.published(PlayoutCleared)
    shell.speak(320)
    shell.silence(128)
    shell.final("No wait, of Spain.", 0.9)
    assert shell.reply.said == (
        Message("user", "what is the capital of france"),
        Message("assistant", "Paris is the"),
        Message("user", "No wait, of Spain."),
    )
    shell.silence(320)
    assert [record.interrupted for record in shell.records] == [True]
    assert shell.records[0].reply_text == "Paris is the capital of France. "


def test_a_barge_in_confirmed_by_the_final_text_goes_straight_to_endpointing(
    shell: ModelShell,
) -> None:
    shell.speak(128)
    shell.silence(128)
    shell.final("Stop.")
    assert shell.stands(State.BARGE_IN), "a partial may still speak"
    shell.silence(AGREEMENT_MS)
    assert shell.stands(State.ENDPOINTING)
    assert shell.ordered(ScoreTurn)[-1].turn == 2
    shell.final("Stop.", 0.9)
    shell.silence(320)
    assert shell.stands(State.THINKING)
    assert [order.reply for order in shell.ordered(StartReply)] == [1, 2]


def test_a_hum_that_the_final_text_turned_into_words_is_refuted(shell: ModelShell) -> None:
    shell.speak(128, "mmm")
    shell.silence(128)
    shell.final("Amen, them.")
    shell.silence(AGREEMENT_MS)
    assert shell.stands(State.SPEAKING)
    assert shell.ordered(ResumePlayout)


@pytest.mark.parametrize("words", ["", "mhm", "okay, yeah", "Paris is", "the"])
def test_noise_backchannels_and_echo_refute_a_barge_in(shell: ModelShell, words: str) -> None:
    shell.silence(500)
    heard = shell.reply.heard
    shell.speak(128, words)
    if words != "":
        assert shell.stands(State.BARGE_IN)
    shell.silence(128)
    shell.final(words)
    assert shell.stands(State.SPEAKING)
    assert shell.ordered(ResumePlayout) == [ResumePlayout(1)]
    assert shell.published(PlayoutResumed)
    assert not shell.ordered(CancelReply)
    assert heard < shell.reply.heard < heard + 24_000 // 5
    shell.generated()
    shell.silence(2_000)
    assert shell.published(ReplyDone)[-1].status is ReplyStatus.COMPLETED
    assert shell.published(ReplyDone)[-1].heard == "Paris is the capital of France. "


# ---------------------------------------------------------------------------- held, undecided


def test_a_short_sound_without_words_holds_playout_for_a_third_of_a_second(
    shell: ModelShell,
) -> None:
    shell.speak(416)
    assert shell.reply.paused
    shell.silence(32)
    assert shell.reply.paused
    shell.silence(32)
    assert not shell.reply.paused
    assert shell.stands(State.BARGE_IN), "words may still come"
    assert len(shell.published(PlayoutResumed)) == 1
    shell.final("")
    assert shell.stands(State.SPEAKING)
    assert len(shell.ordered(ResumePlayout)) == 1


@pytest.mark.parametrize(("level", "goes_on"), [(-40.0, False), (-60.0, True)])
def test_a_hum_that_has_faded_does_not_wait_for_the_voice_detector(
    shell: ModelShell, level: float, *, goes_on: bool
) -> None:
    shell.speak(480, level=-20.0)
    assert shell.reply.paused
    shell.speak(32, level=level)
    assert shell.reply.paused is not goes_on
    assert shell.stands(State.BARGE_IN), "words may still come"


def test_a_very_short_sound_holds_playout_until_its_text_has_had_time(shell: ModelShell) -> None:
    shell.speak(256)
    shell.silence(416)
    assert shell.reply.paused, "it may be a stop"
    shell.silence(32)
    assert not shell.reply.paused


def test_a_backchannel_does_not_hold_playout_longer(shell: ModelShell) -> None:
    shell.speak(256, "okay")
    shell.silence(192)
    assert shell.reply.paused
    shell.silence(32)
    assert not shell.reply.paused


def test_words_that_come_late_interrupt_all_the_same(shell: ModelShell) -> None:
    shell.speak(416)
    shell.silence(96)
    assert not shell.reply.paused
    shell.partial("stop it")
    assert shell.stands(State.ENDPOINTING)
    assert shell.reply.dead
    assert shell.reply.stopped


def test_speech_that_goes_on_pauses_again(shell: ModelShell) -> None:
    shell.speak(416)
    shell.silence(96)
    shell.speak(64)
    assert not shell.reply.paused
    shell.speak(32)
    assert shell.reply.paused
    assert len(shell.ordered(PausePlayout)) == 2
    shell.partial("no wait")
    assert shell.stands(State.USER_SPEAKING)


def test_a_text_that_interrupts_holds_playout_until_it_is_decided(shell: ModelShell) -> None:
    shell.speak(256)
    shell.silence(64)
    shell.final("Wait.")
    shell.silence(320)
    assert shell.reply.paused
    shell.partial("wait")
    assert shell.stands(State.ENDPOINTING)


def test_what_recognisers_make_of_a_thump_is_nothing(shell: ModelShell) -> None:
    shell.speak(192)
    shell.silence(64)
    shell.final("You")
    assert shell.stands(State.SPEAKING)


def test_a_hum_in_the_partial_text_refutes_the_final_one(shell: ModelShell) -> None:
    shell.speak(256)
    shell.silence(64)
    shell.final("Amen, them.")
    shell.partial("mmm")
    assert shell.stands(State.SPEAKING)


def test_a_reply_that_ends_undecided_leaves_the_caller_the_floor(shell: ModelShell) -> None:
    shell.generated()
    shell.silence(1_300)
    shell.speak(416)
    shell.silence(96)
    assert not shell.reply.paused
    shell.silence(800)
    assert shell.stands(State.ENDPOINTING)
    shell.final("")
    shell.silence(600)
    assert shell.stands(State.LISTENING)


def test_without_early_resume_playout_waits_for_the_text(call: ShellFactory) -> None:
    shell = call(turn_taking=TurnTakingSettings(early_resume=False))
    shell.have_spoken()
    shell.speak(416)
    shell.silence(320)
    assert shell.reply.paused
    shell.final("")
    assert not shell.reply.paused


def test_the_agents_coming_words_are_no_echo(shell: ModelShell) -> None:
    shell.speak(128, "capital of france")
    assert shell.stands(State.USER_SPEAKING)


def test_two_seconds_of_wordless_noise_refute_a_barge_in(shell: ModelShell) -> None:
    shell.speak(1_950)
    assert shell.stands(State.BARGE_IN)
    shell.speak(100)
    assert shell.stands(State.SPEAKING)
    shell.reply.clauses.append(("", 90_000))
    shell.speak(1_000)
    assert len(shell.ordered(PausePlayout)) == 1, "ignored until there is silence"
    shell.silence(128)
    shell.speak(128)
    assert len(shell.ordered(PausePlayout)) == 2


def test_playout_resumes_without_a_result_from_the_recogniser(shell: ModelShell) -> None:
    shell.speak(128)
    shell.silence(128)
    shell.pass_time(4.0)
    assert shell.stands(State.SPEAKING)


def test_deadlines_that_are_due_at_once_are_met_one_by_one(shell: ModelShell) -> None:
    shell.speak(128)
    shell.silence(128)
    shell.now += 12.0
    shell.feed(Tick())
    assert shell.stands(State.SPEAKING)
    assert len(shell.ordered(ResumePlayout)) == 1


def test_a_failing_recogniser_refutes_a_barge_in(shell: ModelShell) -> None:
    shell.speak(128)
    shell.silence(128)
    shell.feed(TranscriptionFailed(2, "PROVIDER_ERROR", "no text"))
    assert shell.stands(State.SPEAKING)


def test_speech_that_goes_on_after_a_short_pause_is_heard_to_its_end(shell: ModelShell) -> None:
    shell.speak(128)
    shell.silence(128)
    shell.speak(128, "but listen")
    assert shell.stands(State.USER_SPEAKING)


def test_an_overlap_cut_by_the_end_of_input_is_decided_by_its_text(shell: ModelShell) -> None:
    shell.speak(160)
    shell.feed(InputEnded())
    shell.final("Stop it now.")
    assert shell.stands(State.THINKING)
    assert shell.reply.order.history[-1].content.endswith("\nStop it now.")


# ---------------------------------------------------------------------------- echo by its signal


def test_an_echo_by_its_signal_does_not_even_pause(shell: ModelShell) -> None:
    shell.hear(0.9, 40, echo=0.9)
    assert shell.stands(State.SPEAKING)
    assert not shell.ordered(PausePlayout)
    assert len(shell.published(SpeechStarted)) == 1, "only the question's"


def test_an_echo_that_paused_is_refuted_whatever_its_words(shell: ModelShell) -> None:
    shell.hear(0.9, 4, echo=0.7)
    assert shell.stands(State.BARGE_IN)
    shell.hear(0.9, 12, echo=0.95)
    shell.partial("no wait")
    assert shell.stands(State.BARGE_IN)
    shell.silence(128)
    shell.final("No, wait.")
    assert shell.stands(State.SPEAKING)
    assert not shell.ordered(CancelReply)


def test_words_decide_an_uncertain_echo(shell: ModelShell) -> None:
    shell.hear(0.9, 5, echo=0.75)
    shell.partial("no wait")
    assert shell.stands(State.USER_SPEAKING)


def test_a_caller_speaking_over_the_echo_interrupts(shell: ModelShell) -> None:
    shell.hear(0.9, 3, echo=0.9)
    shell.hear(0.9, 4, echo=0.4)
    assert shell.stands(State.BARGE_IN)
    shell.partial("paris")
    shell.hear(0.9, 4, echo=0.4)
    shell.partial("paris no wait")
    assert shell.stands(State.USER_SPEAKING)


def test_a_caller_speaking_over_a_continuous_echo_interrupts_too(shell: ModelShell) -> None:
    shell.hear(0.9, 4, echo=0.7)
    shell.reply.clauses.append(("", 240_000))
    for _ in range(33):
        shell.hear(0.9, 1, echo=0.99)
        shell.hear(0.9, 1, echo=0.75)
    assert shell.stands(State.SPEAKING), "an echo overall"
    assert len(shell.ordered(PausePlayout)) == 1, "ignored for the rest of it"
    shell.hear(0.9, 24, echo=0.3)
    assert shell.stands(State.BARGE_IN)
    shell.partial("no wait")
    assert shell.stands(State.USER_SPEAKING)


def test_an_echo_counts_as_speech_without_echo_suppression(call: ShellFactory) -> None:
    shell = call(suppresses_echo=False)
    shell.have_spoken()
    shell.hear(0.9, 4, echo=0.95)
    assert shell.stands(State.BARGE_IN)
    shell.partial("no wait")
    assert shell.stands(State.USER_SPEAKING)


def test_a_reply_that_ends_meanwhile_leaves_the_caller_the_floor(shell: ModelShell) -> None:
    shell.speak(128)
    shell.feed(RequestCancel())
    assert shell.stands(State.USER_SPEAKING)
    shell.silence(128)
    shell.final("Thank you.", 0.9)
    shell.silence(320)
    assert shell.stands(State.THINKING)


def test_nobody_interrupts_when_interruption_is_off(call: ShellFactory) -> None:
    shell = call(interrupt_response=False)
    shell.have_spoken()
    shell.speak(640)
    assert shell.stands(State.SPEAKING)
    assert not shell.ordered(PausePlayout)


def test_thinking_continues_when_interruption_is_off(call: ShellFactory) -> None:
    shell = call(interrupt_response=False)
    shell.ask("what is the capital of france")
    shell.speak(640)
    assert shell.stands(State.THINKING)
    assert not shell.ordered(CancelReply)
