"""The caller's language: when the detector is asked, and what follows from its answer."""

from dataclasses import replace

import pytest

from sessions.core.commands import (
    CancelReply,
    DetectLanguage,
    FinishTranscription,
    RestartTranscription,
    StartReply,
)
from sessions.core.config import SessionConfig, TurnDetection, TurnMode
from sessions.core.events import (
    CommitInput,
    ConfigureSession,
    LanguageDetected,
    LanguagesFound,
    RequestReply,
)
from sessions.core.notices import (
    LanguageChanged,
    LanguagesChanged,
    LanguageUnspoken,
    TranscriptFinal,
)
from sessions.core.states import State
from sessions.core.turns.language import CERTAIN, CLEAR, ENOUGH_MS, LIKELY, SURE, WAIT_MS
from sessions.languages.packs import PACKS
from tests.support.sessions.model_shell import ModelShell

CONFIG = SessionConfig(languages=("en", "de", "es"))


def begun(**changes: object) -> ModelShell:
    return ModelShell(replace(CONFIG, **changes))


def turn(shell: ModelShell, language: str, probability: float, words: str = "hola amigo") -> None:
    """A turn of 1.6 seconds, about which the detector answers before its end."""
    shell.speak(1_600)
    shell.detect(language, probability)
    shell.silence(128)
    shell.final(words, 0.9)
    shell.silence(300)


def languages(shell: ModelShell) -> list[str]:
    return [notice.config.language for notice in shell.published(LanguageChanged)]


def decided(language: str) -> ModelShell:
    """A call in which a long turn in ``language`` has been answered."""
    shell = begun()
    turn(shell, language, 0.97)
    shell.clause("Claro. ", 300)
    shell.generated()
    shell.play(0.0)
    shell.play(1.0)
    assert shell.stands(State.LISTENING)
    return shell


@pytest.mark.parametrize(
    "changes", [{"detects_language": False}, {"languages": ("en",)}, {"languages": ()}]
)
def test_where_there_is_nothing_to_find_out_nothing_is_asked(changes: dict[str, object]) -> None:
    shell = begun(**changes)
    shell.speak(3_000)
    shell.silence(128)
    assert not shell.detections


def test_a_turn_is_asked_about_once_there_is_enough_speech() -> None:
    shell = begun()
    shell.speak(ENOUGH_MS - 100)
    assert not shell.detections
    shell.speak(200)
    (asked,) = shell.ordered(DetectLanguage)
    assert asked.languages == ("en", "de", "es")
    shell.speak(3_000)
    shell.silence(128)
    assert shell.ordered(DetectLanguage) == [asked]


def test_the_first_long_turn_decides_and_is_heard_again_from_its_start() -> None:
    shell = begun()
    shell.speak(1_800, "ola key tall")
    shell.detect("es", LIKELY)
    (number,) = {order.turn for order in shell.ordered(DetectLanguage)}
    assert languages(shell) == ["es"]
    assert shell.ordered(RestartTranscription) == [RestartTranscription(number, "es")]
    shell.speak(200, "hola qué tal")
    shell.silence(128)
    shell.final("Hola, ¿qué tal?", 0.9)
    shell.silence(300)
    order = shell.reply.order
    assert order.config.language == "es"
    assert "speaks Spanish" in order.history[1].content
    assert order.history[-1].content == "Hola, ¿qué tal?"


def test_the_end_of_the_first_long_turn_decides_rather_than_its_beginning() -> None:
    shell = begun()
    shell.speak(1_600)
    shell.detect("es", 0.93)
    shell.speak(1_000)
    shell.silence(128)
    shell.detect("de", LIKELY)
    assert languages(shell) == ["es", "de"]
    shell.final("Wie viel kostet das?", 0.9)
    shell.silence(300)
    assert shell.reply.order.config.language == "de"


def test_a_decided_language_stays_until_a_turn_clearly_speaks_another() -> None:
    shell = decided("es")
    turn(shell, "en", CLEAR - 0.01)
    assert languages(shell) == ["es"]
    shell = decided("es")
    turn(shell, "en", CLEAR)
    assert languages(shell) == ["es", "en"]


def test_short_turns_inherit_the_language() -> None:
    shell = decided("es")
    asked = len(shell.detections)
    shell.ask("sí")
    assert len(shell.detections) == asked
    assert shell.reply.order.config.language == "es"


