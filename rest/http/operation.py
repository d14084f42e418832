"""Operations of the REST contract, each declared once: routes, checks and the served OpenAPI
document are all made from these declarations.

A resource is a class that gets its dependencies in ``__init__`` and declares what it answers in
``operations()``. A handler gets a ``Request`` that is already authenticated, scoped, decoded and
validated, and returns an ``Answer`` (or a stream that it has written itself).
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from aiohttp import web
from msgspec import Struct

from pipelines.jobs.job import ApiWarning
from rest.accounts.auth import Principal
from store.ids import is_id

from .body_checks import shown
from .errors import NotFound
from .uploads import FILE, TEXTS, Upload

EVENT_STREAM = "text/event-stream"
"""Media type of server-sent events."""
REQUEST_SECONDS = 30.0
"""Deadline of an operation that does not set one."""


Body = TypeVar("Body", bound=Struct | None)
Query = TypeVar("Query", bound=Struct | None)
ReadBody = TypeVar("ReadBody", bound=Struct | None, covariant=True)
ReadQuery = TypeVar("ReadQuery", bound=Struct | None, covariant=True)
Stored = TypeVar("Stored")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request(Generic[ReadBody, ReadQuery]):
    """One request, ready to be answered. ``body`` and ``query`` are instances of the structs that
    the operation declares (None where it declares none); ``upload`` is the file of an operation
    that takes one, deleted from disk once the request has been answered."""

    http: web.Request
    id: str
    principal: Principal | None
    body: ReadBody
    query: ReadQuery
    upload: Upload | None = None

    @property
    def workspace_id(self) -> str:
        """The caller's workspace: the first argument of every query on tenant data."""
        return self.caller.workspace_id

    @property
    def file(self) -> Upload:
        """The file of an operation that takes one; raises LookupError in others."""
        if self.upload is None:
            raise LookupError("the operation takes no file")
        return self.upload

    @property
    def caller(self) -> Principal:
        """The authenticated caller; raises LookupError in public operations, which have none."""
        if self.principal is None:
            raise LookupError("a public operation has no principal")
        return self.principal

    def path(self, name: str = "id") -> str:
        """A parameter of the path. Characters that cannot be stored are replaced: then it is not an
        id."""
        given: str = self.http.match_info[name]
        return given.replace("\0", "\ufffd").encode(errors="replace").decode()

    async def stored(
        self, noun: str, find: Callable[[str, str], Awaitable[Stored | None]]
    ) -> Stored:
        """What ``find`` has for the caller's workspace and the id in the path; raises NotFound
        where that is nothing. ``noun``: what the refusal calls it."""
        thing_id = self.path()
        found = await find(self.workspace_id, thing_id) if is_id(thing_id) else None
        if not found:
            raise NotFound(f"There is no such {noun}.")
        return found


@dataclass(frozen=True, slots=True)
class Answer:
    """``data`` goes into the envelope. ``next_cursor``/``has_more``: only for lists with pages.
    ``warnings`` go into ``meta``; those of a job that is shown are there already. ``call_id``: the
    call that it is about, with which it is erased where it is kept for repetitions."""

    data: Any
    next_cursor: str | None = None
    has_more: bool | None = None
    warnings: Sequence[ApiWarning] = ()
    headers: dict[str, str] = field(default_factory=dict)
    call_id: str | None = None


def unknown_value(name: str, value: str | None, known: Iterable[str]) -> Sequence[ApiWarning]:
    """A warning where a filter has a value that nothing can have."""
    listed = list(known)
    if value is None or value in listed:
        return ()
    message = f"Nothing has the {name} {shown(value)}: it is one of {', '.join(listed)}."
    return (ApiWarning("unknown_value", message, name),)


AnyRequest = Request[Struct | None, Struct | None]
"""A request of whichever operation, for what reads neither its body nor its query."""
Handler = Callable[[Request[Body, Query]], Awaitable[Answer | web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnyOperation:
    """One method of one path of the contract, whatever it reads: what routes and the served
    document are made from. Declare it as an ``Operation``.

    ``scope``: the API key scope that it needs (None: any credential will do). ``public``: no
    credential is needed. ``body``/``query``: the structs that are decoded and validated; unknown
    fields are ignored. ``upload``: takes multipart/form-data with a part ``file``, received before
    the handler is called (rest.http.uploads); ``body`` must be None then. ``data``: type of the
    answer's ``data``, for msgspec. ``media``: the answer's content type where it is not an
    envelope. ``idempotent``: honours ``Idempotency-Key``. ``deadline``: seconds; None: the handler
    has its own."""

    method: str
    path: str
    tag: str
    summary: str
    handler: Handler[Any, Any]
    data: Any = dict[str, Any]
    scope: str | None = None
    public: bool = False
    body: type[Any] | None = None
    query: type[Any] | None = None
    upload: bool = False
    media: str = "application/json"
    status: int = 200
    outcome: str = "OK"
    idempotent: bool = False
    deadline: float | None = REQUEST_SECONDS
    description: str = ""
    conflicts: bool = False
    """Whether 409 is among its answers."""
    form: tuple[str, ...] = ()
    """Text fields of an upload's form beyond the contract's."""
    unused_form: tuple[str, ...] = ()
    """The contract's fields that have no effect here."""

    @property
    def form_names(self) -> tuple[str, ...]:
        """The parts of an upload's form that have an effect."""
        names = (FILE, *TEXTS, *self.form)
        return tuple(name for name in names if name not in self.unused_form)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation(AnyOperation, Generic[Body, Query]):
    """An operation whose handler is given what it declares: a type checker compares them. (Where
    ``body`` or ``query`` is left out it cannot, and a test does.)"""

    handler: Handler[Body, Query]
    body: type[Body] | None = None
    query: type[Query] | None = None


class Resource(Protocol):
    """One noun of the contract."""

    def operations(self) -> Sequence[AnyOperation]:
        """The operations of the contract that it answers."""
        ...
