"""The lines of a dubbing: a transcript's sentences, each with its time.

A line is what is translated and spoken as one. It ends with a sentence or a pause; one that goes
on for too long ends with a phrase, at worst between words.
"""

from collections.abc import Iterator, Sequence

from pipelines.transcription.subtitle_pieces import Break, Piece, pieces
from pipelines.transcription.timed_text import TimedSegment

LONG_MS, LONG_CHARACTERS = 8_000, 200
"""From here on a line may end with a phrase."""
MOST_MS, MOST_CHARACTERS = 16_000, 400


def lines_of(segments: Sequence[TimedSegment]) -> Iterator[TimedSegment]:
    """The lines in order, none empty, none overlapping; without the times of their words."""
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
