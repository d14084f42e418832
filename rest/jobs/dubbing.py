"""Dubbing as a resource: a recording is uploaded, and a job makes it speak another language."""

from collections.abc import Sequence
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from media.files.limits import DEFAULT_LIMITS, MediaLimits
from pipelines.dubbing.job import (
    HEARING_MODEL,
    TRANSLATE_MODEL,
    DubbingOrder,
    draft_reason,
    no_translator,
)
from pipelines.engines.base import ModelUnavailable
from pipelines.engines.catalogue import Catalogue
from pipelines.jobs.artifacts import Artifacts
from pipelines.jobs.job import JobType
from pipelines.speech.job import DEFAULT_VOICE, STABLE
from rest.http.errors import NoSuchModel, NotFound, ValidationFailed
from rest.http.fields import AudioFormat, LanguageTag, ModelId, StorageKey, VoiceId, language_of_tag
from rest.http.operation import Answer, AnyOperation, Operation, Request
from rest.http.uploads import TEXTS
from store.database import Database
from store.disposition import plain_filename
from store.tenants.objects import StoredObject

from .kinds import JobViews, KindJobs, look_up, submission
from .recordings import checked_media
from .speech_requests import SpeechChecks

READ, WRITE = "dubbing:read", "dubbing:write"
UPLOAD_SECONDS = 3600.0
"""For the whole request: a large file over a slow line."""
KIND = "source"
"""Kind of the objects that are dubbed."""
_ABOUT = (
    "Languages are BCP 47 tags; without `sourceLanguage` it is found out."
    " A pair without a translator is refused, unless `allowDraft` is true: then a chat"
    " model translates, `translation.draft` in the output says so, and the job warns."
    " Capabilities name the pairs. Each translated line is checked; one that cannot be"
    " right, or has no time to be said, keeps its own voice, and the job warns of it."
)


class DubbingCreate(Struct, kw_only=True, rename="camel"):
    """The contract's DubbingCreate."""

    source_storage_key: StorageKey
    target_language: LanguageTag
    voice: VoiceId
    source_language: LanguageTag | UnsetType = UNSET
    model: ModelId = STABLE
    translate_model: ModelId = TRANSLATE_MODEL
    format: AudioFormat = "mp3"
    allow_draft: Annotated[
        bool,
        Meta(
            description="Accept a translation by a chat model, which may say something else than"
            " the recording, where there is no translator for the pair. The job warns of it."
        ),
    ] = False


class DubbingSource(Struct, rename="camel"):
    """A recording that was taken in; ``duration_ms`` None: not known before it is decoded."""

    storage_key: str
    file_name: str
    size_bytes: int
    duration_ms: int | None
    content_type: str
    has_video: bool


class DubbingResource:
    """The contract's tag Dubbing. ``limits``: how long a recording may be."""

    def __init__(
        self,
        database: Database,
        engines: Catalogue,
        checks: SpeechChecks,
        artifacts: Artifacts,
        views: JobViews,
        limits: MediaLimits = DEFAULT_LIMITS,
    ) -> None:
        self._jobs = KindJobs(database, views, JobType.DUBBING, "dubbing job")
        self._engines = engines
        self._checks = checks
        self._artifacts = artifacts
        self._limits = limits

    def operations(self) -> Sequence[AnyOperation]:
        """See Resource."""
        return [
            Operation(
                method="POST",
                path="/api/dubbing/source",
                tag="Dubbing",
                summary="Upload source media (multipart)",
                handler=self._take_in,
                data=DubbingSource,
                scope=WRITE,
                upload=True,
                idempotent=True,
                deadline=UPLOAD_SECONDS,
                unused_form=TEXTS,
                description="A source that no dubbing uses is deleted after a day.",
            ),
            submission(
                path="/api/dubbing",
                tag="Dubbing",
                summary="Dub audio/video to another language (async job)",
                handler=self._create,
                scope=WRITE,
                body=DubbingCreate,
                description=_ABOUT,
            ),
            look_up(
                path="/api/dubbing/{id}",
                tag="Dubbing",
                summary="Get a dubbing job + signed outputs",
                handler=self._jobs.show,
                scope=READ,
                type=JobType.DUBBING,
            ),
        ]

    async def _take_in(self, request: Request[None, None]) -> Answer:
        upload = request.file
        info = await checked_media(upload.path, self._limits)
        name = plain_filename(upload.filename, "recording")
        key = await self._artifacts.take_in(
            request.workspace_id,
            KIND,
            upload.path,
            content_type=info.content_type,
            filename=name,
            duration_ms=info.duration_ms,
            details={"hasVideo": info.has_video},
        )
        return Answer(
            DubbingSource(
                storage_key=key,
                file_name=name,
                size_bytes=upload.size,
                duration_ms=info.duration_ms,
                content_type=info.content_type,
                has_video=info.has_video,
            )
        )

    async def _create(self, request: Request[DubbingCreate, None]) -> Answer:
        asked = request.body
        workspace_id = request.workspace_id
        source = await self._source(workspace_id, asked.source_storage_key)
        order = _order(asked, source)
        await self._check_speech(workspace_id, order)
        self._check_engines(order)
        return await self._jobs.submit(
            workspace_id, order, takes=source.key, artifacts=self._artifacts
        )

    async def _source(self, workspace_id: str, key: str) -> StoredObject:
        found = await self._artifacts.find(workspace_id, key)
        if found is None or found.kind != KIND:
            raise NotFound("There is no such source: upload one first.", param="sourceStorageKey")
        return found

    async def _check_speech(self, workspace_id: str, order: DubbingOrder) -> None:
        try:
            await self._checks.choice(workspace_id, order.speech())
        except NoSuchModel as error:
            if error.param == "response_format":  # as it is called where texts are spoken
                raise NoSuchModel(error.message, param="format") from error
            raise

    def _check_engines(self, order: DubbingOrder) -> None:
        """Refuse what no engine can do, before anything is started."""
        source = order.source_language
        try:
            self._engines.check_transcription(HEARING_MODEL, source)
        except ModelUnavailable as error:
            raise NoSuchModel(str(error), param="sourceLanguage") from error
        try:
            reason = self._draft_reason(order)
        except ModelUnavailable as error:
            raise NoSuchModel(str(error), param="translateModel") from error
        if reason is not None:
            raise NoSuchModel(f"{reason[0].upper()}{reason[1:]}", param="targetLanguage")

    def _draft_reason(self, order: DubbingOrder) -> str | None:
        """Why a draft is refused; None where none is made, or it is accepted, or that depends on
        the recording's language, which is not known yet. Raises ModelUnavailable."""
        target = order.target_language
        if order.source_language is not None:
            return draft_reason(self._engines, order, order.source_language, target)
        pairs = self._engines.translated_pairs()
        if order.allow_draft or any(into == target for _, into in pairs):
            return None
        return no_translator(f"into {target!r}", pairs)


def _order(asked: DubbingCreate, source: StoredObject) -> DubbingOrder:
    target = language_of_tag(asked.target_language, "targetLanguage")
    spoken = None
    if asked.source_language is not UNSET:
        spoken = language_of_tag(asked.source_language, "sourceLanguage")
        if spoken == target:
            raise ValidationFailed(
                "The recording is already in the target language.", param="targetLanguage"
            )
    return DubbingOrder(
        source_key=source.key,
        file_name=source.filename,
        target_language=target,
        source_language=spoken,
        voice=asked.voice or DEFAULT_VOICE,
        model=asked.model,
        translate_model=asked.translate_model,
        format=asked.format,
        allow_draft=asked.allow_draft,
    )