@pytest.mark.parametrize(("probability", "spoken"), [(SURE, "es"), (SURE - 0.01, "en")])
def test_a_short_first_turn_is_guessed_only_where_the_detector_is_sure(
    probability: float, spoken: str
) -> None:
    shell = begun()
    shell.speak(640)
    shell.silence(128)
    shell.detect("es", probability)
    shell.final("Sí.", 0.9)
    shell.silence(300)
    assert shell.reply.order.config.language == spoken


def test_after_a_guess_the_first_long_turn_still_decides() -> None:
    shell = begun()
    shell.speak(640)
    shell.silence(128)
    shell.detect("es", SURE)
    shell.final("Sí.", 0.9)
    shell.silence(300)
    turn(shell, "de", LIKELY)
    assert languages(shell) == ["es", "de"]


def test_the_text_and_the_speculation_in_the_wrong_language_are_dropped() -> None:
    shell = begun()
    shell.speak(1_600)
    shell.silence(128)
    shell.final("Ola key tall.", 0.9)
    speculated = shell.ordered(StartReply)[-1]
    assert not shell.reply.released
    shell.detect("es")
    assert shell.ordered(CancelReply) == [CancelReply(speculated.reply)]
    assert len(shell.ordered(FinishTranscription)) == 2
    shell.final("Hola, ¿qué tal?", 0.9)
    shell.silence(400)
    assert [notice.text for notice in shell.published(TranscriptFinal)] == ["Hola, ¿qué tal?"]
    assert shell.reply.released
    assert shell.reply.order.history[-1].content == "Hola, ¿qué tal?"


def test_the_end_of_a_first_turn_waits_for_its_language_but_not_for_long() -> None:
    shell = begun()
    shell.speak(1_600)
    shell.silence(128)
    shell.final("What time is it?", 0.9)
    shell.silence(380 - 128)
    assert shell.stands(State.ENDPOINTING)
    shell.silence(WAIT_MS + 32)
    assert shell.stands(State.THINKING)
    assert shell.reply.order.config.language == "en"
    shell.detect("es")
    assert languages(shell) == ["es"], "it counts for the turns to come"


def test_an_answer_that_is_there_delays_nothing() -> None:
    shell = begun()
    shell.speak(1_600)
    shell.detect("en")
    shell.silence(128)
    shell.final("What time is it?", 0.9)
    shell.silence(300)
    assert shell.stands(State.THINKING)
    assert not languages(shell)


def test_an_unclear_answer_is_asked_for_again_at_the_end() -> None:
    shell = begun()
    shell.speak(1_600)
    shell.detect("es", 0.4)
    shell.speak(1_000)
    shell.silence(128)
    assert len(shell.detections) == 2
    shell.detect("es", 0.6)
    assert languages(shell) == ["es"]


def test_a_turn_that_began_like_english_is_heard_as_german_at_its_end() -> None:
    shell = begun()
    shell.speak(1_600)
    shell.detect("en", 0.84)
    shell.speak(300)
    shell.silence(128)
    shell.final("Vas costet das?", 0.9)
    shell.silence(380)
    assert shell.stands(State.ENDPOINTING), "it waits for the second answer"
    shell.detect("de", 1.0)
    assert languages(shell) == ["de"]
    shell.final("Was kostet das?", 0.9)
    shell.silence(32)
    assert shell.reply.order.config.language == "de"


def test_an_uncertain_answer_that_comes_late_is_followed_by_another_question() -> None:
    shell = begun()
    shell.speak(2_300)
    shell.silence(128)
    shell.detect("en", 0.91)
    assert len(shell.detections) == 2
    shell.detect("de", 1.0)
    assert languages(shell) == ["de"]


def test_a_detector_that_fails_leaves_the_language_as_it_is() -> None:
    shell = begun()
    turn(shell, "en", 0.0)
    assert shell.stands(State.THINKING)
    assert not languages(shell)


def test_answers_to_other_questions_are_ignored() -> None:
    shell = begun()
    shell.speak(1_600)
    (asked,) = shell.detections
    shell.feed(LanguageDetected(asked.turn, asked.position + 1, "es", 1.0))
    shell.feed(LanguageDetected(asked.turn + 1, asked.position, "es", 1.0))
    shell.feed(LanguageDetected(asked.turn, asked.position, "tlh", 1.0))
    shell.feed(LanguageDetected(asked.turn, asked.position, "es", 1.0))
    assert not languages(shell)


