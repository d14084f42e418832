"""What counts as speech over the reply."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sessions.core.turns.bargein import Overlap, classify
from sessions.languages.packs import words_of

PLAYING = "The weather in Paris is mild today, with a little rain in the evening."
HOURS = "Our opening hours are from nine in the morning"
GERMAN = "Unsere Öffnungszeiten sind montags bis freitags von neun bis achtzehn Uhr"

WORDS = st.lists(st.sampled_from(words_of(f"{HOURS} {PLAYING} {GERMAN}")), min_size=1, max_size=24)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=60)


@pytest.mark.parametrize(
    ("text", "overlap"),
    [
        ("", Overlap.NOTHING),
        (" ... ", Overlap.NOTHING),
        ("Mhm.", Overlap.BACKCHANNEL),
        ("okay, right", Overlap.BACKCHANNEL),
        ("I see", Overlap.BACKCHANNEL),
        ("the", Overlap.BACKCHANNEL),
        ("a little rain", Overlap.ECHO),
        ("the weather in paris was mild today", Overlap.ECHO),
        ("the whether in parish", Overlap.ECHO),
        ("little range", Overlap.INTERRUPTION),
        ("stop", Overlap.INTERRUPTION),
        ("okay but wait", Overlap.INTERRUPTION),
        ("rain little", Overlap.INTERRUPTION),
        ("and what about Paris in the winter", Overlap.INTERRUPTION),
        ("the weather in Paris is not mild today", Overlap.INTERRUPTION),
        ("the weather in Paris is bad", Overlap.INTERRUPTION),
    ],
)
def test_overlaps(text: str, overlap: Overlap) -> None:
    assert classify(text, PLAYING) is overlap


@pytest.mark.parametrize(
    "misheard",
    [
        "Opening our.",
        "Opening our out.",
        "Our opening hour.",
        "Hour opening hours.",
        "are from mine",
        "nine in the mourning",
        "mourning",
    ],
)
def test_an_echo_that_is_misheard_is_an_echo(misheard: str) -> None:
    assert classify(misheard, HOURS) is Overlap.ECHO


@pytest.mark.parametrize(
    "said",
    [
        "Our opening hours are wrong",
        "Opening hours on Sunday?",
        "No",
        "no, nine",
        "stop",
        "wait",
        "now",
        "Are you open on Sunday morning?",
        "I need a refund",
    ],
)
def test_words_that_resemble_the_reply_only_in_part_interrupt(said: str) -> None:
    assert classify(said, HOURS) is Overlap.INTERRUPTION


def test_other_languages_have_their_echoes_and_their_interruptions() -> None:
    assert classify("Öffnungszeit sind", GERMAN, "de") is Overlap.ECHO
    assert classify("offnungszeiten sind Montag", GERMAN, "de") is Overlap.ECHO
    for said in ("nein", "warte", "von neun nicht", "samstags auch"):
        assert classify(said, GERMAN, "de-CH") is Overlap.INTERRUPTION


def test_an_objection_is_an_echo_only_if_it_was_played() -> None:
    assert classify("wait", "If you like you can wait here") is Overlap.ECHO
    assert classify("you can wait here", "If you like you can wade here") is Overlap.INTERRUPTION


def test_only_the_last_words_can_echo() -> None:
    later = "one two three four five six seven eight nine ten eleven twelve " * 2
    assert classify("the weather", PLAYING + later) is Overlap.INTERRUPTION


@given(played=WORDS, start=st.integers(0, 20), count=st.integers(1, 16))
def test_played_words_never_interrupt(played: list[str], start: int, count: int) -> None:
    recent = played[-16:]
    run = recent[start : start + count]
    assume(run)
    assert classify(" ".join(run), " ".join(played)) in (Overlap.ECHO, Overlap.BACKCHANNEL)


@given(
    played=WORDS,
    said=WORDS,
    objection=st.sampled_from(
        [("no", "en"), ("wait", "en"), ("nein", "de"), ("espera", "es"), ("não", "pt")]
    ),
)
def test_objections_interrupt(
    played: list[str], said: list[str], objection: tuple[str, str]
) -> None:
    word, language = objection
    text = " ".join([*said, word])
    assert classify(text, " ".join(played), language) is Overlap.INTERRUPTION


@given(said=TEXTS, played=TEXTS)
def test_any_text_is_classified(said: str, played: str) -> None:
    assert (classify(said, played) is Overlap.NOTHING) is (words_of(said) == [])


def test_endless_words_are_compared_by_their_beginning() -> None:
    assert classify("banana" * 10_000, "banana" * 9_000 + "s") is Overlap.ECHO


@given(run=st.integers(0, 4), place=st.integers(0, 30), letter=st.sampled_from("aeiouskt"))
def test_one_wrong_letter_does_not_make_an_echo_an_interruption(
    run: int, place: int, letter: str
) -> None:
    words = "tomorrow morning twenty different people arrive".split()[run : run + 2]
    text = " ".join(words)
    place %= len(text)
    assume(text[place] != " ")
    misheard = text[:place] + letter + text[place + 1 :]
    playing = "Tomorrow morning twenty different people arrive"
    assert classify(misheard, playing) is Overlap.ECHO
