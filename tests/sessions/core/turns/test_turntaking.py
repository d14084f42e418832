"""When a turn starts and ends, in all modes, and what is begun before its end is certain."""

import pytest

from sessions.core.commands import (
    CancelReply,
    DropTranscription,
    FinishTranscription,
    ReleaseReply,
    ScoreTurn,
    StartReply,
    StartTranscription,
)
from sessions.core.config import SessionConfig, TurnDetection, TurnMode, TurnTakingSettings
from sessions.core.events import (
    CommitInput,
    ConfigureSession,
    InputEnded,
    RequestReply,
    SilenceHeard,
    TranscriptionFailed,
    TranscriptionWaits,
    TurnScored,
)
from sessions.core.items import Message
from sessions.core.notices import (
    HearingWaits,
    InputCommitted,
    Latency,
    ReplyCreated,
    SpeechStarted,
    SpeechStopped,
    TranscriptFinal,
    TranscriptPartial,
)
from sessions.core.states import State
from tests.sessions.core.conftest import ShellFactory
from tests.support.sessions.model_shell import WINDOW, ModelShell


def test_a_turn_from_onset_to_reply(call: ShellFactory) -> None:
    shell = call()
    shell.silence(1_000)
    start = shell.position
    shell.speak(640, "what is")
    assert shell.stands(State.USER_SPEAKING)
    assert shell.published(SpeechStarted) == [SpeechStarted("item_c_1", start - 300 * 16)]
    assert shell.published(TranscriptPartial) == [TranscriptPartial("item_c_1", "what is")]
    end = shell.position
    shell.silence(128)
    assert shell.stands(State.ENDPOINTING)
    assert shell.ordered(FinishTranscription) == [FinishTranscription(1, end + 2 * WINDOW)]
    assert not shell.ordered(ScoreTurn), "the text comes first"
    shell.final("What is the capital of France?", 0.9)
    assert shell.ordered(ScoreTurn) == [ScoreTurn(1, end + 4 * WINDOW)]
    shell.silence(250)
    assert shell.stands(State.THINKING)
    assert shell.published(SpeechStopped) == [SpeechStopped("item_c_1", end)]
    assert shell.published(InputCommitted) == [InputCommitted("item_c_1", None)]
    assert [n.text for n in shell.published(TranscriptFinal)] == ["What is the capital of France?"]
    assert shell.ordered(DropTranscription) == [DropTranscription(1)]
    assert shell.reply.said == (Message("user", "What is the capital of France?"),)


@pytest.mark.parametrize(
    ("words", "probability", "patient"),
    [
        ("What is the capital of France?", 0.9, 384),
        ("What is the capital of France?", 0.3, 800),
        ("What is the capital of France?", 0.05, 1_152),
        ("and he was more respectable than he was.", 0.95, 608),
        ("He was not an ill-disposed young man,", 0.95, 608),
        ("two large pizzas and um", 0.95, 1_824),
        ("two large pizzas and um", 0.6, 2_624),
        ("I would like a flight to", 0.28, 2_624),
        ("that is S M", 0.01, 1_600),
    ],
)
def test_the_pause_that_ends_a_turn(
    call: ShellFactory, words: str, probability: float, patient: int
) -> None:
    shell = call()
    shell.speak(640)
    shell.silence(128)
    shell.final(words, probability)
    shell.silence(patient - 128 - 32)
    assert shell.stands(State.ENDPOINTING)
    shell.silence(32)
    assert shell.stands(State.THINKING)


def after_200_ms(call: ShellFactory) -> ModelShell:
    """A call in which the caller has been silent for 192 ms of the 200 that end a turn."""
    shell = call(mode=TurnMode.SERVER_VAD, silence_duration_ms=200)
    assert shell.core.next_position() is None
    shell.speak(640)
    shell.silence(128)
    shell.final("yes please")
    shell.silence(64)
    assert shell.stands(State.ENDPOINTING)
    assert shell.core.next_position() == shell.position + 8 * 16
    return shell


