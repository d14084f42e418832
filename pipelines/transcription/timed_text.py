"""What was said and when, in milliseconds from the start of the recording: the one form in which
transcripts are kept, exported, dubbed and made into subtitles.

Engines report sample positions (``pipelines.engines.jobs.Segment``): ``of_segment`` converts them.
JSON, as the API shows it, has seconds with three decimals; ``from_json`` reads what ``as_json``
wrote, with rounded confidences.

Subtitles and dubbed lines are composed of pieces: words with their times and with what may follow
them. In scripts without blanks between words (Chinese, Japanese) a piece is a character with the
punctuation that may not leave it. A word wider than a line is cut. Times come from the segment's
words if it has any, by their number or by their letters; otherwise the segment's time is shared out
by letters. Times never decrease from piece to piece.
"""

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from itertools import accumulate
from typing import Any

from media.formats import HEARING_RATE, milliseconds_of
from pipelines.engines.jobs import Segment

_CONFIDENCE_DIGITS = 3


@dataclass(frozen=True, slots=True)
class TimedWord:
    """A word with its times in ms; ``confidence`` 0..1."""

    text: str
    start_ms: int
    end_ms: int
    confidence: float = 1.0


@dataclass(frozen=True, slots=True)
class TimedSegment:
    """A stretch of speech with its times in ms. ``words`` is empty if their times are unknown."""

    start_ms: int
    end_ms: int
    text: str
    words: tuple[TimedWord, ...] = ()


def of_segment(segment: Segment) -> TimedSegment:
    """An engine's segment in ms, without blanks around its text and words."""
    words = tuple(
        TimedWord(word.text.strip(), _ms(word.start), _ms(word.end), word.confidence)
        for word in segment.words
        if word.text.strip()
    )
    return TimedSegment(_ms(segment.start), _ms(segment.end), segment.text.strip(), words)


def as_json(segments: Sequence[TimedSegment]) -> list[dict[str, Any]]:
    """``[{start, end, text, words: [{word, start, end, confidence}]}]``, times in seconds."""
    return [
        {
            "start": segment.start_ms / 1000,
            "end": segment.end_ms / 1000,
            "text": segment.text,
            "words": [
                {
                    "word": word.text,
                    "start": word.start_ms / 1000,
                    "end": word.end_ms / 1000,
                    "confidence": round(word.confidence, _CONFIDENCE_DIGITS),
                }
                for word in segment.words
            ],
        }
        for segment in segments
    ]


def from_json(segments: Sequence[Mapping[str, Any]]) -> list[TimedSegment]:
    """The inverse of ``as_json``."""
    return [
        TimedSegment(
            round(segment["start"] * 1000),
            round(segment["end"] * 1000),
            segment["text"],
            tuple(
                TimedWord(
                    word["word"],
                    round(word["start"] * 1000),
                    round(word["end"] * 1000),
                    word["confidence"],
                )
                for word in segment["words"]
            ),
        )
        for segment in segments
    ]


def _ms(position: int) -> int:
    return milliseconds_of(position, HEARING_RATE)


LINE_WIDTH = 42
"""Columns of a line; a wide character (East Asian) takes two."""

PHRASE_PAUSE_MS = 300
SENTENCE_PAUSE_MS = 1000

_SENTENCE = ".!?…。！？"
_PHRASE = ",;:—–、，；："
_CLOSING = "\"'”’»)]}›"
_ABBREVIATION = re.compile(r"(?:[^\W\d_]\.)+|(?:Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|vs|bzw|Nr|Sra|Mme)\.")
_STAYS = frozenset("ぁぃぅぇぉっゃゅょァィゥェォッャュョー々")
"""Letters that must not begin a line."""


