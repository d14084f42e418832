"""SttKind: a recording becomes a transcript with the times of its words, as far as the engine has
them; a warning says where it has none.

The recording goes from the object store to a file and is decoded and transcribed in chunks: memory
does not depend on its length. A transcript too long for the job's record is stored as an artifact
(``transcriptKey``); ``segments_of`` reads it from wherever it is.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from media.files.limits import MediaError
from media.formats import HEARING_RATE, SAMPLE_BYTES, milliseconds_of
from pipelines.engines.catalogue import Catalogue
from pipelines.engines.jobs import FileTranscriber
from pipelines.jobs.artifacts import Artifacts
from pipelines.jobs.job import JobFailed, JobResult, JobRun, JobType, Unit
from store.database import storable

from .timed_text import TimedSegment, as_json, from_json, of_segment

CONCURRENCY = 2
"""A short recording does not wait for a long one."""
DEADLINE_SECONDS = 12 * 3600.0
MAX_RECORD_BYTES = 256 * 1024
"""Size of the segments as JSON up to which they are kept in the job's record."""
TRANSCRIPT = "transcript.json"
_HEARD_PERCENT = 99

Decode = Callable[[Path], AsyncGenerator[bytes, None]]
"""A media file as PCM16 mono at HEARING_RATE, in chunks; raises MediaError."""


class SttOrder(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Everything a transcription needs. ``source_key``: the recording, which the job has claimed;
    ``language`` None: detected; ``duration_ms``: as the file declares it, None: unknown."""

    source_key: str
    file_name: str
    model: str = "default"
    language: str | None = None
    label: str | None = None
    duration_ms: int | None = None


@dataclass(slots=True)
class Transcript:
    """What was said in a recording. ``duration_ms``: length of the decoded audio."""

    language: str | None
    segments: list[TimedSegment] = field(default_factory=list)
    duration_ms: int = 0


class SttKind:
    """Jobs of type ``stt``; the input is an SttOrder."""

    type = JobType.STT
    concurrency = CONCURRENCY
    deadline = DEADLINE_SECONDS

    def __init__(
        self,
        engines: Catalogue,
        artifacts: Artifacts,
        decode: Decode,
        max_record_bytes: int = MAX_RECORD_BYTES,
    ) -> None:
        self._engines = engines
        self._artifacts = artifacts
        self._decode = decode
        self._max_record_bytes = max_record_bytes

    async def run(self, run: JobRun) -> JobResult:
        """Fetch, decode, transcribe; raises JobFailed, EngineError and StoreError."""
        order = msgspec.convert(run.input, SttOrder)
        transcriber = await self._engines.file_transcriber(order.model, order.language)
        with tempfile.TemporaryDirectory(prefix="blab-stt-") as folder:
            path = Path(folder) / "recording"
            await self._artifacts.fetch_in_job(run, order.source_key, path, "recording")
            try:
                heard = await self._hear(run, order, transcriber, path)
            except MediaError as error:
                raise JobFailed("VALIDATION_ERROR", str(error), {"path": "file"}) from error
        segments = await asyncio.to_thread(as_json, heard.segments)
        output: dict[str, Any] = {
            "text": " ".join(segment.text for segment in heard.segments),
            "language": heard.language,
            "durationMs": heard.duration_ms,
            "model": transcriber.model_id,
            "fileName": order.file_name,
            "sourceKey": order.source_key,
            "segmentCount": len(heard.segments),
            "wordCount": sum(len(segment.words) for segment in heard.segments),
        }
        if order.label is not None:
            output["label"] = order.label
        untimed = sum(not segment.words for segment in heard.segments)
        if untimed:
            run.warn(
                "words_untimed",
                f"{transcriber.model_id} gave no times for the words of {untimed} of"
                f" {len(heard.segments)} segments: subtitles place them by their letters.",
            )
        output |= await self._artifacts.keep_json(
            run,
            segments,
            member="segments",
            key_member="transcriptKey",
            name=TRANSCRIPT,
            limit=self._max_record_bytes,
        )
        unit = Unit(f"{run.id}:stt", "stt", transcriber.model_id, audio_ms=heard.duration_ms)
        return JobResult(output, (unit,))

    async def _hear(
        self, run: JobRun, order: SttOrder, transcriber: FileTranscriber, path: Path
    ) -> Transcript:
        length = await self._length(order, path)

        async def progress(samples: int) -> None:
            await run.progress(min(_HEARD_PERCENT, 100 * samples // length))

        return await hear(self._decode(path), transcriber, order.language, progress)

    async def _length(self, order: SttOrder, path: Path) -> int:
        """Samples of the recording, as declared or else counted; at least one."""
        if order.duration_ms:
            return max(1, order.duration_ms * HEARING_RATE // 1000)
        size = 0
        async with contextlib.aclosing(self._decode(path)) as pieces:
            async for piece in pieces:
                size += len(piece)
        return max(1, size // SAMPLE_BYTES)


async def segments_of(
    artifacts: Artifacts, workspace_id: str, output: dict[str, Any]
) -> list[TimedSegment]:
    """The segments of a completed job's output; raises LookupError or StoreError if they are an
    artifact that is gone or unreachable."""
    if "segments" in output:
        return await asyncio.to_thread(from_json, output["segments"])
    content = await artifacts.read(workspace_id, output["transcriptKey"])
    return await asyncio.to_thread(lambda: from_json(msgspec.json.decode(content)))


async def hear(
    pcm: AsyncGenerator[bytes, None],
    transcriber: FileTranscriber,
    language: str | None,
    progress: Callable[[int], Awaitable[None]],
) -> Transcript:
    """Transcribe ``pcm`` (PCM16 mono at HEARING_RATE) in chunks of any size.

    ``language`` None: detected; ``progress`` gets the samples done so far. Raises EngineError, and
    what ``pcm`` raises."""
    transcript = Transcript(language)
    size = 0

    async def counted() -> AsyncGenerator[bytes, None]:
        nonlocal size
        async with contextlib.aclosing(pcm):
            async for chunk in pcm:
                size += len(chunk)
                yield chunk

    async with (
        contextlib.aclosing(counted()) as chunks,
        contextlib.aclosing(transcriber.transcribe_file(chunks, language)) as hearings,
    ):
        async for hearing in hearings:
            transcript.language = hearing.language or transcript.language
            if hearing.segment is not None and hearing.segment.text.strip():
                transcript.segments.append(_storable(of_segment(hearing.segment)))
            await progress(hearing.done)
    transcript.duration_ms = milliseconds_of(size // SAMPLE_BYTES, HEARING_RATE)
    return transcript


def _storable(segment: TimedSegment) -> TimedSegment:
    words = tuple(replace(word, text=storable(word.text)) for word in segment.words)
    return replace(segment, text=storable(segment.text), words=words)
