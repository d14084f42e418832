"""What all kinds of job have in common: a job is submitted, looked up and shown.

Everything about a job that is not its order is the same for each kind: POST answers 202 with a
JobRef and honours ``Idempotency-Key``; the rate limit and the scope are checked before (endpoint);
the job and what it takes over are stored in one transaction; GET shows it with its kind's output,
and there a job of another kind, or of another workspace, does not exist.

A job is shown with ``output: dict``, as its kind wrote it: a member whose name ends in ``Key``
holds an object's key and is shown beside a ``…Url``, signed for a short while; members whose name
begins with ``_`` are never shown. The structs ``…Output`` say what is in it, for the served
document and for the tests; kinds may add members.
"""

from typing import Any, Literal, TypeVar, cast

import msgspec
from msgspec import UNSET, Struct, UnsetType

from pipelines.jobs.artifacts import Artifacts
from pipelines.jobs.job import ApiWarning, JobType, NewJob
from pipelines.jobs.queue import JobQueue
from rest.accounts.signing import UrlSigner
from rest.http.errors import Fault, NotFound, ValidationFailed
from rest.http.fields import JobType as JobTypeName
from rest.http.fields import timestamp
from rest.http.operation import REQUEST_SECONDS, Answer, AnyRequest, Handler, Operation
from store.database import Database
from store.tenants.jobs import Job, Jobs


class JobView(Struct, rename="camel"):
    """The contract's Job, with what it leaves open. ``warnings``: what was accepted and did not
    have its full effect."""

    id: str
    type: JobTypeName
    status: str
    progress: int
    output: dict[str, Any] | None
    error: dict[str, Any] | None
    created_at: str
    warnings: list[ApiWarning] = []
    started_at: str | None = None
    finished_at: str | None = None


class JobRef(Struct, rename="camel"):
    """The contract's JobRef: what is answered where a job was accepted."""

    job_id: str
    status: str


class JobViews:
    """Shows jobs. ``public_url``: what URLs begin with; None: the origin that the request was sent
    to."""

    def __init__(self, signer: UrlSigner, public_url: str | None = None) -> None:
        self._signer = signer
        self._public_url = public_url

    def view(self, request: AnyRequest, job: Job) -> JobView:
        """The job with signed URLs of what it made."""
        output = None if job.output is None else self.signed(request, job.workspace_id, job.output)
        return JobView(
            id=job.id,
            type=cast(JobTypeName, job.type),
            status=job.status,
            progress=job.progress,
            output=output,
            error=job.error,
            created_at=timestamp(job.created_at),
            warnings=msgspec.convert(job.warnings, list[ApiWarning]),
            started_at=timestamp(job.started_at) if job.started_at else None,
            finished_at=timestamp(job.finished_at) if job.finished_at else None,
        )

    def url(self, request: AnyRequest, key: str) -> str:
        """The signed URL of an object in the caller's workspace."""
        return self._signer.url(self._base(request), request.workspace_id, key)

    def signed(self, request: AnyRequest, workspace_id: str, output: dict[str, Any]) -> Any:
        """``output`` by the convention above, at every depth."""
        return self._shown(self._base(request), workspace_id, output)

    def _base(self, request: AnyRequest) -> str:
        if self._public_url:
            return self._public_url
        try:
            return str(request.http.url.origin())
        except ValueError as error:
            raise ValidationFailed(
                "Host names no host, with which the addresses in the answer would begin.",
                param="Host",
            ) from error

    def _shown(self, base: str, workspace_id: str, value: Any) -> Any:
        if isinstance(value, list):
            return [self._shown(base, workspace_id, item) for item in value]
        if not isinstance(value, dict):
            return value
        shown: dict[str, Any] = {}
        for name, member in value.items():
            if name.startswith("_"):
                continue
            shown[name] = self._shown(base, workspace_id, member)
            if name.endswith("Key") and isinstance(member, str):
                url = self._signer.url(base, workspace_id, member)
                shown[name.removesuffix("Key") + "Url"] = url
        return shown


# ---------------------------------------------------------------------- what each kind puts out