def test_a_turn_ends_within_a_window(call: ShellFactory) -> None:
    shell = after_200_ms(call)
    shell.feed(SilenceHeard(shell.position + 8 * 16 - 1))
    assert shell.stands(State.ENDPOINTING)
    end = shell.position - 192 * 16
    shell.feed(SilenceHeard(shell.position + 8 * 16))
    assert shell.stands(State.THINKING)
    assert shell.published(SpeechStopped) == [SpeechStopped("item_c_1", end)]
    assert shell.core.next_position() is None
    shell.silence(32)
    assert shell.stands(State.THINKING)


def test_late_audio_ends_no_turn(call: ShellFactory) -> None:
    shell = after_200_ms(call)
    shell.pass_time(0.9)
    assert shell.stands(State.ENDPOINTING)
    shell.speak(96)
    assert shell.stands(State.USER_SPEAKING), "it was speech that was late"
    assert shell.core.next_position() is None


def test_silence_that_is_no_news_changes_nothing(call: ShellFactory) -> None:
    shell = after_200_ms(call)
    for position in (0, shell.position):
        assert not shell.feed(SilenceHeard(position))
    shell.speak(32)
    assert shell.core.next_position() == shell.position + 200 * 16
    shell.feed(SilenceHeard(shell.position + 16 * 16))
    assert shell.stands(State.ENDPOINTING)


def test_a_text_that_comes_after_enough_silence_ends_the_turn_at_once(call: ShellFactory) -> None:
    shell = call(mode=TurnMode.SERVER_VAD, silence_duration_ms=200)
    shell.speak(640)
    shell.silence(192)
    shell.feed(SilenceHeard(shell.position + 20 * 16))
    assert shell.core.next_position() is None, "nothing but the text is missing"
    shell.final("yes please")
    assert shell.stands(State.THINKING)


def test_a_score_that_comes_after_enough_silence_ends_the_turn_at_once(call: ShellFactory) -> None:
    shell = call()
    shell.speak(640)
    shell.silence(448)
    shell.final("What is the capital of France?")
    assert shell.stands(State.ENDPOINTING)
    asked = shell.scores[-1]
    shell.feed(TurnScored(asked.turn, asked.position, 0.9))
    assert shell.stands(State.THINKING)


def test_server_vad_asks_no_turn_detector(call: ShellFactory) -> None:
    shell = call(mode=TurnMode.SERVER_VAD, silence_duration_ms=500)
    shell.speak(640)
    shell.silence(128)
    shell.final("two large pizzas and um")
    shell.silence(352)
    assert shell.stands(State.ENDPOINTING)
    shell.silence(32)
    assert shell.stands(State.THINKING)
    assert not shell.scores


def test_a_pause_inside_a_sentence_does_not_end_the_turn(call: ShellFactory) -> None:
    shell = call()
    shell.speak(640)
    shell.silence(128)
    shell.final("two large pizzas and um", 0.95)
    shell.silence(1_500)
    shell.speak(640)
    assert shell.stands(State.USER_SPEAKING)
    shell.silence(128)
    shell.final("Two large pizzas and um, one small salad.", 0.9)
    shell.silence(288)
    assert shell.stands(State.THINKING)
    assert len(shell.turns) == 1
    assert [n.text for n in shell.published(TranscriptFinal)] == [
        "Two large pizzas and um, one small salad."
    ]


def test_a_text_that_looks_cut_off_is_requested_once_more(call: ShellFactory) -> None:
    shell = call()
    shell.speak(640)
    shell.silence(128)
    shell.final("He was not an ill-disposed young man,", 0.05)
    shell.silence(288)
    assert len(shell.asked) == 1
    shell.silence(32)
    assert shell.asked[1].position == shell.asked[0].position + 12 * WINDOW
    shell.final("He was not an ill-disposed young man.")
    shell.silence(640)
    assert shell.stands(State.ENDPOINTING)
    shell.silence(96)
    assert shell.stands(State.THINKING)
    assert len(shell.asked) == 2
    assert len(shell.scores) == 1


