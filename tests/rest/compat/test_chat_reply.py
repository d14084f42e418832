"""Stop sequences: where text that arrives letter by letter ends, and how much is held back."""

from hypothesis import given
from hypothesis import strategies as st

from rest.compat.chat import StopSequences

LETTERS = st.text("ab", max_size=12)
STOPS = st.lists(st.text("ab", min_size=1, max_size=3), max_size=4)


def cut(text: str, stops: list[str]) -> str:
    """What is to be shown of a whole text that comes letter by letter."""
    for end in range(len(text) + 1):
        for stop in stops:
            if text[:end].endswith(stop):
                places = [at for one in stops if (at := text[:end].find(one)) >= 0]
                return text[: min(places)]
    return text


@given(text=LETTERS, stops=STOPS)
def test_stop_sequences_end_text_that_arrives_letter_by_letter(text: str, stops: list[str]) -> None:
    sequences, shown = StopSequences(stops), ""
    for letter in text:
        shown += sequences.push(letter)
        assert cut(text, stops).startswith(shown)
    assert sequences.found is any(stop in text for stop in stops)
    assert shown + sequences.finish() == cut(text, stops)


def test_only_a_possible_stop_sequence_is_held_back() -> None:
    sequences = StopSequences(["END"])
    assert sequences.push("The E") == "The "
    assert sequences.push("ar") == "Ear"
    assert sequences.push(" EN") == " "
    assert sequences.push("D of it") == ""
    assert sequences.push("more") == ""
    assert sequences.finish() == ""
