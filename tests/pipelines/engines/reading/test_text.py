"""Written text in the form in which people say it."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.engines.reading.text import LANGUAGES, Pause, in_words, parts, read, unspoken
from pipelines.speech.script import says_something, steps

ENGLISH = [
    ("Write to jane.doe+test@mail-server.co.uk today.",
     "Write to jane dot doe plus test at mail dash server dot co dot UK today."),
    ("See https://www.example.com/docs/v2?id=7.",
     "See WWW dot example dot com slash docs slash v 2 question mark id equals 7."),
    ("example.com or foo.org/a_b", "example dot com or foo dot org slash a underscore b"),
    ("Use v2.14.1 or Python 3.11 at 10.0.0.1.",
     "Use version 2 point 14 point 1 or Python 3 point 11 at 10 point 0 point 0 point 1."),
    ("+44 20 7946 0958", "plus 4 4, 2 0, 7 9 4 6, 0 9 5 8"),
    ("(555) 123-4567", "5 5 5, 1 2 3, 4 5 6 7"),
    ("$5.99, £3m, -12 EUR", "5 dollars and 99 cents, 3 million pounds, minus 12 euros"),
    ("€1.150,00 and $1,234,567", "1,150 euros and 1,234,567 dollars"),
    ("-5 °C, 3.5% and 1 km", "minus 5 degrees Celsius, 3 point 5 percent and 1 kilometre"),
    ("2025-12-24 at 7:30 pm", "December twenty-fourth, 2025 at 7 30 P M"),
    ("12/24/2025, 8:05, 9:00", "December twenty-fourth, 2025, 8 oh 5, 9 o'clock"),
    ("1/2, 3/4 and 1½; 10–15", "one half, three quarters and 1 and one half; 10 to 15"),
    ("#OpenDay with @jane_doe 🎉, #5", "hashtag Open Day with at jane doe, number 5"),
    ("Henry VIII, Chapter IV, Rocky II", "Henry the eighth, Chapter 4, Rocky 2"),
    ("Malcolm X, http://€", "Malcolm X, http colon slash slash"),
    ("PDFs of the USA, NASA", "PDFs of the USA, NASA"),
    ("x = 5 + 3 & more", "x equals 5 plus 3 and more"),
    ("card 4111 1111 1111 1111", "card 4 1 1 1, 1 1 1 1, 1 1 1 1, 1 1 1 1"),
    ("1234567890", "1 2 3, 4 5 6, 7 8 9 0"),
    ("THE WHOLE OF IT, BMW", "THE WHOLE OF IT, BMW"),
    ("state-of-the-art, I'm in", "state-of-the-art, I'm in"),
]  # fmt: skip
OTHERS = [
    ("de", "1.150,00 € am 24.12.2025 um 20:30 Uhr",
     "1150 Euro am vierundzwanzigsten Dezember 2025 um 20 Uhr 30"),
    ("de", "z. B. am 3. März: 3,5 % von 1.234.567",
     "zum Beispiel am dritten März: 3 Komma 5 Prozent von 1 Million 234567"),
    ("de", "Ludwig XIV. im 20. Jahrhundert", "Ludwig der vierzehnte im zwanzigsten Jahrhundert"),
    ("de-AT", "info@firma.at", "info ät firma Punkt A T"),
    ("es", "1.150,99 € el 01/12/2025 a las 20:30",
     "1150 euros con 99 el primero de diciembre de 2025 a las 20 y 30"),
    ("es", "3m€, siglo XXI", "3 millones de euros, siglo 21"),
    ("es", "2.000.000 €", "2 millones de euros"),
    ("fr", "le PDF de 12345678", "le P D F de 12 millions 345678"),
    ("fr", "Le 1er mai à 20h30, 1 000 €", "Le premier mai à 20 heures 30, 1000 euros"),
    ("fr", "M. Dupont, 3,14", "Monsieur Dupont, 3 virgule 14"),
    ("it", "24/12/2025 alle 8:00, 1.150,00 €", "24 dicembre 2025 alle 8, 1150 euro"),
    ("pt-BR", "R$ 1.150,50 às 20:30", "1150 reais e 50 às 20 e 30"),
    ("en-GB", "03/04/2025", "April third, 2025"),
    ("pl", "12,5 km", "12,5 km"),
]  # fmt: skip


@pytest.mark.parametrize(("written", "said"), ENGLISH)
def test_english(written: str, said: str) -> None:
    assert in_words(written, "en") == said


@pytest.mark.parametrize(("language", "written", "said"), OTHERS)
def test_other_languages(language: str, written: str, said: str) -> None:
    assert in_words(written, language) == said


def test_ssml() -> None:
    text = (
        "<speak>Hello <break time='250ms'/> world &amp; friends<break strength='strong'/>"
        '<s>One</s><s>Two</s> <sub alias="World Wide Web">WWW</sub>'
        ' <say-as interpret-as="characters">AB1</say-as> <prosody rate="slow">end</prosody>'
        "<break time='99s'/></speak>"
    )
    assert read(text, "en") == [
        "Hello",
        Pause(250),
        "world and friends",
        Pause(700),
        "One Two World Wide Web A, B, 1 end",
        Pause(10_000),
    ]
    assert list(parts("2 < 3 <sigh> <unknown a>")) == ["2 < 3 <sigh> <unknown a>"]
    assert list(steps('One. <break time="1s"/> Two.')) == ["One.", Pause(1000), "Two."]
    assert not says_something('<speak><break time="1s"/></speak>')


def test_long_runs_of_digits_are_read_in_groups() -> None:
    said = in_words("9" * 310, "en")
    assert said.count("9") == 310
    assert not any(len(word.strip(",.")) > 1 for word in said.split())


ODD = (
    st.text(st.sampled_from("aB1 9.,:/-–@#%€$£<>&;'\"()+_=°½XVI\n\u0301\u200d漢א👩hwtp"))
    | st.text()
)


@given(ODD, st.sampled_from([*LANGUAGES, "en-GB", "pl"]))
def test_any_text_is_read_and_none_vanishes(text: str, language: str) -> None:
    said = in_words(text, language)
    if any(c.isascii() and c.isalnum() for c in text):
        assert any(map(str.isalnum, said))
    again = in_words(said, language)
    assert any(map(str.isalnum, again)) == any(map(str.isalnum, said))
    for step in read(text, language):
        assert isinstance(step, Pause) or any(map(str.isalnum, step))


@pytest.mark.parametrize(
    "piece",
    ["9", "a", ".", " ", "(", "\"'", "\u0301", "👩\u200d", "<", "漢", "$1,", "1-", "A.", "\u202eא",
     "http://a.", "MCMX", "a@", "+1 ", "<break ", "01 ", "1,111", "AB12 ", "a-", "1.", "<s "],
)  # fmt: skip
def test_time_is_linear_whatever_it_holds(piece: str) -> None:
    in_words("warm", "en")
    taken = []
    for characters in (10_000, 40_000):
        text = piece * (characters // len(piece))
        begun = time.process_time()
        read(text, "en")
        taken.append(time.process_time() - begun)
    assert taken[1] < 1.5
    assert taken[1] < 12 * taken[0] + 0.2


def test_scripts_without_sounds() -> None:
    assert unspoken("The Japanese say こんにちは to Müller, café.", "en") == ["こんにちは"]
    assert unspoken("Привет, мир", "en-US") == ["Привет", "мир"]
    assert unspoken("Привет", "ru") == []
