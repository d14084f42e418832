"""The lines of a dubbing, and whether the translation of one can be right. Pure.

A line is translated and spoken as a unit: a sentence with its time. It ends with a sentence or a
pause; one that goes on for too long ends with a phrase, at worst between words.

Chat models answer a question instead of translating it, add what was not said, or stop midway;
translators leave sentences untranslated. ``fault`` finds what shows without understanding the text;
each check is one that a good translation passes.
"""

import re
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

from pipelines.speech.language import OTHER_SCRIPTS, likelier
from pipelines.transcription.timed_text import Break, Piece, TimedSegment, pieces

LONG_MS, LONG_CHARACTERS = 8_000, 200
"""From this length a line may end with a phrase."""
MOST_MS, MOST_CHARACTERS = 16_000, 400


def lines_of(segments: Sequence[TimedSegment]) -> Iterator[TimedSegment]:
    """The lines in order, not empty, not overlapping; without the times of their words."""
    row: list[Piece] = []
    for piece in pieces(segments):
        row.append(piece)
        if _ends(row):
            yield _line(row)
            row = []
    if row:
        yield _line(row)


def _ends(row: Sequence[Piece]) -> bool:
    length = row[-1].end_ms - row[0].start_ms
    characters = sum(len(piece.text) + 1 for piece in row)
    if length >= MOST_MS or characters >= MOST_CHARACTERS:
        return True
    if length >= LONG_MS or characters >= LONG_CHARACTERS:
        return row[-1].ends is not Break.WORD
    return row[-1].ends is Break.SENTENCE


def _line(row: Sequence[Piece]) -> TimedSegment:
    text = "".join(piece.text if piece.glued else f" {piece.text}" for piece in row).strip()
    return TimedSegment(row[0].start_ms, row[-1].end_ms, text)


SURELY_LETTERS = 20
"""A shorter text does not reveal its language."""
TRANSLATED = 0.2
"""Least share of the letters that is in words not found in the source."""
SHORT_LETTERS = 15
"""Translations of shorter texts may have up to this many letters more, and as few as one."""
SHORTEST, LONGEST = 0.4, 2.2
"""Letters of a translation per letter of its source."""
DENSE = frozenset(("ja", "ko"))
DENSE_FACTOR = 3
"""How many times fewer letters languages need that write syllables."""
SMALL = 12
"""Numbers up to here are often written as words."""
ALIKE = 0.4
"""How alike a name and its translation must be (York, Iorque): share of letters in common order."""

_QUESTION = ("?", "？", "؟", ";")
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_THOUSANDS = re.compile(r"[.,](?=\d{3}(?!\d))")
_NAME = re.compile(r"(?<![\w'’-])[A-ZÀ-Þ][\w'’-]+(?: [A-ZÀ-Þ][\w'’-]+)+")
_BEFORE_BEGINNING = frozenset('.!?…:"“«(')
_WORD = re.compile(r"[^\W\d_]+")

_NUMBER_WORDS = {
    "en": "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
    " fifteen sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty"
    " ninety hundred thousand million billion first second third fourth fifth sixth seventh eighth"
    " ninth tenth half quarter dozen double twice once noon midnight oh",
    "pt": "zero um uma dois duas três quatro cinco seis sete oito nove dez onze doze treze catorze"
    " quatorze quinze dezesseis dezessete dezoito dezenove vinte trinta quarenta cinquenta sessenta"
    " setenta oitenta noventa cem cento duzentos trezentos quinhentos mil milhão milhões bilhão"
    " primeiro primeira segundo segunda terceiro terceira quarto quarta quinto quinta sexto sexta"
    " metade meia meio dúzia dobro meia-noite",
    "es": "cero uno un una dos tres cuatro cinco seis siete ocho nueve diez once doce trece catorce"
    " quince dieciséis diecisiete dieciocho diecinueve veinte treinta cuarenta cincuenta sesenta"
    " setenta ochenta noventa cien ciento quinientos mil millón millones primero primera segundo"
    " segunda tercero tercera cuarto cuarta quinto mitad media medio docena doble",
    "fr": "zéro un une deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze"
    " quinze seize vingt trente quarante cinquante soixante cent cents mille million premier"
    " première deuxième troisième second seconde moitié demi demie quart douzaine double midi",
    "de": "null ein eine einen einem einer eins zwei drei vier fünf sechs sieben acht neun zehn elf"
    " zwölf dreizehn zwanzig dreißig vierzig fünfzig hundert tausend million erste ersten zweite"
    " zweiten dritte dritten halb halbe viertel dutzend doppelt",
    "it": "zero uno un una due tre quattro cinque sei sette otto nove dieci undici dodici tredici"
    " venti trenta quaranta cinquanta cento mille mila milione primo prima secondo seconda terzo"
    " metà mezzo mezza mezzogiorno dozzina doppio",
}
_WORDS_OF = {tag: frozenset(words.split()) for tag, words in _NUMBER_WORDS.items()}


