"""Voices as a resource: the workspace's own, those built into engines, and cloning.

A voice is cloned only with the consent of the person whose voice it is: who confirmed it, and when,
is stored with the voice.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType, field

from pipelines.clone import CloneOrder
from pipelines.engines.base import ModelUnavailable
from pipelines.engines.catalogue import Catalogue
from pipelines.engines.engine import Role
from pipelines.engines.jobs import VoiceInfo
from pipelines.jobs.artifacts import Artifacts
from pipelines.jobs.job import JobType
from pipelines.speech.job import EXPRESSIVE, STABLE
from rest.accounts.auth import Principal
from rest.http.errors import ConsentMissing, NoSuchModel, NotFound
from rest.http.fields import (
    LanguageTag,
    ModelId,
    Name,
    StorageKey,
    language_of_tag,
    timestamp,
)
from rest.http.operation import Answer, AnyOperation, AnyRequest, Operation, Request, unknown_value
from rest.http.pagination import Cursors, PageQuery
from rest.jobs.kinds import JobViews, KindJobs, submission
from rest.jobs.recordings import KIND, SampleView, VoiceSamples
from rest.openapi.schemas import REQUIRED
from store.database import Database
from store.tenants.objects import StoredObject
from store.tenants.voices import Voice, Voices

READ, WRITE = "voices:read", "voices:write"
NOUN = "voice"
UPLOAD_SECONDS = 1800.0
"""For the whole request; the upload itself has its deadlines in rest.http.uploads."""
DEFAULT_LANGUAGE = "en"
SOURCES = ("cloned", "imported")


class VoiceClone(Struct, kw_only=True, rename="camel"):
    """The contract's VoiceClone. ``language`` omitted: the sample's, else English."""

    name: Name
    sample_storage_key: StorageKey
    language: LanguageTag | UnsetType = UNSET
    # anything but true, even its absence, has a refusal of its own, so any value is accepted here
    consent: Annotated[
        Any,
        Meta(
            description="That the person whose voice it is agreed.",
            extra_json_schema={"type": "boolean", "enum": [True], REQUIRED: True},
        ),
    ] = UNSET


class VoicesQuery(PageQuery):
    """What is listed. ``source``: cloned or imported; another one matches nothing,
    which a warning says."""

    source: Annotated[str, Meta(max_length=50)] | None = None


class CatalogQuery(Struct):
    """Whose voices are shown; omitted: those of every model."""

    model: ModelId | None = None


class VoiceView(Struct, rename="camel", kw_only=True):
    """The contract's Voice, and more. ``preview_url``: signed for a short while; ``model``: what
    to speak with it; ``similarity``: cosine to the sample, as a speaker encoder hears it."""

    id: str
    name: str
    provider_voice_id: str
    source_type: str
    preview_url: str | UnsetType = UNSET
    language: str | None = None
    model: str
    similarity: float | None = None
    created_at: str


class CatalogVoice(Struct, rename="camel", kw_only=True):
    """A builtin voice. ``quality``: good, weak or robotic, as measured for its language;
    ``models``: those that speak with it now."""

    id: str
    name: str
    language: str
    engine: str
    gender: str | None
    quality: str
    models: list[str]


class CatalogView(Struct):
    """The builtin voices of ``model``, or of every model where none was named."""

    model: str | None
    voices: list[CatalogVoice]


class VoiceDeleted(Struct, rename="camel"):
    """A voice that is gone, and what went with it. A sample that other voices were made after
    stays."""

    id: str
    sample_deleted: bool
    preview_deleted: bool
    deleted: bool = field(default=True)


class VoiceResource:
    """The contract's tag Voices."""

    def __init__(
        self,
        database: Database,
        engines: Catalogue,
        artifacts: Artifacts,
        views: JobViews,
        cursors: Cursors,
        live: Catalogue,
    ) -> None:
        self._voices = Voices(database)
        self._jobs = KindJobs(database, views, JobType.VOICE_CLONE, "cloning job")
        self._engines = engines
        self._artifacts = artifacts
        self._samples = VoiceSamples(artifacts, live)
        self._views = views
        self._cursors = cursors

    def operations(self) -> Sequence[AnyOperation]:
        """See Resource."""
        path, one, tag = "/api/voices", "/api/voices/{id}", "Voices"
        return [
            Operation(
                method="GET",
                path=path,
                tag=tag,
                summary="List workspace voices",
                handler=self._list,
                data=list[VoiceView],
                scope=READ,
                query=VoicesQuery,
            ),
            Operation(
                method="GET",
                path=f"{path}/catalog",
                tag=tag,
                summary="Live builtin voice catalog",
                handler=self._catalog,
                data=CatalogView,
                scope=READ,
                query=CatalogQuery,
            ),
            Operation(
                method="POST",
                path=f"{path}/samples",
                tag=tag,
                summary="Upload a clone reference clip (multipart)",
                handler=self._take_in,
                data=SampleView,
                scope=WRITE,
                upload=True,
                idempotent=True,
                deadline=UPLOAD_SECONDS,
                description=(
                    "From 2.5 seconds to 5 minutes, with at least 2 seconds of speech"
                    " that is neither distorted nor drowned in noise."
                ),
            ),
            submission(
                path=f"{path}/clone",
                tag=tag,
                summary="Create a cloned voice (consent required, async)",
                handler=self._clone,
                scope=WRITE,
                body=VoiceClone,
                description=(
                    "The job's output has `voiceId`, and how like the sample the voice"
                    " is (`similarity`) beside how like the default voice was (`baseSimilarity`)."
                ),
            ),
            Operation(
                method="GET",
                path=one,
                tag=tag,
                summary="Get a voice",
                handler=self._get,
                data=VoiceView,
                scope=READ,
            ),
            Operation(
                method="DELETE",
                path=one,
                tag=tag,
                summary="Delete a voice",
                handler=self._delete,
                data=VoiceDeleted,
                scope=WRITE,
                outcome="Deleted",
            ),
        ]

    # ------------------------------------------------------------------ the workspace's voices

    async def _list(self, request: Request[None, VoicesQuery]) -> Answer:
        source = request.query.source
        return await self._cursors.page(
            request.query,
            lambda after, limit: self._voices.list(
                request.workspace_id, source=source, limit=limit, after=after
            ),
            lambda voice: self._view(request, voice),
            warnings=unknown_value("source", source, SOURCES),
        )

    async def _get(self, request: Request[None, None]) -> Answer:
        return Answer(self._view(request, await request.stored(NOUN, self._voices.get)))

    async def _delete(self, request: Request[None, None]) -> Answer:
        workspace_id = request.workspace_id
        voice = await request.stored(NOUN, self._voices.delete)
        preview = sample = False
        if voice.preview_key is not None:
            preview = await self._artifacts.delete(workspace_id, voice.preview_key)
        key = voice.sample_key
        if key is not None and not await self._voices.needs_sample(workspace_id, key):
            sample = await self._artifacts.delete(workspace_id, key)
        return Answer(VoiceDeleted(voice.id, sample_deleted=sample, preview_deleted=preview))

    def _view(self, request: AnyRequest, voice: Voice) -> VoiceView:
        key = voice.preview_key
        return VoiceView(
            id=voice.id,
            name=voice.name,
            provider_voice_id=voice.provider_voice_id,
            source_type=voice.source_type,
            preview_url=self._views.url(request, key) if key is not None else UNSET,
            language=voice.language,
            model=voice.model,
            similarity=None if voice.similarity is None else round(voice.similarity, 4),
            created_at=timestamp(voice.created_at),
        )

    # ------------------------------------------------------------------ the engines' voices

    async def _catalog(self, request: Request[None, CatalogQuery]) -> Answer:
        query = request.query
        named = query.model
        models = [named] if named is not None else self._models()
        found: dict[tuple[str, str], tuple[VoiceInfo, list[str]]] = {}
        for model in models:
            for info in self._engines.voices(model):
                found.setdefault((info.engine, info.id), (info, []))[1].append(model)
        if named is not None and not found:
            raise NoSuchModel(
                "No engine that is live speaks for this model: see GET /api/models.", param="model"
            )
        voices = [
            CatalogVoice(
                id=info.id,
                name=info.name,
                language=info.language,
                engine=info.engine,
                gender=info.gender,
                quality=info.quality,
                models=serving,
            )
            for info, serving in found.values()
        ]
        return Answer(CatalogView(named, voices))

    def _models(self) -> list[str]:
        """Every model that speaks, once."""
        speaking = [
            status.model_id
            for status in self._engines.statuses()
            if status.role is Role.SPEECH and status.live
        ]
        return list(dict.fromkeys([STABLE, EXPRESSIVE, *speaking]))

    # ------------------------------------------------------------------ cloning

    async def _take_in(self, request: Request[None, None]) -> Answer:
        return Answer(await self._samples.take_in(request.workspace_id, request.file))

    async def _clone(self, request: Request[VoiceClone, None]) -> Answer:
        asked = request.body
        if asked.consent is not True:
            raise ConsentMissing(
                "A voice is cloned only with the consent of the person whose voice it is: send"
                " consent: true if they gave it.",
                param="consent",
            )
        workspace_id, key = request.workspace_id, asked.sample_storage_key
        sample = await self._artifacts.find(workspace_id, key)
        if sample is None or sample.kind != KIND:
            raise NotFound("There is no such sample.", param="sampleStorageKey")
        order = CloneOrder(
            name=asked.name,
            sample_key=key,
            language=self._language(asked.language or None, sample),
            consent_by=_who(request.caller),
            consent_at=datetime.now(UTC),
        )
        return await self._jobs.submit(workspace_id, order)

    def _language(self, asked: str | None, sample: StoredObject) -> str:
        """The voice's language; raises ValidationFailed and NoSuchModel."""
        tag = asked or str(sample.details.get("language") or DEFAULT_LANGUAGE)
        language = language_of_tag(tag)
        try:
            self._engines.check_cloning()
        except ModelUnavailable as error:
            raise NoSuchModel(str(error), param="model") from error
        statuses = self._engines.statuses()
        cloners = [status for status in statuses if status.role is Role.CLONING and status.live]
        spoken = {name for cloner in cloners for name in cloner.languages}
        if spoken and language not in spoken:
            raise NoSuchModel(
                f"Voices are cloned in these languages now: {', '.join(sorted(spoken))}.",
                param="language",
            )
        return tag


def _who(caller: Principal) -> str:
    """The user or the API key that is asking."""
    return caller.user_id or caller.key_id or caller.kind