def test_by_hand_the_text_is_held_until_the_language_is_known() -> None:
    shell = begun(turn_detection=TurnDetection(mode=TurnMode.NONE))
    shell.speak(2_000)
    shell.feed(CommitInput())
    shell.final("Ola key tall.")
    assert not shell.published(TranscriptFinal)
    shell.detect("es")
    assert len(shell.ordered(FinishTranscription)) == 2
    shell.final("Hola, ¿qué tal?")
    assert [notice.text for notice in shell.published(TranscriptFinal)] == ["Hola, ¿qué tal?"]


@pytest.mark.parametrize("answers", [True, False])
def test_by_hand_a_text_in_the_right_language_is_taken(answers: bool) -> None:
    shell = begun(turn_detection=TurnDetection(mode=TurnMode.NONE))
    shell.speak(2_000)
    shell.feed(CommitInput())
    shell.final("What time is it?")
    if answers:
        shell.detect("en")
    else:
        shell.pass_time(11)
    assert [notice.text for notice in shell.published(TranscriptFinal)] == ["What time is it?"]


def test_a_language_that_the_client_sets_ends_the_search() -> None:
    shell = decided("es")
    fixed = replace(shell.config, language="de", detects_language=False, languages=())
    shell.feed(ConfigureSession(fixed))
    asked = len(shell.detections)
    shell.speak(2_000)
    shell.silence(128)
    shell.final("Ich hätte gern einen Tisch für", 0.9)
    shell.silence(1_500)
    assert len(shell.detections) == asked
    assert shell.stands(State.ENDPOINTING), "the words are judged as German"


def test_what_is_said_of_its_own_accord_is_in_the_callers_language() -> None:
    shell = begun()
    turn(shell, "es", 0.97)
    shell.fail()
    assert shell.reply.order.script == PACKS["es"].spoken.apology


@pytest.mark.parametrize(("probability", "found"), [(CLEAR - 0.01, []), (CLEAR, ["en"])])
def test_a_language_known_from_before_changes_only_for_a_clear_turn(
    probability: float, found: list[str]
) -> None:
    shell = begun(language="es", language_known=True)
    turn(shell, "en", probability)
    assert languages(shell) == found


def answered(shell: ModelShell, language: str, probability: float) -> bool:
    """A turn of two seconds and its answer; whether the detector was asked about it."""
    asked = len(shell.ordered(DetectLanguage))
    shell.speak(2_000)
    was_asked = len(shell.ordered(DetectLanguage)) > asked
    if was_asked:
        shell.detect(language, probability)
    shell.silence(128)
    shell.final("hola amigo", 0.9)
    shell.silence(1_500)
    shell.clause("Claro. ", 300)
    shell.generated()
    shell.play(0.0)
    shell.play(1.0)
    assert shell.stands(State.LISTENING)
    return was_asked


def test_once_the_language_is_settled_each_third_turn_is_asked_about() -> None:
    shell = begun()
    assert [answered(shell, "en", CERTAIN) for _ in range(8)] == [
        *(True, True),
        *(False, False, True),
        *(False, False, True),
    ]


def test_one_less_certain_answer_has_every_turn_asked_about_again() -> None:
    shell = begun()
    for _ in range(4):
        answered(shell, "en", CERTAIN)
    assert answered(shell, "en", CERTAIN - 0.01)
    assert [answered(shell, "en", CERTAIN) for _ in range(3)] == [True, True, False]


def test_a_caller_who_changes_a_settled_language_is_followed() -> None:
    shell = begun()
    for _ in range(5):
        answered(shell, "en", CERTAIN)
    assert [answered(shell, "es", CERTAIN) for _ in range(4)] == [False, False, True, True]
    assert languages(shell) == ["es"]


def test_with_another_configuration_the_language_is_not_settled() -> None:
    shell = begun()
    for _ in range(2):
        answered(shell, "en", CERTAIN)
    shell.feed(ConfigureSession(replace(CONFIG, language="es")))
    assert answered(shell, "es", CERTAIN)


SORRY = PACKS["en"].spoken.cannot_speak("Portuguese")


def unspoken(language: str = "pt", probability: float = CLEAR) -> ModelShell:
    """A call whose first long turn is in a language that no voice speaks."""
    shell = begun(unspoken=("pt",))
    shell.speak(1_600, "ola key tall")
    shell.detect(language, probability)
    return shell


