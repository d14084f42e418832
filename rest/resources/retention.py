"""A workspace's retention as a resource: how long its calls, recordings and jobs are kept."""

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, Struct

from rest.http.errors import ValidationFailed
from rest.http.operation import Answer, AnyOperation, Operation, Request
from store.database import Database
from store.tenants.retention import Periods, Retention

PATH, TAG = "/api/workspace/retention", "Retention"
READ, WRITE = "agents:read", "agents:write"
MAX_DAYS = 36_500

Days = Annotated[int, Meta(ge=1, le=MAX_DAYS)]


class RetentionUpdate(Struct, rename="camel"):
    """How many days things are kept; null, or left out: as long as the server keeps them.

    ``calls_days``: calls with their turns, from their end. ``recordings_days``: the audio of turns,
    and the files of jobs, their sources included. ``jobs_days``: finished jobs with everything they
    made."""

    calls_days: Days | None = None
    recordings_days: Days | None = None
    jobs_days: Days | None = None


class RetentionView(RetentionUpdate, rename="camel", kw_only=True):
    """The periods of a workspace. ``server_days``: how long the server keeps what has no shorter
    period; null: for ever."""

    server_days: int | None


class RetentionResource:
    """The retention of a workspace. ``server_days``: the longest period; None: any."""

    def __init__(self, database: Database, server_days: int | None) -> None:
        self._retention = Retention(database)
        self._server_days = server_days

    def operations(self) -> Sequence[AnyOperation]:
        """See Resource."""
        about = "A cleanup deletes once a day what is older. Records of usage are kept."
        return [
            Operation(
                method="GET",
                path=PATH,
                tag=TAG,
                summary="Get the workspace's retention",
                handler=self._get,
                data=RetentionView,
                scope=READ,
            ),
            Operation(
                method="PUT",
                path=PATH,
                tag=TAG,
                summary="Set the workspace's retention",
                handler=self._put,
                data=RetentionView,
                scope=WRITE,
                body=RetentionUpdate,
                description=about,
            ),
        ]

    async def _get(self, request: Request[None, None]) -> Answer:
        return Answer(self._view(await self._retention.get(request.workspace_id)))

    async def _put(self, request: Request[RetentionUpdate, None]) -> Answer:
        asked = request.body
        for param, days in (
            ("callsDays", asked.calls_days),
            ("recordingsDays", asked.recordings_days),
            ("jobsDays", asked.jobs_days),
        ):
            if days is not None and self._server_days is not None and days > self._server_days:
                raise ValidationFailed(
                    f"This server keeps nothing longer than {self._server_days} days: send at most "
                    "that, or null.",
                    param=param,
                    reason="longer_than_the_server",
                )
        periods = Periods(asked.calls_days, asked.recordings_days, asked.jobs_days)
        await self._retention.put(request.workspace_id, periods)
        return Answer(self._view(periods))

    def _view(self, periods: Periods) -> RetentionView:
        return RetentionView(
            calls_days=periods.calls,
            recordings_days=periods.recordings,
            jobs_days=periods.jobs,
            server_days=self._server_days,
        )
