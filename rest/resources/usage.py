"""Usage as a resource: what a workspace was billed for, summed and listed."""

from collections.abc import Mapping, Sequence
from typing import Annotated

from msgspec import Meta, Struct

from pipelines.jobs.usage import AGENT
from rest.http.fields import ModelId, timestamp
from rest.http.operation import Answer, AnyOperation, Operation, Request, unknown_value
from rest.http.pagination import Cursors, PageQuery
from store.database import Database
from store.tenants.usage import UsageEvent, UsageEvents, UsageSum

READ = "usage:read"
TYPES = ("tts", "stt", "voice_clone", "translation", AGENT)
"""Types of billed units of work."""
MAX_DAYS, DEFAULT_DAYS = 365, 30


class BreakdownQuery(Struct):
    """How many days, in UTC, today's included."""

    days: Annotated[int, Meta(ge=1, le=MAX_DAYS)] = DEFAULT_DAYS


class EventsQuery(PageQuery):
    """What is listed. ``type`` is free text in the contract: an unknown one matches nothing,
    which a warning says."""

    type: Annotated[str, Meta(max_length=50)] | None = None
    model: ModelId | None = None


class SummaryView(Struct, rename="camel"):
    """The contract's UsageSummary. ``audio_seconds``: whole ones, of the exact sum."""

    tokens: int
    audio_seconds: int
    cost: float
    count: int


class BucketView(Struct, rename="camel"):
    """The contract's UsageBucket, and the audio."""

    count: int
    tokens: int
    audio_ms: int
    cost: float


class DayView(Struct, rename="camel"):
    """One day's bucket; ``day`` as ``2026-11-01``, in UTC."""

    day: str
    count: int
    tokens: int
    audio_ms: int
    cost: float


class BreakdownView(Struct, rename="camel"):
    """The contract's UsageBreakdown: the same events in three ways."""

    by_model: dict[str, BucketView]
    by_type: dict[str, BucketView]
    by_day: list[DayView]


class EventView(Struct, rename="camel"):
    """The contract's UsageEvent, and the audio."""

    id: str
    type: str
    model: str
    tokens: int
    audio_ms: int
    cost: float
    created_at: str


class UsageResource:
    """The contract's tag Usage."""

    def __init__(self, database: Database, cursors: Cursors) -> None:
        self._events = UsageEvents(database)
        self._cursors = cursors

    def operations(self) -> Sequence[AnyOperation]:
        """See Resource."""
        return [
            Operation(
                method="GET",
                path="/api/usage",
                tag="Usage",
                summary="Usage totals",
                handler=self._total,
                data=SummaryView,
                scope=READ,
            ),
            Operation(
                method="GET",
                path="/api/usage/breakdown",
                tag="Usage",
                summary="Usage breakdown by model/type/day",
                handler=self._breakdown,
                data=BreakdownView,
                scope=READ,
                query=BreakdownQuery,
                description=(
                    f"Of the last `days` days in UTC, from 1 to {MAX_DAYS}, today's"
                    " included; days without usage are listed too, the oldest day first."
                ),
            ),
            Operation(
                method="GET",
                path="/api/usage/events",
                tag="Usage",
                summary="Usage events (paginated)",
                handler=self._list,
                data=list[EventView],
                scope=READ,
                query=EventsQuery,
            ),
        ]

    async def _total(self, request: Request[None, None]) -> Answer:
        total = await self._events.total(request.workspace_id)
        return Answer(
            SummaryView(
                tokens=total.tokens,
                audio_seconds=total.audio_ms // 1000,
                cost=float(total.cost),
                count=total.count,
            )
        )

    async def _breakdown(self, request: Request[None, BreakdownQuery]) -> Answer:
        query = request.query
        found = await self._events.breakdown(request.workspace_id, query.days)
        days = [
            DayView(
                day=day.isoformat(),
                count=one.count,
                tokens=one.tokens,
                audio_ms=one.audio_ms,
                cost=float(one.cost),
            )
            for day, one in found.by_day.items()
        ]
        return Answer(BreakdownView(_buckets(found.by_model), _buckets(found.by_type), days))

    async def _list(self, request: Request[None, EventsQuery]) -> Answer:
        query = request.query
        return await self._cursors.page(
            query,
            lambda after, limit: self._events.list(
                request.workspace_id, type=query.type, model=query.model, limit=limit, after=after
            ),
            _shown,
            warnings=unknown_value("type", query.type, TYPES),
        )


def _buckets(sums: Mapping[str, UsageSum]) -> dict[str, BucketView]:
    return {
        name: BucketView(
            count=one.count,
            tokens=one.tokens,
            audio_ms=one.audio_ms,
            cost=float(one.cost),
        )
        for name, one in sums.items()
    }


def _shown(event: UsageEvent) -> EventView:
    return EventView(
        id=event.id,
        type=event.type,
        model=event.model,
        tokens=event.tokens,
        audio_ms=event.audio_ms,
        cost=float(event.cost),
        created_at=timestamp(event.created_at),
    )
