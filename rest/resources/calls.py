"""Calls as a resource: every call of a workspace, in progress or over, and what was recorded of it.

Rules
- A list shows a call from its beginning; what it does while it runs is at ``/api/sessions/{id}``.
- What was said is in the turns of every call. Audio, event logs and the timeline exist only of
  calls whose agent records, and appear when a part of the call has ended.
- A recording is *complete* if every part of the call is stored and nothing is missing in any. One
  whose node died and has not come back is not, nor is one that is still being uploaded.
- A search finds words as they were transcribed and answered, in any language and without grammar;
  the last word is the beginning of one.
- Calls are deleted by an erasure (``erasures``).
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web
from msgspec import Meta, Struct

from pipelines.jobs.job import ApiWarning
from rest.agents.turns import TurnView, shown_turn
from rest.http.errors import NotFound, ValidationFailed
from rest.http.fields import Moment, parse_moment, timestamp
from rest.http.operation import (
    REQUEST_SECONDS,
    Answer,
    AnyOperation,
    AnyRequest,
    Operation,
    Request,
)
from rest.http.pagination import Cursors, PageQuery
from rest.http.waiting import in_time
from rest.jobs.kinds import JobViews
from sessions.recording.parts import AGENT_TRACK, CALLER_TRACK, EVENTS
from store.database import Database
from store.ids import is_id
from store.objects import ObjectStore
from store.tenants.calls import CallFilters, Calls, ListedCall, Turns
from store.tenants.objects import Objects
from store.tenants.recordings import RecordingPart, Recordings

from .call_export import NDJSON, ZIP, CallExport, ExportedCall
from .call_timeline import TimelineSource, TimelineView, event_log_key, no_recording

PATH, TAG, NOUN = "/api/calls", "Calls", "call"
READ = "agents:read"
MAX_TURNS = 1_000
"""Turns that are shown of a call, the first ones; a warning says where there are more."""


class CallsQuery(PageQuery, kw_only=True):
    """Which calls to list. ``from`` and ``to``: when they began; ``recorded``: whether anything was
    recorded of them; ``q``: words that were said or answered, all in one turn."""

    agent_id: Annotated[str, Meta(max_length=64)] | None = msgspec.field(
        default=None, name="agentId"
    )
    channel: Annotated[str, Meta(max_length=64)] | None = None
    since: Moment | None = msgspec.field(default=None, name="from")
    until: Moment | None = msgspec.field(default=None, name="to")
    min_seconds: Annotated[int, Meta(ge=0, le=1_000_000)] = msgspec.field(
        default=0, name="minSeconds"
    )
    end_reason: Annotated[str, Meta(max_length=64)] | None = msgspec.field(
        default=None, name="endReason"
    )
    recorded: Literal["true", "false"] | None = None
    q: Annotated[str, Meta(max_length=200)] | None = None


class RecordingView(Struct, rename="camel"):
    """What was recorded. ``consent``: the agent announced it first; ``expires_at``: when it is
    deleted at the latest, as the agent wanted; null: as the workspace's retention has it."""

    state: Literal["in_progress", "complete", "incomplete"]
    consent: bool
    expires_at: str | None


class CallView(Struct, rename="camel", kw_only=True):
    """A call. ``excerpt``: what was said first, or in the first turn that a search has found.
    ``language``: the one that it began in. ``agent_version``: the one with which it began; null: it
    was before there were versions. ``duration_ms``: so far, of one in progress."""

    id: str
    agent_id: str | None
    agent_name: str | None
    agent_version: int | None
    channel: str
    status: Literal["live", "ended"]
    started_at: str
    ended_at: str | None
    duration_ms: int
    end_reason: str | None
    language: str | None
    turn_count: int
    excerpt: str | None
    recording: RecordingView | None


class PartView(Struct, rename="camel", kw_only=True):
    """A part of a recording; a call that was resumed has several. ``begins_ms``: where both its
    tracks begin in the call. The URLs are signed, and null where nothing is stored."""

    number: int
    begins_ms: int
    duration_ms: int | None
    complete: bool
    caller_url: str | None
    agent_url: str | None
    events_url: str | None


