"""The language of a text, among those that can be spoken."""

import pytest

from pipelines.speech.language import LANGUAGES, language_of

FIVE = ("de", "en", "es", "fr", "it")


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Guten Morgen, wie geht es Ihnen heute?", "de"),
        ("Merhaba nasılsın bugün", "tr"),
        ("Привіт, як справи?", "uk"),
        ("Ja", "en"),
        ("1234", "en"),
        ("", "en"),
    ],
)
def test_languages(text: str, language: str) -> None:
    assert language_of(text) == language


@pytest.mark.parametrize("text", ["Hotel Restaurant Taxi", "iPhone 15 Pro Max", "Bonjour", "¡Sí!"])
def test_a_short_text_has_the_language_of_the_voice(text: str) -> None:
    assert language_of(text) == "en"
    assert language_of(text, FIVE, "it") == "it"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The Japanese say こんにちは to you.", "en"),
        ("Ich sage こんにちは zu meinen Freunden.", "de"),
        ("The word Schadenfreude is German.", "en"),
        ("Он любит слушать rock and roll.", "ru"),
    ],
)
def test_words_of_another_language_do_not_decide(text: str, language: str) -> None:
    assert language_of(text) == language


def test_the_likeliest_spoken_language_is_chosen() -> None:
    text = "Bom dia, posso ajudar?"
    assert language_of(text) == "pt"
    assert language_of(text, FIVE) in FIVE
    assert language_of("Guten Morgen, wie geht es?", ("en",)) == "en"
    assert language_of("Guten Morgen, wie geht es?", ()) == "en"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Przepraszam bardzo, nie mówię po polsku, czy może pan powtórzyć?", "pl"),
        ("こんにちは世界、元気ですか", "ja"),
        ("Καλημέρα σας", "el"),
    ],
)
def test_text_clearly_in_an_unspoken_language_keeps_its_language(text: str, language: str) -> None:
    assert language_of(text, FIVE) == language


def test_a_script_that_a_voice_can_read_is_read() -> None:
    assert language_of("Привет, как дела?", (*FIVE, "ru")) == "ru"
    assert language_of("Привет", ("bg", "en", "ru"), "bg") in ("bg", "ru")
    assert language_of("Здраво", LANGUAGES, "uk") in ("bg", "ru", "uk")