def test_a_language_without_a_voice_is_heard_and_answered_by_a_sentence_that_says_so() -> None:
    shell = unspoken()
    (asked,) = shell.ordered(DetectLanguage)
    assert asked.languages == ("en", "de", "es", "pt")
    assert shell.ordered(RestartTranscription) == [RestartTranscription(asked.turn, "pt")]
    shell.silence(128)
    shell.final("Quanto custa o bilhete?", 0.9)
    shell.silence(300)
    assert shell.reply.order.script == SORRY
    assert shell.reply.order.config.language == "en"
    (text,) = shell.published(TranscriptFinal)
    assert text.text == "Quanto custa o bilhete?"
    (notice,) = shell.published(LanguageUnspoken)
    assert (notice.language, notice.item_id) == ("pt", text.item_id)
    assert not shell.published(LanguageChanged)


def test_a_language_without_a_voice_must_be_clear() -> None:
    shell = unspoken(probability=CLEAR - 0.01)
    assert not shell.published(LanguageUnspoken)
    shell.silence(128)
    shell.final("Hello there.", 0.9)
    shell.silence(300)
    assert shell.reply.order.script is None


def test_the_end_of_a_turn_may_show_that_its_language_has_a_voice_after_all() -> None:
    shell = unspoken()
    shell.speak(1_000)
    shell.silence(128)
    shell.detect("es", LIKELY)
    assert languages(shell) == ["es"]
    assert [each.language for each in shell.ordered(RestartTranscription)] == ["pt", "es"]
    shell.final("Hola, ¿qué tal?", 0.9)
    shell.silence(300)
    assert shell.reply.order.script is None
    assert shell.reply.order.config.language == "es"


def test_an_uncertain_end_of_a_turn_is_heard_in_the_calls_language_again() -> None:
    shell = unspoken()
    shell.speak(1_000)
    shell.silence(128)
    shell.detect("pt", LIKELY)
    assert [each.language for each in shell.ordered(RestartTranscription)] == ["pt", "en"]
    assert languages(shell) == ["en"]


@pytest.mark.parametrize(("probability", "script"), [(SURE, SORRY), (SURE - 0.01, None)])
def test_a_short_turn_after_one_without_a_voice_is_taken_for_one_if_sure(
    probability: float, script: str | None
) -> None:
    shell = unspoken()
    shell.silence(128)
    shell.final("Quanto custa o bilhete?", 0.9)
    shell.silence(300)
    shell.clause(SORRY, 300)
    shell.generated()
    shell.play(0.0)
    shell.play(1.0)
    shell.speak(600)
    shell.silence(128)
    shell.detect("pt", probability)
    shell.final("Sim.", 0.9)
    shell.silence(600)
    assert shell.reply.order.script == script


def test_by_hand_a_turn_without_a_voice_waits_for_its_language() -> None:
    shell = begun(unspoken=("pt",), turn_detection=TurnDetection(TurnMode.NONE))
    shell.speak(1_800)
    shell.feed(CommitInput())
    shell.feed(RequestReply())
    shell.final("ola key tall")
    shell.detect("pt", CERTAIN)
    shell.final("Olá, tudo bem?")
    assert shell.reply.order.script == SORRY


def test_one_language_with_a_voice_and_one_without_are_told_apart() -> None:
    shell = begun(languages=("en",), unspoken=("pt",))
    shell.speak(1_800)
    assert [asked.languages for asked in shell.ordered(DetectLanguage)] == [("en", "pt")]


def test_languages_that_were_loaded_may_be_spoken_from_the_next_turn_on() -> None:
    shell = begun(languages=("en",), coming=("de",))
    shell.feed(LanguagesFound(("en", "de"), (), ()))
    (changed,) = shell.published(LanguagesChanged)
    assert (changed.config.languages, changed.config.coming) == (("en", "de"), ())
    shell.feed(LanguagesFound(("en", "de"), (), ()))
    assert len(shell.published(LanguagesChanged)) == 1
    turn(shell, "de", LIKELY, "guten Tag")
    assert languages(shell) == ["de"]


def test_languages_that_were_loaded_change_nothing_in_a_call_of_one_language() -> None:
    shell = begun(languages=(), detects_language=False)
    shell.feed(LanguagesFound(("en", "de"), (), ()))
    assert not shell.published(LanguagesChanged)