class CallDetailView(CallView, rename="camel", kw_only=True):
    """A call with its turns in order, and the parts of its recording."""

    turns: list[TurnView]
    parts: list[PartView]


class CallResource:
    """Calls of a workspace, in progress and over."""

    def __init__(
        self, database: Database, store: ObjectStore, views: JobViews, cursors: Cursors
    ) -> None:
        self._calls = Calls(database)
        self._turns = Turns(database)
        self._recordings = Recordings(database)
        self._objects = Objects(database)
        self._timelines = TimelineSource(store)
        self._export = CallExport(store)
        self._views = views
        self._cursors = cursors

    def operations(self) -> Sequence[AnyOperation]:
        """See Resource."""
        one = f"{PATH}/{{id}}"
        return [
            Operation(
                method="GET",
                path=PATH,
                tag=TAG,
                summary="List calls, or search what was said in them",
                handler=self._list,
                data=list[CallView],
                scope=READ,
                query=CallsQuery,
                description="Newest first, with those in progress.",
            ),
            Operation(
                method="GET",
                path=one,
                tag=TAG,
                summary="Get a call with its turns and recordings",
                handler=self._get,
                data=CallDetailView,
                scope=READ,
            ),
            Operation(
                method="GET",
                path=f"{one}/timeline",
                tag=TAG,
                summary="Get the timeline of a recorded call",
                handler=self._timeline,
                data=TimelineView,
                scope=READ,
                description="Who spoke when, and what the agent did meanwhile, on one axis.",
            ),
            Operation(
                method="GET",
                path=f"{one}/events",
                tag=TAG,
                summary="Download the event log of a recorded call (JSON lines)",
                handler=self._events,
                scope=READ,
                media=NDJSON,
                deadline=None,
                outcome="The logs of the call's parts, one behind the other",
                description="What `blab replay` reads, part by part.",
            ),
            Operation(
                method="GET",
                path=f"{one}/export",
                tag=TAG,
                summary="Download a call (ZIP)",
                handler=self._download,
                scope=READ,
                media=ZIP,
                deadline=None,
                outcome="Transcript as text and JSON, timeline, audio and event logs",
            ),
        ]

    # ------------------------------------------------------------------ shown

    async def _list(self, request: Request[None, CallsQuery]) -> Answer:
        filters = _filters(request.query)
        workspace_id = request.workspace_id
        parts: dict[str, list[RecordingPart]] = {}

        async def fetch(before: str | None, limit: int) -> Sequence[ListedCall]:
            found = await self._calls.find(workspace_id, filters, limit=limit, before=before)
            ids = [call.id for call in found]
            parts.update(await self._recordings.of_calls(workspace_id, ids))
            return found

        return await self._cursors.page(
            request.query, fetch, lambda call: CallView(**_shown(call, parts.get(call.id, ())))
        )

    async def _get(self, request: Request[None, None]) -> Answer:
        call = await request.stored(NOUN, self._calls.get_listed)
        parts = await self._parts(request, call.id)
        warnings = []
        if call.turns > MAX_TURNS:
            message = f"The call has {call.turns} turns, of which the first {MAX_TURNS} are shown."
            warnings.append(ApiWarning("turns_left_out", message, "turns"))
        return Answer(await self._detail(request, call, parts), warnings=warnings)

    async def _detail(
        self, request: AnyRequest, call: ListedCall, parts: Sequence[RecordingPart]
    ) -> CallDetailView:
        workspace_id = request.workspace_id
        turns = await self._turns.list_of_call(workspace_id, call.id, limit=MAX_TURNS)
        known = {one.key for one in await self._objects.of_call(workspace_id, call.id)}

        def url(number: int, kind: str) -> str | None:
            key = f"{workspace_id}/{call.id}/part{number}-{kind}"
            return self._views.url(request, key) if key in known else None

        return CallDetailView(
            **_shown(call, parts),
            turns=[
                shown_turn(
                    turn, self._views.url(request, turn.audio_key) if turn.audio_key else None
                )
                for turn in turns
            ],
            parts=[
                PartView(
                    number=part.number,
                    begins_ms=part.begins_ms,
                    duration_ms=part.duration_ms,
                    complete=part.complete,
                    caller_url=url(part.number, CALLER_TRACK),
                    agent_url=url(part.number, AGENT_TRACK),
                    events_url=url(part.number, EVENTS),
                )
                for part in parts
            ],
        )

    async def _timeline(self, request: Request[None, None]) -> Answer:
        call_id, parts = await self._recorded(request)
        timeline = await self._timelines.read(request.workspace_id, call_id, parts)
        return Answer(msgspec.Raw(await asyncio.to_thread(msgspec.json.encode, timeline)))

    # ------------------------------------------------------------------ downloads

    async def _events(self, request: AnyRequest) -> web.StreamResponse:
        call_id, parts = await self._recorded(request)
        keys = [event_log_key(request.workspace_id, call_id, part.number) for part in parts]
        return await self._export.events(request.http, keys)

    async def _download(self, request: AnyRequest) -> web.StreamResponse:
        call = await request.stored(NOUN, self._calls.get_listed)
        parts = await self._parts(request, call.id)
        detail = await self._detail(request, call, parts)
        timeline = None
        if any(part.stored for part in parts):
            with suppress(NotFound):  # its log is gone, or another version's
                async with in_time(REQUEST_SECONDS):
                    timeline = await self._timelines.read(request.workspace_id, call.id, parts)
        files = await self._objects.of_call(request.workspace_id, call.id)
        exported = ExportedCall(call.id, detail, timeline, files)
        return await self._export.zip(request.http, exported)

    # ------------------------------------------------------------------ within

    async def _recorded(self, request: AnyRequest) -> tuple[str, list[RecordingPart]]:
        """The call, and the parts of it that are stored; raises NotFound where there is none."""
        call_id = request.path()
        found = None
        if is_id(call_id):
            found = await self._calls.get(request.workspace_id, call_id)
        if found is None:
            raise NotFound(f"There is no such {NOUN}.")
        parts = [part for part in await self._parts(request, call_id) if part.stored]
        if not parts:
            raise no_recording()
        return call_id, parts

    async def _parts(self, request: AnyRequest, call_id: str) -> list[RecordingPart]:
        found = await self._recordings.of_calls(request.workspace_id, [call_id])
        return found.get(call_id, [])


