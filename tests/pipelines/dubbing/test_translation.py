"""The lines of a dubbing, and the faults by which a translation is rejected."""

import pytest

from pipelines.dubbing.translation import MOST_CHARACTERS, fault, lines_of
from pipelines.transcription.timed_text import TimedSegment, TimedWord


def test_sentences_across_and_within_segments() -> None:
    segments = [
        TimedSegment(0, 2_000, "The first sentence goes"),
        TimedSegment(2_000, 4_000, "on here. And another"),
        TimedSegment(4_000, 5_000, "one ends."),
    ]
    lines = list(lines_of(segments))
    assert [line.text for line in lines] == [
        "The first sentence goes on here.",
        "And another one ends.",
    ]
    assert (lines[0].start_ms, lines[1].end_ms) == (0, 5_000)
    assert 2_500 < lines[0].end_ms <= lines[1].start_ms < 3_500


def test_a_pause_ends_a_line() -> None:
    words = (TimedWord("well", 0, 300), TimedWord("hello", 2_000, 2_400))
    lines = list(lines_of([TimedSegment(0, 2_400, "well hello", words)]))
    assert [(line.start_ms, line.end_ms, line.text) for line in lines] == [
        (0, 300, "well"),
        (2_000, 2_400, "hello"),
    ]


def test_a_very_long_sentence_is_cut() -> None:
    text = " ".join(["word"] * 300)
    lines = list(lines_of([TimedSegment(0, 100_000, text)]))
    assert all(len(line.text) <= MOST_CHARACTERS for line in lines)
    assert " ".join(line.text for line in lines) == text
    phrases = ", ".join(["nine letters or so"] * 30)
    cut = list(lines_of([TimedSegment(0, 30_000, phrases)]))
    assert all(line.text.endswith((",", "so")) for line in cut)


def test_scripts_without_blanks() -> None:
    lines = list(lines_of([TimedSegment(0, 4_000, "今日は。元気ですか。")]))
    assert [line.text for line in lines] == ["今日は。", "元気ですか。"]


def test_a_recording_without_words_has_no_lines() -> None:
    assert list(lines_of([])) == []
    assert list(lines_of([TimedSegment(0, 100, "  ")])) == []


HOURS = "What time do you open on Saturday morning?"


@pytest.mark.parametrize(
    ("text", "translation", "source", "target"),
    [
        (HOURS, "A que horas vocês abrem no sábado de manhã?", "en", "pt"),
        (HOURS, "土曜日の朝は何時に開きますか？", "en", "ja"),
        ("Yes.", "Sim.", "en", "pt"),
        ("No.", "Das kommt nicht infrage.", "en", "de"),
        ("...", "...", "en", "pt"),
        ("It is 7 pm.", "São 19h.", "en", "pt"),
        ("O trem sai às 19h30.", "The train leaves at 7:30 pm.", "pt", "en"),
        ("Please wait for four people until 10:00.", "Aguarde 4 pessoas até as 10 h.", "en", "pt"),
        ("It costs $1,150.00 plus tax.", "Custa US$ 1.150,00 mais imposto.", "en", "pt"),
        ("It costs 1000 euros.", "Custa mil euros.", "en", "pt"),
        ("We are 3.", "Meitä on kolme.", "en", "fi"),
        ("My name is Maria Gonzalez.", "Meu nome é Maria Gonzalez.", "en", "pt"),
        ("We met in New York.", "Nós nos conhecemos em Nova Iorque.", "en", "pt"),
        ("We found Maria Clara in São Paulo.", "Vi a Maria Clara em São Paulo.", "en", "pt"),
        ("Das ist ein Guter Alter Wein.", "That is a fine old wine.", "de", "en"),
        ("Well. Happy New Year!", "Bem. Feliz Ano Novo!", "en", "pt"),
        ("He saw New York.", "Он видел город.", "en", "ru"),
    ],
)
def test_plausible_translations_are_accepted(
    text: str, translation: str, source: str, target: str
) -> None:
    assert fault(text, translation, source, target) is None


@pytest.mark.parametrize(
    ("text", "translation", "wrong"),
    [
        ("Good morning.", " ", "empty"),
        (HOURS, "A las 10:00.", "letters"),
        (HOURS, "Abrimos a las diez de la mañana, de lunes a viernes.", "not a question"),
        (HOURS, HOURS, "not in 'es'"),
        ("I would like to have a word with you.", "Je voudrais vous parler un moment.", ""),
        ("We open very early.", "Abrimos a las 10.", "number 10 was not said"),
        ("It is 25 degrees outside now.", "Hace mucho calor afuera ahora.", "number 25 is lost"),
        ("We met in New York.", "Nos conocimos en una ciudad.", "'New York' is lost"),
        ("Wait, I will look.", "Espera, " + "voy a mirar y después vuelvo " * 3, "letters"),
    ],
)
def test_implausible_translations_are_rejected(text: str, translation: str, wrong: str) -> None:
    found = fault(text, translation, "en", "es")
    if wrong:
        assert found is not None
        assert wrong in found


def test_a_language_without_its_number_words_may_write_small_numbers_out() -> None:
    assert fault("We have 3 cats.", "Mamy trzy koty.", "en", "pl") is None
    assert fault("We have 300 cats.", "Mamy trzysta kotów.", "en", "pl") == "the number 300 is lost"
