"""SttKind: a recording becomes a transcript with the times of its words.

The recording goes from the object store to a file, is decoded and heard piece by piece: memory
does not depend on its length. A transcript too long for the job's record is an artifact of the
job (``transcriptKey``); ``segments_of`` reads it wherever it lies.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from media.errors import MediaError
from media.formats import HEARING_RATE, SAMPLE_BYTES, milliseconds_of
from pipelines.engines.jobs import FileTranscriber, JobEngines
from pipelines.jobs.artifacts import Artifacts
from pipelines.jobs.job import JobFailed, JobResult, JobRun, JobType, Unit
from store.database import storable

from .timed_text import TimedSegment, as_json, from_json, of_segment

CONCURRENCY = 2
"""A short recording does not wait for a long one."""
DEADLINE_SECONDS = 12 * 3600.0
MAX_RECORD_BYTES = 256 * 1024
"""Of segments as JSON in the job's record."""
TRANSCRIPT = "transcript.json"
_HEARD_PERCENT = 99

Decode = Callable[[Path], AsyncGenerator[bytes, None]]
"""A media file as PCM16 mono at HEARING_RATE, piece by piece; raises MediaError."""


class SttOrder(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """All that a transcription needs. ``source_key``: the recording, which the job has claimed;
    ``language`` None: found out; ``duration_ms``: as the file declares it, None: unknown."""

    source_key: str
    file_name: str
    model: str = "default"
    language: str | None = None
    label: str | None = None
    duration_ms: int | None = None


class SttKind:
    """Jobs of type ``stt``; the input is an SttOrder."""

    type = JobType.STT
    concurrency = CONCURRENCY
    deadline = DEADLINE_SECONDS

    def __init__(
        self,
        engines: JobEngines,
        artifacts: Artifacts,
        decode: Decode,
        max_record_bytes: int = MAX_RECORD_BYTES,
    ) -> None:
        self._engines = engines
        self._artifacts = artifacts
        self._decode = decode
        self._max_record_bytes = max_record_bytes

    async def run(self, run: JobRun) -> JobResult:
        """Fetch, decode, hear; raises JobFailed, EngineError and StoreError."""
        order = msgspec.convert(run.input, SttOrder)
        transcriber = await self._engines.file_transcriber(order.model, order.language)
        with tempfile.TemporaryDirectory(prefix="blab-stt-") as folder:
            path = Path(folder) / "recording"
            try:
                await self._artifacts.fetch(run.workspace_id, order.source_key, path)
            except LookupError as error:
                raise JobFailed("NOT_FOUND", "The recording is not there any more.") from error
            heard = _Heard(order.language)
            try:
                await self._hear(run, order, transcriber, path, heard)
            except MediaError as error:
                raise JobFailed("VALIDATION_ERROR", str(error), {"path": "file"}) from error
        told = await asyncio.to_thread(as_json, heard.segments)
        output: dict[str, Any] = {
            "text": " ".join(segment.text for segment in heard.segments),
            "language": heard.language,
            "durationMs": heard.duration_ms,
            "model": transcriber.model_id,
            "fileName": order.file_name,
            "segmentCount": len(heard.segments),
            "wordCount": sum(len(segment.words) for segment in heard.segments),
        }
        if order.label is not None:
            output["label"] = order.label
        output |= await self._kept(run, told)
        unit = Unit(f"{run.id}:stt", "stt", transcriber.model_id, audio_ms=heard.duration_ms)
        return JobResult(output, (unit,))

    async def _hear(
        self,
        run: JobRun,
        order: SttOrder,
        transcriber: FileTranscriber,
        path: Path,
        heard: "_Heard",
    ) -> None:
        samples = await self._length(order, path)
        async with (
            contextlib.aclosing(heard.counted(self._decode(path))) as pcm,
            contextlib.aclosing(transcriber.transcribe_file(pcm, order.language)) as hearings,
        ):
            async for hearing in hearings:
                heard.language = hearing.language or heard.language
                if hearing.segment is not None and hearing.segment.text.strip():
                    heard.segments.append(_storable(of_segment(hearing.segment)))
                await run.progress(min(_HEARD_PERCENT, 100 * hearing.done // samples))

    async def _length(self, order: SttOrder, path: Path) -> int:
        """Samples of the recording: as declared, else counted; at least one."""
        if order.duration_ms:
            return max(1, order.duration_ms * HEARING_RATE // 1000)
        size = 0
        async with contextlib.aclosing(self._decode(path)) as pieces:
            async for piece in pieces:
                size += len(piece)
        return max(1, size // SAMPLE_BYTES)

    async def _kept(self, run: JobRun, segments: list[dict[str, Any]]) -> dict[str, Any]:
        content = await asyncio.to_thread(msgspec.json.encode, segments)
        if len(content) <= self._max_record_bytes:
            return {"segments": segments}
        key = await self._artifacts.store(
            run.workspace_id, run.id, TRANSCRIPT, content, "application/json"
        )
        return {"transcriptKey": key}


async def segments_of(
    artifacts: Artifacts, workspace_id: str, output: dict[str, Any]
) -> list[TimedSegment]:
    """The segments of a completed job's output; raises LookupError and StoreError where they are
    an artifact that is gone or out of reach."""
    if "segments" in output:
        return await asyncio.to_thread(from_json, output["segments"])
    content = await artifacts.read(workspace_id, output["transcriptKey"])
    return await asyncio.to_thread(lambda: from_json(msgspec.json.decode(content)))


class _Heard:
    """What has been understood of a recording so far."""

    def __init__(self, language: str | None) -> None:
        self.language = language
        self.segments: list[TimedSegment] = []
        self._bytes = 0

    @property
    def duration_ms(self) -> int:
        """Length of what was decoded."""
        return milliseconds_of(self._bytes // SAMPLE_BYTES, HEARING_RATE)

    async def counted(self, pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        """``pieces``, counted on their way."""
        async with contextlib.aclosing(pieces):
            async for piece in pieces:
                self._bytes += len(piece)
                yield piece


def _storable(segment: TimedSegment) -> TimedSegment:
    words = tuple(replace(word, text=storable(word.text)) for word in segment.words)
    return replace(segment, text=storable(segment.text), words=words)
