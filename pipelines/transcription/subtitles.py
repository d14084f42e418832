"""Subtitles and transcripts as files: txt, srt, vtt, json.

txt has a line for each segment, json the segments with their words, times in seconds. srt and vtt
have cues as broadcasters set them:

- A cue has at most LINES lines of at most ``LINE_WIDTH`` columns, stands for LEAST_MS to MOST_MS,
  and aims at READING_SPEED columns a second if there is time for it; never above FASTEST if a pause
  before or after it can be used.
- Cues end with sentences, else with phrases, else between words, but not after a short word that
  belongs to the next. Pauses of a second are not bridged. The division minimises a cost over the
  whole recording instead of going cue by cue.
- A gap smaller than CLOSED_GAP_MS to the next cue is closed to GAP_MS, so that the change is seen;
  cues never overlap.
- Speech faster than anybody reads stays word for word: the time gives way.

Escaping: vtt has character references for ``&``, ``<`` and ``>``. srt has none: what players would
take for an arrow, a tag or a command (``-->``, ``<i>``, ``{\\an8}``) is written with look-alike
characters. No file has an empty line within a cue.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from .timed_text import (
    LINE_WIDTH,
    SENTENCE_PAUSE_MS,
    Break,
    Piece,
    TimedSegment,
    as_json,
    pieces,
)

LINES = 2
LEAST_MS = 833
MOST_MS = 7000
READING_SPEED = 17.0
"""Columns a second to aim at."""
FASTEST = 20.0
"""Columns a second above which a pause before the cue is used as well."""
CLOSED_GAP_MS = 500
GAP_MS = 80
LEAD_MS = 500
"""How long before its first word a cue may appear."""

_CUE = 1.0
_ENDS = {Break.WORD: 2.0, Break.PHRASE: 0.6, Break.SENTENCE: 0.0}
_SHORT_WORD, _SHORT_WORD_LETTERS = 1.0, 3
_MIXED = 0.8
"""Cost of a cue with the end of one sentence and the beginning of another."""
_BRIDGED_PAUSE = 5.0
_TOO_SHORT = 20.0
_TOO_FAST = 4.0
_ORPHAN, _ORPHAN_WIDTH = 1.0, 12


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle; times in ms."""

    start_ms: int
    end_ms: int
    lines: tuple[str, ...]


def cues(segments: Sequence[TimedSegment], *, duration_ms: int | None = None) -> list[Cue]:
    """The cues of a recording of ``duration_ms``, in order; None: the last one may outlast its
    segment. Takes some seconds for hours of speech: not for the event loop."""
    row = pieces(segments)
    made: list[Cue] = []
    ends = _divided(row)
    for start, end in zip([0, *ends], ends, strict=False):
        after = row[end].start_ms if end < len(row) else None
        free = made[-1].end_ms if made else 0
        first, last = _shown(row[start:end], free, after, duration_ms)
        if made and GAP_MS < first - free < CLOSED_GAP_MS:
            made[-1] = _until(made[-1], first - GAP_MS)  # this one appears before its first word
        made.append(Cue(first, last, _lines(row[start:end])))
    return made


def _until(cue: Cue, end_ms: int) -> Cue:
    return replace(cue, end_ms=min(end_ms, cue.start_ms + MOST_MS))


# ------------------------------------------------------------------------------ where cues end


def _divided(row: Sequence[Piece]) -> list[int]:
    """Where cues end (indices after their last pieces) in the cheapest division of the row."""
    count = len(row)
    reach = _reach(row)
    cost = [0.0, *[math.inf] * count]
    came_from = [0] * (count + 1)
    for start in range(count):
        base = cost[start]
        orphan_before = start > 0 and row[start - 1].ends is not Break.SENTENCE
        inside, mixed = 0.0, False
        width = -(not row[start].glued)
        for end in range(start + 1, reach[reach[start]] + 1):
            last = row[end - 1]
            if end > start + 1:
                if last.end_ms - row[start].start_ms > MOST_MS:
                    break
                if last.start_ms - row[end - 2].end_ms >= SENTENCE_PAUSE_MS:
                    inside += _BRIDGED_PAUSE
                mixed = mixed or row[end - 2].ends is Break.SENTENCE
            width += _added(last)
            price = base + inside + _price(row, start, end, width)
            if mixed and last.ends is not Break.SENTENCE:
                price += _MIXED
            if orphan_before and width < _ORPHAN_WIDTH:
                price += _ORPHAN
            if price < cost[end]:
                cost[end], came_from[end] = price, start
    ends = []
    place = count
    while place > 0:
        ends.append(place)
        place = came_from[place]
    return ends[::-1]


def _price(row: Sequence[Piece], start: int, end: int, width: int) -> float:
    last = row[end - 1]
    price = _CUE + _ENDS[last.ends]
    if last.ends is Break.WORD and last.width <= _SHORT_WORD_LETTERS:
        price += _SHORT_WORD
    if end < len(row):
        time = max(1, min(MOST_MS, row[end].start_ms - row[start].start_ms))
        if time < LEAST_MS:
            price += _TOO_SHORT
        price += _TOO_FAST * max(0.0, width * 1000 / time / FASTEST - 1)
    return price


