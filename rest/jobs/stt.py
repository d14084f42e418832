"""Transcription as a resource: a file is taken in, heard by a job, and exported.

An export is ``text/plain`` whatever its format, because the contract lists no other type; the
name in Content-Disposition ends as the format does.
"""

import asyncio
from collections.abc import Sequence
from pathlib import PurePath

import msgspec
from aiohttp import web
from msgspec import Struct

from media.files.limits import DEFAULT_LIMITS, MediaLimits
from media.files.probe import MediaInfo
from pipelines.engines.base import ModelUnavailable
from pipelines.engines.jobs import JobEngines
from pipelines.jobs.artifacts import Artifacts
from pipelines.jobs.job import JobStatus, JobType, NewJob
from pipelines.jobs.queue import JobQueue
from pipelines.transcription.job import SttOrder, segments_of
from pipelines.transcription.subtitles import SubtitleFormat, render
from rest.http.errors import NoSuchModel, NotFound, WrongState
from rest.http.fields import language_named
from rest.http.operation import Answer, AnyOperation, AnyRequest, Operation, Request
from store.database import Database
from store.disposition import disposition
from store.ids import is_id
from store.tenants.jobs import Job, Jobs

from .recordings import checked_media
from .views import JOBS, JobRef, JobViews

READ, WRITE = "stt:read", "stt:write"
UPLOAD_SECONDS = 8 * 3600.0
"""For the whole request; the upload itself has its deadlines in rest.http.uploads."""
DEFAULT_MODEL = "default"
_ABOUT = ("text", "language", "durationMs", "model", "fileName", "label")
"""Members of a job's output that an export as json has beside the segments."""


class ExportQuery(Struct):
    """What an export looks like."""

    format: SubtitleFormat = "txt"


class SttResource:
    """The contract's tag STT. ``limits``: how long a recording may be."""

    def __init__(
        self,
        database: Database,
        engines: JobEngines,
        artifacts: Artifacts,
        views: JobViews,
        limits: MediaLimits = DEFAULT_LIMITS,
    ) -> None:
        self._database = database
        self._jobs = Jobs(database)
        self._queue = JobQueue(database)
        self._engines = engines
        self._artifacts = artifacts
        self._views = views
        self._limits = limits

    def operations(self) -> Sequence[AnyOperation]:
        """See Resource."""
        one = "/api/stt/{id}"
        return [
            Operation(
                method="POST",
                path="/api/stt",
                tag="STT",
                summary="Transcribe audio/video (multipart, async job)",
                handler=self._create,
                data=JobRef,
                scope=WRITE,
                upload=True,
                status=202,
                outcome="Job accepted",
                idempotent=True,
                deadline=UPLOAD_SECONDS,
                description=(
                    "`language` is a BCP 47 tag; without it the language is found out."
                    " `label` is shown with the transcript."
                ),
            ),
            Operation(
                method="GET",
                path=one,
                tag="STT",
                summary="Get a transcription job",
                handler=self._get,
                data=JOBS[JobType.STT],
                scope=READ,
                description=(
                    "`output` has `text`, `segments` with the times of their words, and"
                    " `transcriptUrl` in place of `segments` where they are many."
                ),
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

    # ------------------------------------------------------------------ a job is made

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
        new = NewJob(JobType.STT, msgspec.to_builtins(order))
        async with self._database.transaction() as connection:
            job = await self._queue.submit_in(connection, workspace_id, new)
            await self._artifacts.claim(workspace_id, key, job.id, connection=connection)
        return Answer(JobRef(job.id, job.status))

    # ------------------------------------------------------------------ a job is shown

    async def _get(self, request: Request[None, None]) -> Answer:
        return Answer(self._views.view(request, await self._job(request)))

    async def _export(self, request: Request[None, ExportQuery]) -> web.StreamResponse:
        job = await self._job(request)
        if job.status != JobStatus.COMPLETED or job.output is None:
            raise WrongState(
                f"The transcription is {job.status}: there is a transcript when it is completed.",
                reason="not_completed",
            )
        output, format = job.output, request.query.format
        try:
            segments = await segments_of(self._artifacts, request.workspace_id, output)
        except LookupError as error:
            raise NotFound("The transcript is not there any more.") from error
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

    async def _job(self, request: AnyRequest) -> Job:
        job_id = request.path()
        job = await self._jobs.get(request.workspace_id, job_id) if is_id(job_id) else None
        if job is None or job.type != JobType.STT:
            raise NotFound("There is no such transcription.")
        return job


def _details(info: MediaInfo) -> dict[str, object]:
    return {
        "container": info.container,
        "codec": info.audio_codec,
        "sampleRate": info.sample_rate,
        "channels": info.channels,
        "hasVideo": info.has_video,
    }