def _shown(call: ListedCall, parts: Sequence[RecordingPart]) -> dict[str, Any]:
    """The fields of a CallView."""
    ended = call.ended_at
    lasted = (ended or datetime.now(UTC)) - call.started_at
    return {
        "id": call.id,
        "agent_id": call.agent_id,
        "agent_name": call.agent_name,
        "agent_version": None if call.agent_id is None else call.agent_version,
        "channel": call.channel,
        "status": "live" if ended is None else "ended",
        "started_at": timestamp(call.started_at),
        "ended_at": None if ended is None else timestamp(ended),
        "duration_ms": max(0, round(lasted.total_seconds() * 1000)),
        "end_reason": call.end_reason,
        "language": call.config.get("language"),
        "turn_count": call.turns,
        "excerpt": call.excerpt or None,
        "recording": _recording(call, parts),
    }


def _recording(call: ListedCall, parts: Sequence[RecordingPart]) -> RecordingView | None:
    if not parts:
        return None
    whole = all(part.stored and part.complete for part in parts)
    state: Literal["in_progress", "complete", "incomplete"] = "complete" if whole else "incomplete"
    if call.ended_at is None:
        state = "in_progress"
    expiries = [part.expires_at for part in parts if part.expires_at is not None]
    wanted = call.config.get("recording") or {}
    return RecordingView(
        state, bool(wanted.get("consent")), timestamp(min(expiries)) if expiries else None
    )


def _filters(query: CallsQuery) -> CallFilters:
    return CallFilters(
        agent_id=query.agent_id or None,
        channel=query.channel or None,
        since=_moment(query.since, "from"),
        until=_moment(query.until, "to"),
        min_seconds=query.min_seconds or None,
        end_reason=query.end_reason or None,
        recorded=None if query.recorded is None else query.recorded == "true",
        words=query.q or None,
    )


def _moment(text: str | None, param: str) -> datetime | None:
    if not text:
        return None
    try:
        return parse_moment(text)
    except ValueError as error:
        raise ValidationFailed(f"{param}: {error}.", param=param) from error
