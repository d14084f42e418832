import pytest

from pipelines.engines.translation.sentences import LONGEST, sentences


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \n ", []),
        ("One. Two!  Three?", ["One.", "Two!", "Three?"]),
        ("no end", ["no end"]),
        ('"Go." She went.', ['"Go."', "She went."]),
        ("Mr. Smith paid 3.50 to J. Doe. Fine.", ["Mr. Smith paid 3.50 to J. Doe.", "Fine."]),
        ("a line\nanother line", ["a line", "another line"]),
        ("今日は。元気？はい", ["今日は。", "元気？", "はい"]),
        ("Das ist z.B. gut. Ja…  Nein", ["Das ist z.B. gut.", "Ja…", "Nein"]),
    ],
)  # fmt: skip
def test_a_text_is_cut_at_the_ends_of_its_sentences(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


def test_no_sentence_is_too_long() -> None:
    words = " ".join(f"word{n}" for n in range(300))
    pieces = sentences(words)
    assert " ".join(pieces) == words
    assert max(map(len, pieces)) <= LONGEST
    assert "".join(sentences("x" * 1000)) == "x" * 1000