def _reach(row: Sequence[Piece]) -> list[int]:
    """For each index, the index after the last piece of a line that begins there."""
    reach = [0] * (len(row) + 1)
    reach[-1] = len(row)
    end, width = 0, 0
    for start in range(len(row)):
        if end <= start:
            end, width = start + 1, row[start].width
        while end < len(row) and width + _added(row[end]) <= LINE_WIDTH:
            width += _added(row[end])
            end += 1
        reach[start] = end
        width -= row[start].width + (end > start + 1 and not row[start + 1].glued)
    return reach


def _added(piece: Piece) -> int:
    return piece.width + (not piece.glued)


# ------------------------------------------------------------------------------ lines


def _lines(row: Sequence[Piece]) -> tuple[str, ...]:
    """One line if it fits, else two: cut at a phrase's end near the middle, preferring a longer
    lower line."""
    widths = [_added(piece) for piece in row]
    whole = sum(widths) - (not row[0].glued)
    if whole <= LINE_WIDTH:
        return (_text(row),)
    best, cut = math.inf, 1
    upper = -(not row[0].glued)
    for place in range(1, len(row)):
        upper += widths[place - 1]
        lower = whole - upper - (not row[place].glued)
        if max(upper, lower) > LINE_WIDTH:
            continue
        last = row[place - 1]
        price = abs(lower - upper) + 10 * _ENDS[last.ends] + (upper > lower) * 4
        if last.ends is Break.WORD and last.width <= _SHORT_WORD_LETTERS:
            price += 8
        if price < best:
            best, cut = price, place
    return (_text(row[:cut]), _text(row[cut:]))


def _text(row: Sequence[Piece]) -> str:
    return "".join(piece.text if piece.glued else f" {piece.text}" for piece in row).strip()


# ------------------------------------------------------------------------------ times


def _shown(
    row: Sequence[Piece], free: int, after: int | None, duration: int | None
) -> tuple[int, int]:
    """When the cue appears and disappears: not before ``free``, not after the next one's first word
    (``after``) nor the recording's end."""
    width = sum(map(_added, row)) - (not row[0].glued)
    start = max(free, row[0].start_ms)
    limit = min((one for one in (after, duration) if one is not None), default=None)
    wished = min(MOST_MS, max(LEAST_MS, math.ceil(width * 1000 / READING_SPEED)))
    end = min(max(row[-1].end_ms, start + wished), start + MOST_MS)
    if after is not None and after - end < CLOSED_GAP_MS:
        end = after - GAP_MS if after - GAP_MS - start >= LEAST_MS else after
        end = min(end, start + MOST_MS)
    if limit is not None:
        end = min(end, limit)
    needed = min(MOST_MS, max(LEAST_MS, math.ceil(width * 1000 / FASTEST)))
    lead = min(needed - (end - start), LEAD_MS, start - free - (GAP_MS if free else 0))
    start -= max(0, lead)
    return start, max(end, start + 1)


SubtitleFormat = Literal["txt", "srt", "vtt", "json"]
FORMATS: tuple[SubtitleFormat, ...] = get_args(SubtitleFormat)

_SRT_COMMAND = re.compile(r"-->|<(?=[/A-Za-z])|\{(?=\\)")
_SRT_LOOKALIKES = {"-->": "→", "<": "‹", "{": "("}
_VTT_REFERENCES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def render(
    segments: Sequence[TimedSegment],
    format: SubtitleFormat,
    *,
    duration_ms: int | None = None,
    about: Mapping[str, Any] | None = None,
) -> str:
    """The whole file, ended by a newline unless it is empty. ``duration_ms``: the recording's
    length, which no cue exceeds; ``about``: further members of json. Takes some seconds for
    hours: not for the event loop."""
    match format:
        case "txt":
            return "".join(f"{' '.join(one.text.split())}\n" for one in segments if one.text)
        case "json":
            whole = {**(about or {}), "segments": as_json(segments)}
            return json.dumps(whole, ensure_ascii=False) + "\n"
        case "srt":
            return "\n".join(map(_srt, *_numbered(cues(segments, duration_ms=duration_ms))))
        case "vtt":
            made = cues(segments, duration_ms=duration_ms)
            return "\n".join(["WEBVTT\n", *map(_vtt, *_numbered(made))])


def _numbered(made: Sequence[Cue]) -> tuple[range, Sequence[Cue]]:
    return range(1, len(made) + 1), made


def _srt(number: int, cue: Cue) -> str:
    text = "\n".join(cue.lines)
    safe = _SRT_COMMAND.sub(lambda found: _SRT_LOOKALIKES[found[0]], text)
    return f"{number}\n{_clock(cue.start_ms, ',')} --> {_clock(cue.end_ms, ',')}\n{safe}\n"


def _vtt(number: int, cue: Cue) -> str:
    text = "\n".join(cue.lines).translate(_VTT_REFERENCES)
    return f"{number}\n{_clock(cue.start_ms, '.')} --> {_clock(cue.end_ms, '.')}\n{text}\n"


def _clock(ms: int, point: str) -> str:
    seconds, ms = divmod(ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{ms:03}"
