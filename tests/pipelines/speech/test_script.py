"""Clauses and tags of spoken texts."""

from hypothesis import given
from hypothesis import strategies as st

from pipelines.engines.reading.clauses import MAXIMUM_CHARACTERS, clauses
from pipelines.engines.reading.text import Pause
from pipelines.speech.script import steps


@given(st.text(alphabet="ab .,!?\n。-", max_size=1500))
def test_clauses_are_the_text(text: str) -> None:
    cut = list(clauses(text))
    assert "".join(cut) == text
    assert all(0 < len(clause) <= MAXIMUM_CHARACTERS for clause in cut)


def test_tags_are_pauses_and_never_words() -> None:
    said = list(steps("Well. <sigh> I *see*. <LAUGH>"))
    assert said == ["Well.", Pause(500), "I *see*.", Pause(500)]


def test_a_clause_does_not_end_at_an_abbreviation() -> None:
    for text in (
        "Das ist z. B. am 24. Dezember, d. h. bald, mit ca. 5 Leuten.",
        "Escriba p. ej. al Sr. López en EE. UU. hoy.",
        "Bonjour M. Dupont, voici la liste p. ex. de vos courses.",
    ):
        assert list(clauses(text)) == [text]
    assert len(list(clauses("It costs twelve. Anything else?"))) == 2
