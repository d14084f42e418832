"""DubbingFiles: the files that a dubbing makes, mixed, encoded and stored as artifacts.

The methods return members of the job's output; names that end in ``Key`` refer to objects.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from media.files.encode import encode_file
from media.files.isolated import decode, replace_audio
from media.files.limits import MediaError, MediaLimits
from media.files.mix import Ducking, Span, mix_files
from media.formats import milliseconds_of, samples_of
from media.loudness import measure, normalise
from pipelines.decoding import carried_out, pulled
from pipelines.jobs.artifacts import Artifacts
from pipelines.jobs.job import JobRun, Progress
from pipelines.speech.job import CONTENT_TYPES
from pipelines.transcription.subtitles import SubtitleFormat, render
from pipelines.transcription.timed_text import TimedSegment

from .track import RATE

MAX_RECORD_BYTES = 256 * 1024
"""Size of the lines as JSON up to which they are kept in the job's record."""
_SUBTITLES: tuple[tuple[SubtitleFormat, str], ...] = (
    ("srt", "application/x-subrip"),
    ("vtt", "text/vtt"),
)


class DubbingFiles:
    """The files of one run, in the folder of ``source``, the recording; ``speech``: what is said
    over it (PCM16 mono at ``track.RATE``)."""

    def __init__(
        self, run: JobRun, artifacts: Artifacts, source: Path, speech: Path, limits: MediaLimits
    ) -> None:
        self._run = run
        self._artifacts = artifacts
        self._source = source
        self._speech = speech
        self._limits = limits
        self._mix = source.with_name("mix.pcm")
        self.duration_ms = 0
        """Length of the mix."""

    async def mix(
        self, spoken: Sequence[tuple[int, int]], long_ms: int, progress: Progress
    ) -> None:
        """Mix the speech over the recording of ``long_ms``, which is lowered within ``spoken``
        (ms) and sets the loudness of the speech; ``progress`` gets 0 to 100. Raises MediaError."""
        spans: list[Span] = [(samples_of(a, RATE), samples_of(b, RATE)) for a, b in spoken]
        await self._as_loud(spans)
        ducking = Ducking(spans, RATE)
        steps = pulled(
            lambda: mix_files(
                decode(self._source, RATE, self._limits), self._speech, ducking, RATE, self._mix
            )
        )
        async with contextlib.aclosing(steps):
            async for samples in steps:
                self.duration_ms = milliseconds_of(samples, RATE)
                await progress(min(100, 100 * self.duration_ms // max(1, long_ms)))

    async def _as_loud(self, spans: Sequence[Span]) -> None:
        """Bring the speech to the loudness that the recording has within ``spans``."""
        measured = await carried_out(
            lambda: measure(decode(self._source, RATE, self._limits), spans, RATE)
        )
        if measured.lufs is None:
            return
        lufs, made = measured.lufs, self._speech.with_name("loud.pcm")
        await carried_out(lambda: normalise(self._speech, made, RATE, lufs, ()))
        self._speech = made

    async def audio(self, format: str) -> dict[str, Any]:
        """The mix as a file of ``format``."""
        made = self._source.with_name(f"dubbed.{format}")
        await carried_out(lambda: encode_file(self._mix, made, format, RATE))
        key = await self._put(made.name, made, CONTENT_TYPES[format])
        return {"audioKey": key, "durationMs": self.duration_ms}

    async def video(self) -> dict[str, Any]:
        """The source's pictures with the mix; the reason if they cannot be copied."""
        made = self._source.with_name("video")
        try:
            muxed = await carried_out(lambda: replace_audio(self._source, self._mix, RATE, made))
        except MediaError as error:
            return {"videoProblem": str(error)}
        key = await self._put(f"video.{muxed.extension}", made, muxed.content_type)
        return {"videoKey": key, "videoContentType": muxed.content_type}

    async def subtitles(self, name: str, segments: Sequence[TimedSegment]) -> dict[str, Any]:
        """``source`` or ``target`` subtitles in every format."""
        made = {}
        for format, content_type in _SUBTITLES:
            text = await asyncio.to_thread(render, segments, format, duration_ms=self.duration_ms)
            key = await self._put(f"{name}.{format}", text.encode(), content_type)
            made[f"{name}{format.title()}Key"] = key
        return made

    async def lines(self, lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """What was said when: in the record, or as an artifact if it is long."""
        return await self._artifacts.keep_json(
            self._run,
            list(lines),
            member="segments",
            key_member="segmentsKey",
            name="segments.json",
            limit=MAX_RECORD_BYTES,
        )

    async def _put(self, name: str, content: Path | bytes, content_type: str) -> str:
        whole = name.startswith(("dubbed.", "video."))
        return await self._artifacts.store(
            self._run.workspace_id,
            self._run.id,
            name,
            content,
            content_type,
            duration_ms=self.duration_ms if whole else None,
        )
