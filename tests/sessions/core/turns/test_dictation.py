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