class TtsOutput(Struct, rename="camel", kw_only=True):
    """A take. ``script``: what was spoken, whose length (``characters``) is billed; ``delivery``:
    what was applied, ``delivery_by`` whom, ``delivery_fallback``: why it was not the model."""

    script: str
    characters: int
    audio_key: str
    audio_url: str
    duration_ms: int
    format: str
    sample_rate: int
    model: str
    voice: str
    language: str
    delivery: Literal["verbatim", "natural", "expressive"]
    delivery_by: Literal["model", "rules"] | UnsetType = UNSET
    delivery_fallback: str | UnsetType = UNSET
    polished: bool


class TranscriptWord(Struct):
    """A word; times in seconds, ``confidence`` from 0 to 1."""

    word: str
    start: float
    end: float
    confidence: float


class TranscriptSegment(Struct):
    """A stretch of speech; times in seconds. ``words`` may be empty."""

    start: float
    end: float
    text: str
    words: list[TranscriptWord]


class SttOutput(Struct, rename="camel", kw_only=True):
    """A transcript. Its ``segments`` lie at ``transcript_url`` where they are many. ``source_url``:
    the recording, which is kept as long as its job; absent from jobs of earlier versions."""

    text: str
    language: str | None
    duration_ms: int
    model: str
    file_name: str
    source_key: str | UnsetType = UNSET
    source_url: str | UnsetType = UNSET
    segment_count: int
    word_count: int
    label: str | UnsetType = UNSET
    segments: list[TranscriptSegment] | UnsetType = UNSET
    transcript_key: str | UnsetType = UNSET
    transcript_url: str | UnsetType = UNSET


class VoiceCloneOutput(Struct, rename="camel", kw_only=True):
    """A voice that was made. ``similarity``: cosine to the sample, as a speaker encoder hears it;
    ``base_similarity``: that of the voice it was made from."""

    voice_id: str
    name: str
    similarity: float
    base_similarity: float
    method: str
    details: dict[str, Any]
    preview_key: str | None
    preview_url: str | UnsetType = UNSET


class DubbingTranslation(Struct):
    """Who translated. ``draft``: the translation is not assured; ``failed``: segments without
    one."""

    model: str
    draft: bool
    failed: int


class DubbingOutput(Struct, rename="camel", kw_only=True):
    """A dub. Its ``segments`` lie at ``segments_url`` where they are many."""

    translation: DubbingTranslation
    source_language: str | None
    target_language: str
    voice: str
    model: str
    format: str
    file_name: str
    characters: int
    audio_key: str
    audio_url: str
    duration_ms: int
    segments: list[dict[str, Any]] | UnsetType = UNSET
    segments_key: str | UnsetType = UNSET
    segments_url: str | UnsetType = UNSET
    video_key: str | UnsetType = UNSET
    video_url: str | UnsetType = UNSET
    video_content_type: str | UnsetType = UNSET
    source_srt_url: str | UnsetType = UNSET
    source_vtt_url: str | UnsetType = UNSET
    target_srt_url: str | UnsetType = UNSET
    target_vtt_url: str | UnsetType = UNSET


class BatchItemOutput(Struct, rename="camel", kw_only=True):
    """One item, with its take's members where it is completed; ``errors``: why it was refused."""

    index: int
    job_id: str | None
    status: Literal["queued", "running", "completed", "failed", "cancelled", "refused"]
    progress: int
    error: dict[str, Any] | None = None
    errors: list[Fault] | UnsetType = UNSET
    warnings: list[ApiWarning] = []
    audio_url: str | UnsetType = UNSET
    duration_ms: int | UnsetType = UNSET
    script: str | UnsetType = UNSET


class BatchOutput(Struct, kw_only=True):
    """How the items ended; ``items`` on GET /api/batch/{id}."""

    total: int
    completed: int
    failed: int
    cancelled: int
    refused: int = 0
    items: list[BatchItemOutput] | UnsetType = UNSET


class WebhookOutput(Struct, rename="camel", kw_only=True):
    """A delivery that was taken, or given up."""

    webhook_id: str
    event_id: str
    event: str
    attempts: int
    response_status: int | None