class Break(IntEnum):
    """What ends with a piece."""

    WORD = 0
    PHRASE = 1
    SENTENCE = 2


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of text that is never cut. ``glued``: there is no blank before it."""

    text: str
    width: int
    glued: bool
    start_ms: int
    end_ms: int
    ends: Break


def pieces(segments: Sequence[TimedSegment]) -> list[Piece]:
    """All pieces of ``segments``, ordered by their start."""
    made: list[Piece] = []
    now = 0
    for segment in sorted(segments, key=lambda one: one.start_ms):
        texts = [
            (text, place > 0)
            for token in segment.text.split()
            for place, text in enumerate(_parts(token))
        ]
        times = _times(segment, [text for text, _ in texts])
        for (text, glued), (start, end) in zip(texts, times, strict=True):
            start = max(now, start)
            now = max(start, end)
            piece = Piece(
                text=text,
                width=width_of(text),
                glued=glued,
                start_ms=start,
                end_ms=now,
                ends=_ending(text),
            )
            made.append(piece)
        if texts:
            made[-1] = _raised(made[-1], Break.PHRASE)
    for place in range(len(made) - 1):
        pause = made[place + 1].start_ms - made[place].end_ms
        if pause >= SENTENCE_PAUSE_MS:
            made[place] = _raised(made[place], Break.SENTENCE)
        elif pause >= PHRASE_PAUSE_MS:
            made[place] = _raised(made[place], Break.PHRASE)
    return made


def width_of(text: str) -> int:
    """The width of ``text`` in columns."""
    if text.isascii():
        return len(text)
    return sum(
        2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
        if not unicodedata.combining(char)
    )


def _raised(piece: Piece, ends: Break) -> Piece:
    return replace(piece, ends=max(ends, piece.ends))


def _ending(text: str) -> Break:
    bare = text.rstrip(_CLOSING)
    if not bare:
        return Break.WORD
    if bare[-1] in _SENTENCE:
        return Break.WORD if _ABBREVIATION.fullmatch(bare) else Break.SENTENCE
    return Break.PHRASE if bare[-1] in _PHRASE else Break.WORD


# ------------------------------------------------------------------------------ cutting


def _parts(token: str) -> Iterator[str]:
    """The token, or the parts between which a line may be broken."""
    unspaced = not token.isascii() and any(map(_unspaced, token))
    part = ""
    for char in token:
        joins = not unspaced or _joined(part, char)
        if part and (not joins or width_of(part + char) > LINE_WIDTH):
            yield part
            part = ""
        part += char
    yield part


def _unspaced(char: str) -> bool:
    """Whether the character belongs to a script without blanks between words."""
    return "\u2e80" <= char <= "\u9fff" or "\uff00" <= char <= "\uff9f" or char >= "\U00020000"


def _joined(part: str, char: str) -> bool:
    """Whether ``char`` must not begin a line after ``part``."""
    if not part or char in _STAYS or unicodedata.combining(char):
        return True
    if unicodedata.category(char) in ("Pe", "Pf", "Po"):
        return True
    if unicodedata.category(part[-1]) in ("Ps", "Pi"):
        return True
    return not _unspaced(char) and not _unspaced(part[-1])


# ------------------------------------------------------------------------------ times


def _times(segment: TimedSegment, texts: Sequence[str]) -> list[tuple[int, int]]:
    words = [word for word in segment.words if _letters(word.text)]
    if len(words) == len(texts):
        times = [(word.start_ms, word.end_ms) for word in words]
    else:
        whole = TimedWord("".join(texts), segment.start_ms, segment.end_ms)
        times = _by_letters(words or [whole], texts)
    low, high = segment.start_ms, segment.end_ms
    return [(min(max(start, low), high), min(max(end, low), high)) for start, end in times]


def _by_letters(words: Sequence[TimedWord], texts: Sequence[str]) -> list[tuple[int, int]]:
    """The times of ``texts``, which are said in the time of ``words``, in proportion to letters."""
    bounds = [0, *accumulate(_letters(word.text) for word in words)]
    ends = list(accumulate(map(_letters, texts)))
    if not ends or not ends[-1] or not bounds[-1]:
        return [(words[0].start_ms, words[-1].end_ms)] * len(texts)
    scale = bounds[-1] / ends[-1]
    last = len(words) - 1

    def moment(letter: float, place: int) -> int:
        word = words[place]
        share = (letter - bounds[place]) / (bounds[place + 1] - bounds[place])
        return round(word.start_ms + share * (word.end_ms - word.start_ms))

    times = []
    for first, behind in zip([0, *ends], ends, strict=False):
        start, end = first * scale, behind * scale
        begun = moment(start, min(last, bisect_right(bounds, start) - 1))
        ended = moment(end, min(last, max(0, bisect_left(bounds, end) - 1)))
        times.append((min(begun, ended), ended))
    return times


def _letters(text: str) -> int:
    """Number of letters and digits: punctuation takes no time, and not every engine writes it."""
    return sum(map(str.isalnum, text))
