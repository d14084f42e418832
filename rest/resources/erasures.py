"""Erasures as a resource: everything kept of a caller or of a call is erased on request."""

from collections.abc import Sequence
from typing import Annotated, Literal

from msgspec import Meta, Struct

from pipelines.jobs.erasure import submit_erasure
from pipelines.jobs.job import JobStatus
from rest.accounts.callers import MAX_CHARS, CallerIds, plain
from rest.http.errors import NotFound, ValidationFailed
from rest.http.fields import timestamp
from rest.http.operation import Answer, AnyOperation, AnyRequest, Operation, Request
from rest.http.pagination import Cursors, PageQuery
from store.database import Database
from store.ids import is_id
from store.tenants.calls import Calls
from store.tenants.erasures import Erasure, Erasures

PATH, CALL, TAG = "/api/erasures", "/api/calls/{id}", "Erasures"
READ, WRITE = "agents:read", "agents:write"
_ABOUT = (
    "Audio, event streams, turns with their texts, and the calls' records. A call in progress is"
    " erased when it has ended. Records of usage, which have no content, stay."
)


class ErasureCreate(Struct, rename="camel"):
    """What to erase: either every call of a ``caller``, as the client or the carrier named them
    (a telephone number in any spelling), or one call."""

    caller: Annotated[str, Meta(max_length=MAX_CHARS)] | None = None
    call_id: Annotated[str, Meta(max_length=64)] | None = None


class Erased(Struct):
    """How much has been erased so far."""

    calls: int
    turns: int
    recordings: int


class ErasureView(Struct, rename="camel", kw_only=True):
    """An erasure. Its record is kept, without the caller's name. ``job_id``: the job that does it,
    as long as there is one. ``requested_by``: a user or an API key."""

    id: str
    status: JobStatus
    of: Literal["call", "caller"]
    call_id: str | None
    job_id: str | None
    requested_by: str
    erased: Erased
    created_at: str
    finished_at: str | None


class ErasureResource:
    """Erasures of a workspace."""

    def __init__(self, database: Database, callers: CallerIds, cursors: Cursors) -> None:
        self._database = database
        self._erasures = Erasures(database)
        self._callers = callers
        self._cursors = cursors

    def operations(self) -> Sequence[AnyOperation]:
        """See Resource."""
        return [
            Operation(
                method="POST",
                path=PATH,
                tag=TAG,
                summary="Erase everything kept of a caller or a call",
                handler=self._create,
                body=ErasureCreate,
                data=ErasureView,
                scope=WRITE,
                status=202,
                outcome="Erasure accepted",
                idempotent=True,
                description=_ABOUT,
            ),
            Operation(
                method="GET",
                path=PATH,
                tag=TAG,
                summary="List erasures",
                handler=self._list,
                query=PageQuery,
                data=list[ErasureView],
                scope=READ,
            ),
            Operation(
                method="GET",
                path=f"{PATH}/{{id}}",
                tag=TAG,
                summary="Get an erasure",
                handler=self._get,
                data=ErasureView,
                scope=READ,
            ),
            Operation(
                method="DELETE",
                path=CALL,
                tag=TAG,
                summary="Erase everything kept of a call",
                handler=self._delete_call,
                data=ErasureView,
                scope=WRITE,
                status=202,
                outcome="Erasure accepted",
                description=_ABOUT,
            ),
        ]

    async def _create(self, request: Request[ErasureCreate, None]) -> Answer:
        name, call_id = plain(request.body.caller or ""), request.body.call_id
        if bool(name) == bool(call_id):
            raise ValidationFailed("Send either caller or callId.", param="caller")
        if call_id:
            if not is_id(call_id):
                raise _no_such_call("callId")
            return await self._of_call(request, call_id, "callId")
        caller = self._callers.of(request.workspace_id, name)
        erasure = await submit_erasure(
            self._database, request.workspace_id, requested_by=_who(request), caller=caller
        )
        return Answer(_view(erasure))

    async def _delete_call(self, request: Request[None, None]) -> Answer:
        call_id = request.path()
        if not is_id(call_id):
            raise _no_such_call()
        return await self._of_call(request, call_id)

    async def _of_call(self, request: AnyRequest, call_id: str, param: str | None = None) -> Answer:
        if await Calls(self._database).get(request.workspace_id, call_id) is None:
            raise _no_such_call(param)
        erasure = await submit_erasure(
            self._database, request.workspace_id, requested_by=_who(request), call_id=call_id
        )
        return Answer(_view(erasure))

    async def _list(self, request: Request[None, PageQuery]) -> Answer:
        return await self._cursors.page(
            request.query,
            lambda after, limit: self._erasures.list(
                request.workspace_id, limit=limit, after=after
            ),
            _view,
        )

    async def _get(self, request: Request[None, None]) -> Answer:
        return Answer(_view(await request.stored("erasure", self._erasures.get)))


def _view(erasure: Erasure) -> ErasureView:
    status = JobStatus(erasure.job_status or JobStatus.FAILED)
    return ErasureView(
        id=erasure.id,
        status=JobStatus.COMPLETED if erasure.finished_at else status,
        of="call" if erasure.call_id else "caller",
        call_id=erasure.call_id,
        job_id=erasure.job_id,
        requested_by=erasure.requested_by,
        erased=Erased(erasure.calls, erasure.turns, erasure.recordings),
        created_at=timestamp(erasure.created_at),
        finished_at=timestamp(erasure.finished_at) if erasure.finished_at else None,
    )


def _who(request: AnyRequest) -> str:
    caller = request.caller
    return caller.user_id or caller.key_id or caller.kind


def _no_such_call(param: str | None = None) -> NotFound:
    return NotFound("There is no such call.", param=param)