def test_a_second_look_that_sees_nothing_changes_nothing(call: ShellFactory) -> None:
    shell = call()
    shell.speak(640)
    shell.silence(128)
    shell.final("Well, I think,", 0.7)
    shell.silence(352)
    shell.final("")
    shell.silence(544)
    assert [n.text for n in shell.published(TranscriptFinal)] == ["Well, I think,"]


def test_a_reply_to_words_that_change_is_discarded(call: ShellFactory) -> None:
    shell = call()
    shell.speak(640)
    shell.silence(128)
    shell.final("I came on the number nine, but", 0.9)
    shell.silence(320)
    assert not shell.replies
    shell.final("I came on the number nine bus.")
    shell.silence(32)
    assert shell.reply.said == (Message("user", "I came on the number nine bus."),)
    assert len(shell.replies) == 1


def test_punctuation_that_changes_keeps_the_reply(call: ShellFactory) -> None:
    shell = call()
    shell.speak(640)
    shell.silence(128)
    shell.final("Thank you, that is all,", 0.55)
    shell.silence(448)
    assert len(shell.replies) == 1
    assert len(shell.asked) == 2
    shell.final("Thank you. That is all.")
    shell.silence(320)
    assert shell.ordered(ReleaseReply) == [ReleaseReply(1)]
    shell.play(0.0)
    shell.clause("You are welcome.")
    shell.generated()
    shell.silence(900)
    assert shell.records[-1].user_text == "Thank you. That is all."


@pytest.mark.parametrize(
    ("switch", "words", "probability", "patient"),
    [
        ("graded_endings", "and so he was.", 0.95, 2_624),
        ("counted_dictation", "My booking code is four seven two", 0.5, 1_600),
        ("second_look", "He was not an ill-disposed young man,", 0.95, 608),
    ],
)
def test_parts_can_be_switched_off(
    call: ShellFactory, switch: str, words: str, probability: float, patient: int
) -> None:
    shell = call(turn_taking=TurnTakingSettings(**{switch: False}))
    shell.speak(640)
    shell.silence(128)
    shell.final(words, probability)
    shell.silence(patient - 160)
    assert shell.stands(State.ENDPOINTING)
    shell.silence(32)
    assert shell.stands(State.THINKING)


@pytest.mark.parametrize(
    ("language", "begun", "rest"),
    [
        ("en", "My booking code is four seven two", " nine two one."),
        ("es", "Mi código de reserva es cuatro siete dos", " nueve dos uno."),
    ],
)
def test_a_pause_inside_announced_dictation_is_waited_for(
    call: ShellFactory, language: str, begun: str, rest: str
) -> None:
    shell = call(language=language)
    shell.speak(640)
    shell.silence(128)
    shell.final(begun, 0.95)
    shell.silence(1_800)
    shell.speak(640)
    shell.silence(128)
    shell.final(begun + rest, 0.9)
    shell.silence(384)
    assert [n.text for n in shell.published(TranscriptFinal)] == [begun + rest]


def test_the_turn_detector_hears_128_ms_of_silence_however_late_the_text(
    call: ShellFactory,
) -> None:
    shell = call()
    shell.speak(640)
    end = shell.position
    shell.silence(320)
    assert not shell.scores
    shell.final("I would like to book a flight to")
    assert [score.position - end for score in shell.scores] == [4 * WINDOW]


def test_without_an_early_hint_the_text_is_requested_after_128_ms(call: ShellFactory) -> None:
    shell = call(turn_taking=TurnTakingSettings(early_hint=False))
    shell.speak(640)
    shell.silence(96)
    assert not shell.asked
    shell.silence(32)
    assert len(shell.asked) == 1


# ---------------------------------------------------------------------------- the caller's pace


def test_who_pauses_long_is_given_more_time(call: ShellFactory) -> None:
    shell = call()
    shell.speak(640)
    shell.silence(128)
    shell.final("My name is Smith.", 0.9)
    shell.silence(224)
    shell.speak(640)
    shell.silence(128)
    shell.final("My name is Smith. I would like a room.", 0.9)
    shell.silence(256)
    assert shell.stands(State.ENDPOINTING), "not after 380 ms as before"
    shell.silence(64)
    assert shell.stands(State.THINKING)