def fault(text: str, translation: str, source: str, target: str) -> str | None:
    """What is wrong with ``translation``, in words for a user; None if nothing is.

    ``source`` and ``target`` are languages without a region."""
    said, made = _letters(text), _letters(translation)
    if not made and (said or any(character.isdigit() for character in text)):
        return "the translation is empty"
    if not _fits(said, made, source, target):
        return f"the translation has {made} letters for {said}"
    if text.rstrip().endswith(_QUESTION[:3]) and not any(mark in translation for mark in _QUESTION):
        return "the translation of a question is not a question"
    if _in_wrong_language(text, translation, source, target):
        return f"the translation is not in {target!r}"
    return _wrong_number(text, translation, source, target) or _lost_name(
        text, translation, source, target
    )


def _letters(text: str) -> int:
    return sum(character.isalpha() for character in text)


def _fits(said: int, made: int, source: str, target: str) -> bool:
    least, most = SHORTEST * said, LONGEST * said
    if target in DENSE:
        least /= DENSE_FACTOR
    if source in DENSE:
        most *= DENSE_FACTOR
    if said < SHORT_LETTERS:
        least, most = min(least, 1), said + SHORT_LETTERS + most
    return least <= made <= most


def _in_wrong_language(text: str, translation: str, source: str, target: str) -> bool:
    """Words in both, such as names, do not reveal the language and are left out."""
    there = {word.lower() for word in _WORD.findall(text)}
    new = " ".join(word for word in _WORD.findall(translation) if word.lower() not in there)
    if _letters(new) < SURELY_LETTERS:
        made = _letters(translation)
        return made >= SURELY_LETTERS and _letters(new) < TRANSLATED * made
    return likelier(new, target, source) != target


def _wrong_number(text: str, translation: str, source: str, target: str) -> str | None:
    said, made = set(_numbers(text)), set(_numbers(translation))
    for number in sorted(said - made):
        if number not in _clock(made) and not _in_words(number, translation, target):
            return f"the number {number} is lost"
    for number in sorted(made - said):
        if number not in _clock(said) and not _in_words(number, text, source):
            return f"the number {number} was not said"
    return None


def _numbers(text: str) -> Iterator[int]:
    """The whole numbers in ``text``; a time or a fraction counts as two, without parts that are
    only zeros."""
    for found in _NUMBER.findall(text):
        for part in re.split(r"[.,:]", _THOUSANDS.sub("", found)):
            if int(part) or len(part) == len(found):
                yield int(part)


def _clock(hours: set[int]) -> set[int]:
    """The hours among ``hours`` on the other clock (12 or 24 hours)."""
    return {(hour + 12) % 24 for hour in hours if hour <= 24}


def _in_words(number: int, text: str, language: str) -> bool:
    """Whether ``text`` may have ``number`` in words."""
    words = _WORDS_OF.get(language)
    if words is None:
        return number <= SMALL
    return any(word in words for word in _WORD.findall(text.lower()))


def _lost_name(text: str, translation: str, source: str, target: str) -> str | None:
    """A name of several words within a sentence, none of which is found in the translation."""
    if source == "de" or source in OTHER_SCRIPTS or target in OTHER_SCRIPTS:
        return None  # German capitalises every noun; other scripts write names as they sound
    words = [word.lower() for word in _WORD.findall(translation)]
    for found in _NAME.finditer(text):
        if _begins_sentence(text, found.start()):
            continue  # with a capital anyway
        name = found[0]
        parts = [part.lower() for part in _WORD.findall(name)]
        if not any(_alike(part, word) for part in parts for word in words):
            return f"the name {name!r} is lost"
    return None


def _begins_sentence(text: str, place: int) -> bool:
    while place and text[place - 1].isspace():
        place -= 1
    return place == 0 or text[place - 1] in _BEFORE_BEGINNING


def _alike(one: str, other: str) -> bool:
    return min(len(one), len(other)) > 2 and SequenceMatcher(None, one, other).ratio() >= ALIKE
