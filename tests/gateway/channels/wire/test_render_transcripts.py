"""Deltas of a growing transcript: never retracted, and complete if nothing was revised."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.channels.wire.render import StablePrefix


def told(partials: list[str], final: str) -> list[str]:
    prefix = StablePrefix()
    return [prefix.advance(partial) for partial in partials] + [prefix.finish(final)]


def test_a_word_is_sent_when_two_partials_agree_on_it() -> None:
    assert told(["the", "the cat", "the cat sat"], "the cat sat down") == [
        "",
        "the",
        " cat",
        " sat down",
    ]


def test_words_revised_later_stay_sent() -> None:
    assert told(["i enter", "i enter net", "my internet", "my internet is"], "My internet is.") == [
        "",
        "i enter",
        "",
        "",
        "",
    ]


def test_a_final_without_partials_is_one_delta() -> None:
    assert told([], "Yes please.") == ["Yes please."]
    assert told([""], "") == ["", ""]


word = st.sampled_from(["a", "b", "c"])
texts = st.lists(word, max_size=6).map(" ".join)


@given(partials=st.lists(texts, max_size=8), final=texts)
def test_deltas_concatenate_to_a_prefix(partials: list[str], final: str) -> None:
    deltas = told(partials, final)
    before = "".join(deltas[:-1])
    assert not before or any(partial.startswith(before) for partial in partials)
    if deltas[-1]:
        assert before + deltas[-1] == final
    elif final.startswith(before) and final != before:
        assert final[len(before)] != " ", "a final that continues the sent text is sent whole"