def test_who_was_cut_off_is_given_more_time(call: ShellFactory) -> None:
    shell = call()
    shell.ask("I have a question.")
    assert shell.stands(State.THINKING)
    shell.silence(128)
    shell.ask("It is about my bill.", patient=300)
    assert shell.stands(State.THINKING)
    shell.clause("Yes?", 100)
    shell.play(0.0)
    shell.generated()
    shell.silence(1_600)
    shell.speak(640)
    shell.silence(128)
    shell.final("It is too high.", 0.9)
    shell.silence(320)
    assert shell.stands(State.ENDPOINTING)
    shell.silence(160)
    assert shell.stands(State.THINKING)


def test_the_pace_can_be_switched_off(call: ShellFactory) -> None:
    shell = call(turn_taking=TurnTakingSettings(adaptive_pause=False))
    shell.speak(640)
    shell.silence(128)
    shell.final("My name is Smith.", 0.9)
    shell.silence(224)
    shell.speak(640)
    shell.silence(128)
    shell.final("My name is Smith. I would like a room.", 0.9)
    shell.silence(256)
    assert shell.stands(State.THINKING)


# ---------------------------------------------------------------------------- speculation


def test_a_likely_end_starts_the_reply_and_certainty_releases_it(call: ShellFactory) -> None:
    shell = call()
    shell.speak(640)
    shell.silence(128)
    shell.final("What is the capital of France?", 0.9)
    assert len(shell.ordered(StartReply)) == 1
    shell.clause("Paris.", 700)
    assert not shell.published(ReplyCreated)
    shell.silence(256)
    assert shell.ordered(ReleaseReply) == [ReleaseReply(1)]
    assert len(shell.ordered(StartReply)) == 1
    assert shell.stands(State.THINKING)
    shell.play(0.0)
    assert shell.stands(State.SPEAKING)


def test_a_reply_may_begin_with_the_partial_text(call: ShellFactory) -> None:
    shell = call(turn_taking=TurnTakingSettings(partial_speculation=True))
    shell.speak(640, "what is the capital of france")
    shell.silence(64)
    assert shell.reply.said == (Message("user", "What is the capital of france"),)
    shell.final("What is the capital of France?")
    shell.silence(64)
    shell.final("What is the capital of France?", 0.9)
    shell.silence(256)
    assert shell.ordered(ReleaseReply) == [ReleaseReply(1)]
    assert len(shell.replies) == 1


def test_a_reply_to_another_partial_text_is_discarded(call: ShellFactory) -> None:
    shell = call(turn_taking=TurnTakingSettings(partial_speculation=True))
    shell.speak(640, "what is the capital of friends")
    shell.silence(64)
    shell.final("What is the capital of France?")
    assert shell.ordered(CancelReply) == [CancelReply(1)]
    assert shell.reply.said == (Message("user", "What is the capital of France?"),)
    shell.silence(64)
    shell.final("What is the capital of France?", 0.9)
    shell.silence(288)
    shell.clause("Paris. ", 100)
    shell.generated()
    shell.silence(640)
    (latency,) = shell.published(Latency)
    assert latency.head_start_ms == 320
    assert latency.discarded_replies == 1
    assert 50 < latency.discarded_tokens < 200


def test_more_speech_cancels_the_speculative_reply(call: ShellFactory) -> None:
    shell = call()
    shell.speak(640)
    shell.silence(128)
    shell.final("What is the capital?", 0.9)
    shell.clause("Of what?")
    shell.speak(96)
    assert shell.ordered(CancelReply) == [CancelReply(1)]
    shell.silence(128)
    shell.final("What is the capital of France?", 0.9)
    shell.silence(256)
    assert [order.history[-1].content for order in shell.ordered(StartReply)] == [
        "What is the capital?",
        "What is the capital of France?",
    ]
    assert [n.reply_id for n in shell.published(ReplyCreated)] == ["resp_c_2"]


