"""What a recording that is to be dubbed says: its transcript, language and length."""

import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from pathlib import Path

from media.files.limits import MediaLimits
from media.formats import HEARING_RATE, SAMPLE_BYTES, milliseconds_of
from pipelines.decoding import decoded
from pipelines.engines.jobs import FileTranscriber
from pipelines.jobs.job import JobFailed, Progress
from pipelines.transcription.timed_text import TimedSegment, of_segment
from store.database import storable

_UNKNOWN_MS = 600_000
"""As much is thought to lie ahead where nobody knows."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording, heard. ``language`` without a region; ``model``: who heard it."""

    segments: tuple[TimedSegment, ...]
    language: str
    duration_ms: int
    model: str


async def hear(
    path: Path,
    transcriber: FileTranscriber,
    language: str | None,
    limits: MediaLimits,
    declared_ms: int | None,
    progress: Progress,
) -> Recording:
    """Transcribe the file; ``progress`` is told 0 to 100.

    Raises MediaError, EngineError, and JobFailed where there is no speech in it."""
    pcm = _Counted(decoded(path, limits=limits))
    segments: list[TimedSegment] = []
    known = language
    async with (
        contextlib.aclosing(pcm.pieces()) as pieces,
        contextlib.aclosing(transcriber.transcribe_file(pieces, language)) as hearings,
    ):
        async for hearing in hearings:
            known = language or hearing.language or known
            if hearing.segment is not None and hearing.segment.text.strip():
                segment = of_segment(hearing.segment)
                segments.append(replace(segment, text=storable(segment.text)))
            done = milliseconds_of(hearing.done, HEARING_RATE)
            await progress(min(100, 100 * done // max(1, declared_ms or done + _UNKNOWN_MS)))
    if not segments:
        raise JobFailed("VALIDATION_ERROR", "No speech was found in the recording.")
    if known is None:
        raise JobFailed(
            "VALIDATION_ERROR", "The recording's language was not recognised: send sourceLanguage."
        )
    language = known.split("-")[0].lower()
    return Recording(tuple(segments), language, pcm.milliseconds, transcriber.model_id)


class _Counted:
    """Pieces of audio, counted on their way."""

    def __init__(self, source: AsyncGenerator[bytes, None]) -> None:
        self._source = source
        self._bytes = 0

    @property
    def milliseconds(self) -> int:
        """Length of what has passed."""
        return milliseconds_of(self._bytes // SAMPLE_BYTES, HEARING_RATE)

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        async with contextlib.aclosing(self._source):
            async for piece in self._source:
                self._bytes += len(piece)
                yield piece
