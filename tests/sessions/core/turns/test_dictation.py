"""Whether what was announced has been dictated to its end."""

import pytest

from sessions.core.turns.dictation import Progress, progress_of


@pytest.mark.parametrize(
    ("text", "progress"),
    [
        ("My booking code is four seven two", Progress.BEGUN),
        ("My booking code is 472-921.", Progress.WHOLE),
        ("The code is double four seven", Progress.BEGUN),
        ("the code is A B 7 4 4", Progress.ENOUGH),
        ("My phone number is five, five, five", Progress.BEGUN),
        ("My phone number is 555-019-42.", Progress.ENOUGH),
        ("My phone number is 555-019-4217.", Progress.WHOLE),
        ("My pin is 5196", Progress.WHOLE),
        ("My card number is 4242 4242", Progress.BEGUN),
        ("My name is Smith. that is S. M..", Progress.BEGUN),
        ("my name is smith that is s m i", Progress.BEGUN),
        ("My name is Smith, that is S-M-I-T-H.", Progress.WHOLE),
        ("My email is anna dot lee", Progress.BEGUN),
        ("My email is anna.lee at example.com", Progress.WHOLE),
        ("My email is anna dot lee at example dot com", Progress.WHOLE),
        ("My date of birth is the third of May", Progress.BEGUN),
        ("My date of birth is the third of May, 1982.", Progress.WHOLE),
        ("The address is twenty four", Progress.BEGUN),
        ("It's spelled M A", None),
        ("My email is not working", None),
        ("I lost my card", None),
        ("I would like to pay by card for two", None),
        ("I am calling about my booking for two", None),
        ("What time do you open on Sunday?", None),
        ("", None),
    ],
)
def test_what_was_announced(text: str, progress: Progress | None) -> None:
    assert progress_of(text) is progress


@pytest.mark.parametrize(
    ("text", "question", "progress"),
    [
        ("four seven two", "What is your booking code?", Progress.BEGUN),
        ("It's 472921", "What is your booking code?", Progress.WHOLE),
        ("five", "For how many people?", None),
        ("Yes.", "Is that your phone number?", None),
        ("I have no code", "What is your booking code?", None),
    ],
)
def test_the_question_announces_too(text: str, question: str, progress: Progress | None) -> None:
    assert progress_of(text, question) is progress


@pytest.mark.parametrize(
    ("text", "progress"),
    [
        ("My pin is twenty oh five", Progress.WHOLE),
        ("My booking code is twenty twelve nineteen", Progress.WHOLE),
        ("My booking code is forty two seventeen", Progress.ENOUGH),
    ],
)
def test_number_words_are_counted_by_their_digits(text: str, progress: Progress) -> None:
    assert progress_of(text) is progress


@pytest.mark.parametrize(
    ("language", "text", "question", "progress"),
    [
        ("es-ES", "seis cinco cuatro, treinta y dos", "¿Cuál es su teléfono?", Progress.BEGUN),
        ("es", "Es el 654 321 508", "¿Cuál es su número de teléfono?", Progress.WHOLE),
        ("es", "doble cuatro, siete, doce y tres", "¿Me dice su código?", Progress.WHOLE),
        ("es", "cinco", "¿Para cuántas personas?", None),
        ("fr-FR", "zéro six, douze", "Quel est votre numéro de téléphone ?", Progress.BEGUN),
        (
            "fr",
            "C'est le zéro six, quatre-vingt-dix-neuf, soixante et onze, vingt et un, dix-sept",
            "Quel est votre numéro de téléphone ?",
            Progress.WHOLE,
        ),
        ("fr", "deux", "Pour combien de personnes ?", None),
        ("de-AT", "null sechs sechs vier", "Wie ist Ihre Telefonnummer?", Progress.BEGUN),
        ("de", "eins null, eins eins fünf", "Wie ist Ihre Postleitzahl?", Progress.WHOLE),
        ("de", "Das ist die einundzwanzig und sieben", "Der Buchungscode?", Progress.BEGUN),
        ("de", "zwei", "Für wie viele Personen?", None),
        ("it", "È il 347", "Qual è il suo numero di telefono?", Progress.BEGUN),
        ("it", "tre quattro sette, ventotto, novantuno, 805", "Il suo telefono?", Progress.WHOLE),
        ("it", "due", "Per quante persone?", None),
        ("pt-BR", "zero um três um zero", "Qual é o seu CEP?", Progress.BEGUN),
        ("pt", "É o nove meia dois, 345 678", "Qual é o seu telefone?", Progress.WHOLE),
        ("pt", "duas", "Para quantas pessoas?", None),
        ("nl", "nul zes, eenentwintig", "Wat is uw telefoonnummer?", Progress.BEGUN),
        ("fi", "neljä seitsemän 4 7", "What is your booking code?", None),
    ],
)
def test_each_language_announces_and_counts_in_its_own_words(
    language: str, text: str, question: str, progress: Progress | None
) -> None:
    assert progress_of(text, question, language) is progress


def test_a_language_whose_pack_announces_nothing_expects_nothing() -> None:
    assert progress_of("My booking code is 4 7", "", "en-GB") is Progress.BEGUN
    assert progress_of("My booking code is 4 7", "", "fi") is None
    assert progress_of("Smith, S M", "", "fi") is None


def test_accents_may_be_missing_from_a_spelt_name() -> None:
    assert progress_of("me llamo Pérez, P E R", "", "es") is Progress.BEGUN
