"""Phonemes of Brazilian Portuguese, as in espeak-ng 1.51's ``pt-br``, in Kokoro's alphabet."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.engines.kokoro.portuguese import phonemes

VOCABULARY = set(" abdefijklmnoprstuvwxyzæɐɔɛɡɪɲɾʃʊʒʤʧŋˈːAIOW\u0303")
"""Of what Kokoro knows, what Portuguese is made of."""

REFERENCE = {
    "mãe": "mˈɐ̃y", "pães": "pˈɐ̃ys", "nações": "nasˈõjs", "irmã": "iɾmˈɐ̃", "mal": "mˈW",
    "sol": "sˈɔl", "mel": "mˈɛʊ", "alto": "ˈWtʊ", "filme": "fˈiʊmy", "último": "ˈulʧimʊ",
    "caro": "kˈaɾʊ", "carro": "kˈaxʊ", "honra": "ˈoŋxæ", "porta": "pˈɔɾtæ", "mar": "mˈar",
    "dormir": "doɾmˈir", "ano": "ˈɐ̃nʊ", "tempo": "tˈAmpʊ", "mundo": "mˈũŋdʊ",
    "cantam": "kˈɐ̃ŋtɐ̃ʊ̃", "homem": "ˈomAŋ", "fim": "fˈiŋ", "comum": "komˈũŋ",
    "guitarra": "ɡitˈaxæ", "língua": "lˈiŋɡwæ", "quando": "kwˈɐ̃ŋdʊ", "aquilo": "akˈilʊ",
    "tranquilo": "trɐ̃ŋkwˈilʊ", "gelado": "ʒelˈadʊ", "piscina": "pisˈinæ", "exceto": "esˈɛtʊ",
    "exemplo": "ezˈAmplʊ", "texto": "tˈestʊ", "caixa": "kˈIʃæ", "luz": "lˈus", "zebra": "zˈebræ",
    "mesmo": "mˈezmʊ", "casas": "kˈazæs", "passar": "pasˈar", "tio": "ʧˈiʊ", "dia": "ʤˈiæ",
    "noites": "nˈoɪʧys", "teatro": "teˈatrʊ", "história": "istˈɔɾjæ", "água": "ˈaɡwæ",
    "país": "paˈis", "rainha": "xaˈiɲæ", "juiz": "ʒuˈis", "ruim": "xuˈiŋ", "caiu": "kaˈiʊ",
    "seu": "sˈeʊ", "pouco": "pˈowkʊ", "muito": "mwˈiŋtʊ", "avô": "avˈo", "avó": "avˈɔ",
    "festa": "fˈɛstæ", "este": "ˈesʧy", "biologia": "bioloʒˈiæ", "trabalhar": "trabaljˈar",
    "parabéns": "paɾabˈAŋs", "fácil": "fˈasiʊ", "exame": "ezˈɐ̃my", "táxi": "tˈaksi",
}  # fmt: skip


@pytest.mark.parametrize(("word", "sounds"), REFERENCE.items())
def test_words(word: str, sounds: str) -> None:
    assert phonemes(word) == unicodedata.normalize("NFD", sounds)
    assert phonemes(word.capitalize()) == unicodedata.normalize("NFD", sounds)


@pytest.mark.parametrize(
    ("text", "sounds"),
    [
        ("o que você quer", "ʊ ky vosˈe kˈɛr"),
        ("São 10 e 30", "sˈɐ̃ʊ̃ dˈɛs i trˈiŋtæ"),
        ("a SP-B", "a ˈɛsy pˈe bˈe"),
        ("Łódź", "lˈɔds"),
        ("copo d'água", "kˈɔpʊ dˈaɡwæ"),
        ("", ""),
        ("こんにちは", ""),
    ],
)
def test_texts(text: str, sounds: str) -> None:
    assert phonemes(text) == unicodedata.normalize("NFD", sounds)


@given(st.text(alphabet=st.characters(max_codepoint=0x24F), max_size=40))
def test_every_text_is_read_in_what_the_model_knows(text: str) -> None:
    assert set(phonemes(text)) <= VOCABULARY


@given(st.text(alphabet="abcdefghijlmnopqrstuvxzáâãàçéêíóôõúü", min_size=2, max_size=12))
def test_a_word_has_one_stress_at_most(word: str) -> None:
    assert phonemes(word).count("ˈ") <= 1