@pytest.mark.parametrize(
    ("words", "probability", "silent"), [("a flight to", 0.9, 1_350), ("a flight to", 0.1, 2_150)]
)
def test_an_unlikely_end_starts_the_reply_shortly_before_patience_ends(
    call: ShellFactory, words: str, probability: float, silent: int
) -> None:
    shell = call()
    shell.speak(640)
    shell.silence(128)
    shell.final(words, probability)
    shell.silence(silent - 128 - 64)
    assert not shell.replies
    shell.silence(96)
    assert shell.replies
    assert shell.stands(State.ENDPOINTING)


def test_speculation_has_a_budget_per_turn(call: ShellFactory) -> None:
    shell = call()
    for _ in range(5):
        shell.speak(320)
        shell.silence(128)
        shell.final("What is it?", 0.9)
    assert len(shell.ordered(StartReply)) == 3
    shell.silence(320)
    assert len(shell.ordered(ReleaseReply)) == 1


def test_a_failed_speculation_is_repeated_at_the_certain_end(call: ShellFactory) -> None:
    shell = call()
    shell.speak(640)
    shell.silence(128)
    shell.final("What is it?", 0.9)
    shell.fail()
    shell.silence(320)
    assert shell.ordered(ReleaseReply) == [ReleaseReply(2)]


def test_nothing_is_speculated_when_no_reply_is_wanted(call: ShellFactory) -> None:
    shell = call(create_response=False)
    shell.ask("What is it?")
    assert not shell.replies
    assert shell.stands(State.LISTENING)
    assert [record.user_text for record in shell.records] == ["What is it?"]


def test_an_unwanted_reply_is_not_released(call: ShellFactory) -> None:
    shell = call()
    shell.speak(640)
    shell.silence(128)
    shell.final("What is it?", 0.9)
    mute = SessionConfig(turn_detection=TurnDetection(create_response=False))
    shell.feed(ConfigureSession(mute))
    shell.silence(320)
    assert shell.ordered(CancelReply) == [CancelReply(1)]
    assert shell.stands(State.LISTENING)


# ---------------------------------------------------------------------------- noise, dry input


def test_noise_is_dropped_and_forgotten(call: ShellFactory) -> None:
    shell = call()
    shell.speak(128)
    shell.silence(128)
    shell.final("", 0.98)
    shell.silence(480)
    assert shell.stands(State.LISTENING)
    assert not shell.published(InputCommitted)
    assert not shell.replies
    shell.silence(3_000)
    floor = shell.position
    shell.hear(0.9, 4)
    assert shell.ordered(StartTranscription)[-1].position == floor - 300 * 16


def test_clicks_are_not_speech(call: ShellFactory) -> None:
    shell = call()
    for _ in range(40):
        shell.hear(0.9, 2)
        shell.hear(0.1, 1)
    assert not shell.turns


def test_old_clicks_do_not_add_up_to_an_interruption(call: ShellFactory) -> None:
    shell = call()
    shell.have_spoken(ms=9_000)
    for _ in range(4):
        shell.hear(0.9, 2)
        shell.silence(400)
    assert shell.stands(State.SPEAKING)


def test_a_cough_while_the_agent_thinks_does_not_cost_the_answer(call: ShellFactory) -> None:
    shell = call()
    shell.ask("What is the capital of France?")
    assert shell.stands(State.THINKING)
    shell.speak(128)
    assert shell.stands(State.USER_SPEAKING)
    shell.silence(128)
    shell.final("", 0.9)
    shell.silence(600)
    assert shell.stands(State.THINKING)
    assert shell.ordered(ReleaseReply)[-1].reply == shell.reply.number
    assert shell.reply.said == (Message("user", "What is the capital of France?"),)


def test_words_added_while_the_agent_thinks_are_answered_with_the_rest(call: ShellFactory) -> None:
    shell = call()
    shell.ask("What is the capital of France?")
    shell.ask("And of Spain?")
    assert [m.content for m in shell.reply.said] == [
        "What is the capital of France?\nAnd of Spain?"
    ]
    assert [n.reply_id for n in shell.published(ReplyCreated)] == ["resp_c_1", "resp_c_2"]


