"""Transcription as a resource: a file is uploaded, transcribed by a job, and exported.

An export is ``text/plain`` whatever its format, because the contract lists no other type; the name
in Content-Disposition has the format's extension.
"""

import asyncio
from collections.abc import Sequence
from pathlib import PurePath

from aiohttp import web
from msgspec import Struct

from media.files.decode import MediaInfo
from media.files.limits import DEFAULT_LIMITS, MediaLimits
from pipelines.engines.base import ModelUnavailable
from pipelines.engines.catalogue import Catalogue
from pipelines.jobs.artifacts import Artifacts
from pipelines.jobs.job import JobStatus, JobType
from pipelines.transcription.job import SttOrder, segments_of
from pipelines.transcription.subtitles import SubtitleFormat, render
from rest.http.errors import NoSuchModel, NotFound, WrongState
from rest.http.fields import language_named
from rest.http.operation import Answer, AnyOperation, Operation, Request
from store.database import Database
from store.disposition import disposition

from .kinds import JobViews, KindJobs, look_up, submission
from .recordings import checked_media

READ, WRITE = "stt:read", "stt:write"
UPLOAD_SECONDS = 8 * 3600.0
"""For the whole request; the upload itself has its deadlines in rest.http.uploads."""
DEFAULT_MODEL = "default"
_ABOUT = ("text", "language", "durationMs", "model", "fileName", "label")
"""Members of a job's output that an export as json has besides the segments."""


class ExportQuery(Struct):
    """What an export looks like."""

    format: SubtitleFormat = "txt"


class SttResource:
    """The contract's tag STT. ``limits``: how long a recording may be."""

    def __init__(
        self,
        database: Database,
        engines: Catalogue,
        artifacts: Artifacts,
        views: JobViews,
        limits: MediaLimits = DEFAULT_LIMITS,
    ) -> None:
        self._jobs = KindJobs(database, views, JobType.STT, "transcription")
        self._engines = engines
        self._artifacts = artifacts
        self._limits = limits

    def operations(self) -> Sequence[AnyOperation]:
        """See Resource."""
        one = "/api/stt/{id}"
        return [
            submission(
                path="/api/stt",
                tag="STT",
                summary="Transcribe audio/video (multipart, async job)",
                handler=self._create,
                scope=WRITE,
                upload=True,
                deadline=UPLOAD_SECONDS,
                description=(
                    "`language` is a BCP 47 tag; without it the language is found out."
                    " `label` is shown with the transcript."
                ),
            ),
            look_up(
                path=one,
                tag="STT",
                summary="Get a transcription job",
                handler=self._jobs.show,
                scope=READ,
                description=(
                    "`output` has `text`, `segments` with the times of their words, and"
                    " `transcriptUrl` in place of `segments` where they are many; `sourceUrl` is"
                    " the recording. Words without times give the warning `words_untimed`."
                ),
                type=JobType.STT,
            ),
            Operation(
                method="GET",
                path=f"{one}/export",
                tag="STT",
                summary="Export transcript (txt|srt|vtt|json)",
                handler=self._export,
                scope=READ,
                query=ExportQuery,
                media="text/plain",
                data=str,
                outcome="Transcript export",
                description="409 until the job is completed.",
                conflicts=True,
            ),
        ]

    # ------------------------------------------------------------------ submit

    async def _create(self, request: Request[None, None]) -> Answer:
        upload, workspace_id = request.file, request.workspace_id
        model = upload.model or DEFAULT_MODEL
        language = language_named(upload.language)
        try:
            self._engines.check_transcription(model, language)
        except ModelUnavailable as error:
            raise NoSuchModel(str(error), param="model") from error
        info = await checked_media(upload.path, self._limits)
        key = await self._artifacts.take_in(
            workspace_id,
            "upload",
            upload.path,
            content_type=info.content_type,
            filename=upload.filename,
            duration_ms=info.duration_ms,
            details=_details(info),
        )
        order = SttOrder(
            source_key=key,
            file_name=upload.filename,
            model=model,
            language=language,
            label=upload.label or None,
            duration_ms=info.duration_ms,
        )
        return await self._jobs.submit(workspace_id, order, takes=key, artifacts=self._artifacts)

    # ------------------------------------------------------------------ export

    async def _export(self, request: Request[None, ExportQuery]) -> web.StreamResponse:
        job = await self._jobs.get(request)
        if job.status != JobStatus.COMPLETED or job.output is None:
            raise WrongState(
                f"The transcription is {job.status}: there is a transcript once it has completed.",
                reason="not_completed",
            )
        output, format = job.output, request.query.format
        try:
            segments = await segments_of(self._artifacts, request.workspace_id, output)
        except LookupError as error:
            raise NotFound("The transcript no longer exists.") from error
        about = {name: output[name] for name in _ABOUT if name in output}
        file = await asyncio.to_thread(
            render, segments, format, duration_ms=output["durationMs"], about=about
        )
        name = f"{PurePath(output['fileName']).stem}.{format}"
        return web.Response(
            body=file.encode(),
            content_type="text/plain",
            charset="utf-8",
            headers={
                "Cache-Control": "no-store",
                "Content-Disposition": disposition(name, attachment=True),
                "X-Content-Type-Options": "nosniff",
            },
        )


def _details(info: MediaInfo) -> dict[str, object]:
    return {
        "container": info.container,
        "codec": info.audio_codec,
        "sampleRate": info.sample_rate,
        "channels": info.channels,
        "hasVideo": info.has_video,
    }
