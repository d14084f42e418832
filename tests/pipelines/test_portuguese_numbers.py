"""Numbers of a Portuguese text, in words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.engines.portuguese_numbers import LARGEST, cardinal, in_words


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "zero"), (14, "quatorze"), (22, "vinte e dois"), (100, "cem"), (101, "cento e um"),
        (550, "quinhentos e cinquenta"), (1000, "mil"), (1001, "mil e um"), (1100, "mil e cem"),
        (1999, "mil novecentos e noventa e nove"), (2024, "dois mil e vinte e quatro"),
        (21_000, "vinte e um mil"), (1_000_000, "um milhão"),
        (2_000_300, "dois milhões e trezentos"), (10**9, "um bilhão"),
    ],
)  # fmt: skip
def test_cardinals(number: int, words: str) -> None:
    assert cardinal(number) == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("R$ 1.150,00", "mil cento e cinquenta reais"),
        ("US$ 3,5", "três dólares e cinquenta centavos"),
        ("€1,01", "um euro e um centavo"),
        ("5.000.000 €", "cinco milhões de euros"),
        ("às 19h30", "às dezenove horas e trinta"),
        ("às 7:00", "às sete horas"),
        ("1h", "uma hora"),
        ("2 pessoas e 22 vezes", "duas pessoas e vinte e duas vezes"),
        ("25,5%", "vinte e cinco vírgula cinco por cento"),
        ("3,05", "três vírgula zero cinco"),
        ("o 1º e a 2ª", "o primeiro e a segunda"),
        ("555-019-42", "cinco cinco cinco zero um nove quatro dois"),
        ("0800", "zero oito zero zero"),
        ("1.234.567", "um milhão duzentos e trinta e quatro mil quinhentos e sessenta e sete"),
        ("A & B", "A e B"),
    ],
)
def test_texts(text: str, words: str) -> None:
    assert " ".join(in_words(text).split()) == words


def test_what_is_too_large_is_read_digit_by_digit() -> None:
    assert cardinal(LARGEST).split() == ["um", *["zero"] * 12]


@given(st.text(alphabet="0123456789.,:h%R$€º -/", max_size=30))
def test_no_digit_is_left(text: str) -> None:
    assert not any(character.isdigit() for character in in_words(text))