def test_a_turn_ends_after_a_minute(call: ShellFactory) -> None:
    shell = call()
    shell.speak(60_100)
    shell.final("and so on and so on", 0.01)
    assert shell.core.state in (State.THINKING, State.USER_SPEAKING)
    assert len(shell.published(InputCommitted)) == 1


def test_input_that_stops_ends_the_turn_with_the_current_text(call: ShellFactory) -> None:
    shell = call()
    shell.speak(640)
    shell.pass_time(0.99)
    assert shell.stands(State.USER_SPEAKING)
    shell.pass_time(0.02)
    assert shell.stands(State.ENDPOINTING)
    shell.final("a flight to", 0.01)
    assert shell.stands(State.THINKING)


def test_the_end_of_input_ends_the_turn_at_once(call: ShellFactory) -> None:
    shell = call()
    shell.speak(640)
    shell.feed(InputEnded())
    shell.final("hello there")
    assert shell.stands(State.THINKING)


# ---------------------------------------------------------------------------- text that fails


def test_a_partial_replaces_a_failed_final(call: ShellFactory) -> None:
    shell = call()
    shell.speak(640, "what is the capital of france")
    shell.silence(128)
    shell.feed(TranscriptionFailed(1, "PROVIDER_ERROR", "no text"))
    shell.silence(1_500)
    assert shell.reply.said == (Message("user", "what is the capital of france"),)


def test_a_turn_ends_without_a_slow_text_and_is_answered_once_it_arrives(
    call: ShellFactory,
) -> None:
    shell = call()
    shell.speak(640, "what is the capital of france")
    shell.silence(3_100)
    assert shell.stands(State.THINKING)
    assert not shell.replies
    shell.final("What is the capital of France?")
    assert shell.reply.said == (Message("user", "What is the capital of France?"),)


def test_a_missing_final_is_replaced_by_the_partial(call: ShellFactory) -> None:
    shell = call()
    shell.speak(640, "what is it")
    shell.silence(4_300)
    assert shell.reply.said == (Message("user", "what is it"),)


def test_the_text_of_a_long_turn_is_waited_for_longer(call: ShellFactory) -> None:
    shell = call(mode=TurnMode.NONE)
    shell.speak(20_000, "once upon a time")
    shell.feed(CommitInput())
    shell.feed(RequestReply())
    shell.pass_time(8.9)
    assert not shell.replies
    shell.pass_time(0.2)
    assert shell.reply.said == (Message("user", "once upon a time"),)


# ---------------------------------------------------------------------------- push to talk


def test_without_turn_detection_only_a_commit_ends_the_turn(call: ShellFactory) -> None:
    shell = call(mode=TurnMode.NONE)
    shell.speak(640)
    shell.silence(5_000)
    assert shell.stands(State.LISTENING)
    assert shell.transcriptions == {1}
    assert not shell.published(SpeechStarted)


def test_without_turn_detection_a_minute_is_committed_in_parts_and_silence_forgotten(
    call: ShellFactory,
) -> None:
    shell = call(mode=TurnMode.NONE)
    shell.silence(60_100)
    assert not shell.published(InputCommitted)
    shell.speak(200)
    shell.silence(60_000)
    assert len(shell.published(InputCommitted)) == 1
    assert not shell.replies


def test_a_turn_that_waits_for_a_recogniser_says_so_once_and_is_given_time(
    call: ShellFactory,
) -> None:
    shell = call(output_audio=False)
    shell.speak(640)
    shell.silence(128)
    shell.feed(TranscriptionWaits(1, 5))
    shell.feed(TranscriptionWaits(1, 4))
    assert shell.published(HearingWaits) == [HearingWaits("item_c_1", 5)]
    shell.silence(4_000)
    shell.pass_time(15.0)
    assert shell.stands(State.THINKING)
    assert not shell.replies
    shell.final("What is it?")
    assert shell.reply.order.history[-1].content == "What is it?"
