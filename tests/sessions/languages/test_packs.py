"""Language packs: what each says of its language, and what is refused."""

from pathlib import Path

import pytest

from sessions.core.items import Message, Transcript
from sessions.core.prompt import Prompts
from sessions.core.turns.bargein import Overlap, classify
from sessions.core.turns.dictation import Progress, progress_of
from sessions.core.turns.endpointing import Ending, ending_of
from sessions.languages import packs
from sessions.languages.packs import (
    EXAMPLES,
    OVERLAPS,
    PACKS,
    PROGRESS,
    UNDETERMINED,
    PackError,
    pack_of,
    read_pack,
)

ANNOUNCED = '[announced]\nbefore = ["är"]\n'
SPOKEN = '[spoken]\napology = "Oj."\nunheard = "Va?"\nunspoken = "Nej."\n'
EXAMPLE_TEXTS = [
    (tag, kind, text)
    for tag, pack in PACKS.items()
    for kind, texts in pack.examples.items()
    for text in texts
]


def test_every_language_of_the_engines_has_a_pack() -> None:
    assert {"en", "es", "fr", "de", "it", "pt", UNDETERMINED} <= set(PACKS)
    files = {path.stem for path in Path(packs.__file__).parent.glob("*.toml")}
    assert files == set(PACKS)


@pytest.mark.parametrize("tag", PACKS)
def test_a_pack_has_examples_of_each_kind(tag: str) -> None:
    pack = PACKS[tag]
    wanted = [kind for kind in EXAMPLES if kind not in PROGRESS or pack.announced.before]
    assert [kind for kind in wanted if not pack.examples[kind]] == []


@pytest.mark.parametrize(("tag", "kind", "text"), EXAMPLE_TEXTS)
def test_a_pack_is_right_about_its_examples(tag: str, kind: str, text: str) -> None:
    if kind in OVERLAPS:
        assert classify(text, "", tag) is Overlap(kind)
    elif kind in PROGRESS:
        progress = progress_of(text, "", tag)
        assert progress is (None if kind == "unannounced" else Progress(kind))
    else:
        assert ending_of(text, tag) is Ending(kind)


def test_a_tag_finds_the_pack_of_its_language() -> None:
    assert pack_of("de-AT") is pack_of("DE") is PACKS["de"]
    assert pack_of("fi") is pack_of("") is PACKS[UNDETERMINED]


def test_the_prompt_names_the_language_of_the_pack() -> None:
    prompts, said = Prompts(Transcript()), [Message("user", "Hi")]
    assert "speaks Spanish." in prompts.messages("", said, language="es-MX")[0].content
    assert prompts.messages("", said, language="en") == (*said,)


def test_every_language_that_the_prompt_names_has_a_greeting() -> None:
    assert all(pack.greeting for pack in PACKS.values() if pack.name)


def test_a_small_pack_will_do() -> None:
    pack = read_pack("sv.toml", SPOKEN)
    assert (pack.tag, pack.name, pack.spoken.filler) == ("sv", None, None)
    assert pack.time_of_day.search("klockan 7")
    assert not pack.announced.mail.search("min e-post är anna")


@pytest.mark.parametrize(
    ("file", "text", "complaint"),
    [
        ("svenska.toml", SPOKEN, "svenska.toml: a pack is named after its language: 'es.toml'"),
        ("sv.toml", "", "sv.toml: spoken.apology is missing"),
        ("sv.toml", SPOKEN + "[turn_end", "sv.toml: "),
        ("sv.toml", f"name = 3\n{SPOKEN}", "sv.toml: name must be text on one line"),
        ("sv.toml", f"name = '{'x' * 201}'\n{SPOKEN}", "sv.toml: name must have at most 200 "),
        ("sv.toml", f"turn_end = 3\n{SPOKEN}", "sv.toml: turn_end must be a table"),
        ("sv.toml", SPOKEN + "filer = 'Ja.'", "sv.toml: spoken.filer is unknown"),
        ("sv.toml", SPOKEN + "[turn_ends]", "sv.toml: turn_ends is unknown"),
        ("sv.toml", SPOKEN + "[turn_end]\nnever_last = ['och']", "turn_end.never_last must be a "),
        ("sv.toml", SPOKEN + "[turn_end]\nnever_last = 'Och'", "turn_end.never_last has 'Och', "),
        ("sv.toml", SPOKEN + "[turn_end]\nnever_last = 'i och i'", "never_last has 'i' twice"),
        ("sv.toml", SPOKEN + "[turn_end]\nmay_end = 'tror jag'", "may_end must be an array of "),
        ("sv.toml", SPOKEN + "[turn_end]\nmay_end = ['jag']", "may_end must hold phrases of 2 "),
        (
            "sv.toml",
            SPOKEN + "[time_of_day]\nafter = ['']",
            "time_of_day.after has '', which is no ",
        ),
        ("sv.toml", SPOKEN + "[time_of_day]\nafter = ['Uhr']", "after has 'Uhr', which is not in "),
        ("sv.toml", SPOKEN + f"[time_of_day]\nafter = ['{'x' * 201}']", "at most 200 characters"),
        (
            "sv.toml",
            SPOKEN + "[turn_end]\nnever_last = 'och i'\nrarely_last = 'i'",
            "sv.toml: turn_end.rarely_last has 'i', as turn_end.never_last has",
        ),
        (
            "sv.toml",
            SPOKEN + "[overlap]\nbackchannels = 'ja'\ninterrupting = 'nej ja'",
            "sv.toml: overlap.interrupting has 'ja', as overlap.backchannels has",
        ),
        ("sv.toml", SPOKEN + "[announced]\naddress = 'adress'", "announced.before is missing"),
        ("sv.toml", SPOKEN + ANNOUNCED + "numbers = 4", "numbers must be an array of tables"),
        (
            "sv.toml",
            SPOKEN + ANNOUNCED + "numbers = [{ least = 4 }]",
            "sv.toml: announced.numbers.1.names is missing",
        ),
        (
            "sv.toml",
            SPOKEN + ANNOUNCED + "numbers = [{ names = 'kod', least = 65 }]",
            "announced.numbers.1.least must be a number from 1 to 64",
        ),
        (
            "sv.toml",
            SPOKEN + ANNOUNCED + "numbers = [{ names = 'kod', least = 4, usual = [3] }]",
            "announced.numbers.1.usual must be an array of numbers from 4 to 64",
        ),
        (
            "sv.toml",
            SPOKEN + ANNOUNCED + "numbers = [{ names = 'kod', least = 4, most = 3 }]",
            "announced.numbers.1.most is unknown",
        ),
        (
            "sv.toml",
            SPOKEN + ANNOUNCED + "mail = { at = 'snabel', dot = 'punkt' }",
            "announced.mail.names is missing",
        ),
        (
            "sv.toml",
            SPOKEN + ANNOUNCED + "birth = { names = ['född'], days = 'första' }",
            "announced.birth.years is missing",
        ),
        ("sv.toml", SPOKEN + "[digits]\ntwo_digit_phrases = ['tio']", "of 2 or 3 or 4 words"),
    ],
)
def test_a_faulty_pack_is_refused_with_its_file_and_key(
    file: str, text: str, complaint: str
) -> None:
    with pytest.raises(PackError) as refused:
        read_pack(file, text)
    assert complaint in str(refused.value)
    assert str(refused.value).startswith(file)
