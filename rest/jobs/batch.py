"""Batches as a resource: many texts at once, each a job of its own."""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from pipelines.jobs.artifacts import Artifacts
from pipelines.jobs.job import ApiWarning, JobType
from pipelines.jobs.queue import REFUSED, JobQueue, submit_batch, tally
from pipelines.speech.job import EXPRESSIVE, STABLE
from rest.http.body_checks import unknown_in
from rest.http.decoding import part, refusal, warn
from rest.http.errors import (
    ApiError,
    Fault,
    NoSuchModel,
    NotFound,
    ValidationFailed,
    WrongState,
    faults_of,
)
from rest.http.operation import Answer, AnyOperation, AnyRequest, Operation, Request
from store.database import Database
from store.tenants.jobs import Job, Jobs

from .kinds import JobViews, KindJobs, look_up, submission
from .speech_requests import BatchCreate, BatchItem, SpeechChecks, TtsCreate

READ, WRITE = "batch:read", "batch:write"
_MAX_INDEX_DIGITS = 3


class RefusedItem(Struct):
    """An item that is not run, and why."""

    index: int
    errors: list[Fault]


class BatchRef(Struct, rename="camel"):
    """The contract's JobRef, with how many items run and which were refused (``partial``)."""

    job_id: str
    status: str
    accepted: int
    refused: list[RefusedItem] = []


class BatchResource:
    """The contract's tag Batch."""

    def __init__(
        self, database: Database, checks: SpeechChecks, artifacts: Artifacts, views: JobViews
    ) -> None:
        self._database = database
        self._batches = KindJobs(database, views, JobType.BATCH, "batch")
        self._jobs = Jobs(database)
        self._queue = JobQueue(database)
        self._checks = checks
        self._artifacts = artifacts
        self._views = views

    def operations(self) -> Sequence[AnyOperation]:
        """See Resource."""
        return [
            submission(
                path="/api/batch",
                tag="Batch",
                summary="Batch TTS fan-out (async job)",
                handler=self._create,
                data=BatchRef,
                scope=WRITE,
                body=BatchCreate,
                description=(
                    "All that is wrong is reported at once. With `partial: true` what can"
                    " be run is run, and `refused` lists the rest."
                ),
            ),
            look_up(
                path="/api/batch/{id}",
                tag="Batch",
                summary="Get a batch job + per-item results",
                handler=self._get,
                scope=READ,
                type=JobType.BATCH,
            ),
            Operation(
                method="DELETE",
                path="/api/batch/{id}/items/{index}",
                tag="Batch",
                summary="Delete one clip from a batch (audio + generation doc cascade)",
                handler=self._delete_item,
                scope=WRITE,
                conflicts=True,
            ),
        ]

    async def _create(self, request: Request[BatchCreate, None]) -> Answer:
        asked = request.body
        if asked.model not in (STABLE, EXPRESSIVE):
            raise NoSuchModel(f"model is {STABLE} or {EXPRESSIVE}.", param="model")
        orders: dict[int, dict[str, Any]] = {}
        refused: dict[int, list[Fault]] = {}
        errors: list[ApiError] = []
        for index, item in enumerate(asked.items):
            try:
                orders[index] = await self._order(request, asked, item, f"items[{index}]")
            except ApiError as error:
                errors.append(error)
                refused[index] = faults_of(error)
        if errors and not (asked.partial and orders):
            raise _all_of(errors)
        shown = [RefusedItem(index, faults) for index, faults in refused.items()]
        head: dict[str, Any] = {"model": asked.model, "items": len(asked.items)}
        if shown:
            head[REFUSED] = msgspec.to_builtins(shown)
        batch = await submit_batch(
            self._database, request.workspace_id, head, list(orders.values()), list(orders)
        )
        warnings = []
        if shown:
            message = f"{len(shown)} of {len(asked.items)} items are not run: see data.refused."
            warnings.append(ApiWarning("items_refused", message, "items"))
        return Answer(
            BatchRef(
                job_id=batch.id,
                status=batch.status,
                accepted=len(orders),
                refused=shown,
            ),
            warnings=warnings,
        )

    async def _order(
        self, request: AnyRequest, asked: BatchCreate, sent: Any, where: str
    ) -> dict[str, Any]:
        """The order of one item; raises ApiError."""
        item = part(sent, BatchItem, where)
        warn(request.http, unknown_in(sent, BatchItem, where))
        single = TtsCreate(
            model=asked.model,  # type: ignore[arg-type]  # _create has checked it
            input=item.input,
            voice=item.voice or asked.voice,
            language=asked.language,
            format=asked.format,
            polish=asked.polish,
        )
        order = await self._checks.order(request.workspace_id, single, f"{where}.")
        plain: dict[str, Any] = msgspec.to_builtins(order)
        return plain

    async def _get(self, request: Request[None, None]) -> Answer:
        batch = await self._batches.get(request)
        items = await self._jobs.children(request.workspace_id, batch.id)
        view = self._views.view(request, batch)
        shown = [self._item(request, item) for item in items]
        for refused in batch.input.get(REFUSED, ()):
            shown.append({**refused, "status": REFUSED, "jobId": None, "progress": 0})
        shown.sort(key=lambda item: item["index"])
        view.output = {**tally(items, batch.input), "items": shown}
        return Answer(view)

    def _item(self, request: AnyRequest, item: Job) -> dict[str, Any]:
        shown = self._views.view(request, item)
        return {
            "index": item.item_index,
            "jobId": item.id,
            "status": item.status,
            "progress": item.progress,
            "error": item.error,
            "warnings": shown.warnings,
            **(shown.output or {}),
        }

    async def _delete_item(self, request: Request[None, None]) -> Answer:
        batch = await self._batches.get(request)
        index = request.path("index")
        if not (index.isascii() and index.isdigit() and len(index) <= _MAX_INDEX_DIGITS):
            raise ValidationFailed("index is a whole number from 0.", param="index")
        workspace_id = request.workspace_id
        items = await self._jobs.children(workspace_id, batch.id)
        item = next((item for item in items if item.item_index == int(index)), None)
        if item is None:
            raise NotFound("The batch has no such item.")
        if item.active:
            await self._queue.cancel(workspace_id, item.id)
        objects = await self._artifacts.delete_job(workspace_id, item.id)
        if objects is None:
            raise WrongState(
                "The item is being spoken and was cancelled: try again in a moment.",
                reason="item_active",
            )
        return Answer({"deleted": True, "index": int(index), "deletedObjects": objects})


def _all_of(errors: list[ApiError]) -> ApiError:
    """One refusal with the faults of all items, each once; of their class, if they share one."""
    kinds = {type(error) for error in errors}
    faults = list(dict.fromkeys(fault for error in errors for fault in faults_of(error)))
    whole = refusal(faults, "items")
    if len(kinds) > 1:
        return whole
    (kind,) = kinds
    return kind(whole.message, param=whole.param, reason=whole.reason, faults=whole.faults)
