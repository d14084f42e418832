"""Subtitles and transcripts as files: txt, srt, vtt, json.

Segments come in as TimedSegment (ms), whatever made them; ``of_segment`` turns an engine's into
one. srt and vtt are set as pipelines.transcription.cues says; txt has a line for each segment,
json the segments with their words, times in seconds.

Escaping: vtt has character references for ``&``, ``<`` and ``>``. srt has none: what players
would take for an arrow, a tag or a command (``-->``, ``<i>``, ``{\\an8}``) is written with
characters that look alike. No file holds an empty line within a cue.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from .cues import Cue, cues
from .timed_text import TimedSegment, TimedWord, as_json, of_segment

__all__ = [
    "FORMATS", "Cue", "SubtitleFormat", "TimedSegment", "TimedWord", "cues", "of_segment", "render",
]  # fmt: skip

SubtitleFormat = Literal["txt", "srt", "vtt", "json"]
FORMATS: tuple[SubtitleFormat, ...] = get_args(SubtitleFormat)

_SRT_COMMAND = re.compile(r"-->|<(?=[/A-Za-z])|\{(?=\\)")
_SRT_LOOKALIKES = {"-->": "→", "<": "‹", "{": "("}
_VTT_REFERENCES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def render(
    segments: Sequence[TimedSegment], format: SubtitleFormat, *, duration_ms: int | None = None,
    about: Mapping[str, Any] | None = None,
) -> str:  # fmt: skip
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