class CleanupOutput(Struct, rename="camel", kw_only=True):
    """How many of each were deleted; of an erasure, ``calls``, ``turns`` and ``recordings``."""

    calls: int
    recordings: int
    turns: int | UnsetType = UNSET
    idempotency_keys: int | UnsetType = UNSET
    queue_log: int | UnsetType = UNSET
    deliveries: int | UnsetType = UNSET
    jobs: int | UnsetType = UNSET
    uploads: int | UnsetType = UNSET
    orphans: int | UnsetType = UNSET


OUTPUTS: dict[JobType, type[Struct]] = {
    JobType.TTS: TtsOutput,
    JobType.STT: SttOutput,
    JobType.VOICE_CLONE: VoiceCloneOutput,
    JobType.DUBBING: DubbingOutput,
    JobType.BATCH: BatchOutput,
    JobType.WEBHOOK: WebhookOutput,
    JobType.CLEANUP: CleanupOutput,
}


def _job(type: JobType, output: type[Struct]) -> type[Struct]:
    kind: Any = Literal[str(type)]
    held: Any = output | None
    name = output.__name__.removesuffix("Output") + "Job"
    return msgspec.defstruct(
        name, [("type", kind), ("output", held)], bases=(JobView,), rename="camel", kw_only=True
    )


JOBS = {type: _job(type, output) for type, output in OUTPUTS.items()}
"""The contract's Job with its kind's output, by type."""


# ---------------------------------------------------------------------- submitted, looked up


Body = TypeVar("Body", bound=Struct | None)


class KindJobs:
    """The jobs of one kind. ``noun``: what a refusal calls one of them."""

    def __init__(self, database: Database, views: JobViews, type: JobType, noun: str) -> None:
        self._database = database
        self._jobs = Jobs(database)
        self._queue = JobQueue(database)
        self._views = views
        self._type = type
        self._noun = noun

    async def submit(
        self,
        workspace_id: str,
        order: Any,
        *,
        takes: str | None = None,
        artifacts: Artifacts | None = None,
    ) -> Answer:
        """Store a job that carries out ``order`` (a struct or dataclass). ``takes``: key of the
        object among ``artifacts`` that it takes over, which is deleted with it; an object that an
        earlier job has stays with that one."""
        new = NewJob(self._type, msgspec.to_builtins(order))
        async with self._database.transaction() as connection:
            job = await self._queue.submit_in(connection, workspace_id, new)
            if takes is not None and artifacts is not None:
                await artifacts.claim(workspace_id, takes, job.id, connection=connection)
        return Answer(JobRef(job.id, job.status))

    async def get(self, request: AnyRequest) -> Job:
        """The job that the path names; raises NotFound."""
        job = await request.stored(self._noun, self._jobs.get)
        if job.type != self._type:
            raise NotFound(f"There is no such {self._noun}.")
        return job

    async def show(self, request: AnyRequest) -> Answer:
        """That job, as it is shown."""
        return Answer(self._views.view(request, await self.get(request)))


def submission(
    *,
    path: str,
    tag: str,
    summary: str,
    handler: Handler[Body, None],
    scope: str,
    body: type[Body] | None = None,
    data: Any = JobRef,
    upload: bool = False,
    deadline: float | None = REQUEST_SECONDS,
    description: str = "",
) -> Operation[Body, None]:
    """The operation that submits a job."""
    return Operation(
        method="POST",
        path=path,
        tag=tag,
        summary=summary,
        handler=handler,
        data=data,
        scope=scope,
        body=body,
        upload=upload,
        status=202,
        outcome="Job accepted",
        idempotent=True,
        deadline=deadline,
        description=description,
    )


def look_up(
    *,
    path: str,
    tag: str,
    summary: str,
    handler: Handler[None, None],
    scope: str,
    type: JobType,
    description: str = "",
) -> Operation[None, None]:
    """The operation that shows a job."""
    return Operation(
        method="GET",
        path=path,
        tag=tag,
        summary=summary,
        handler=handler,
        data=JOBS[type],
        scope=scope,
        description=description,
    )
