"""A workspace's retention over HTTP; what it does is in tests/pipelines/jobs/test_cleanup.py."""

import pytest

from rest.resources.retention import PATH, READ, WRITE, RetentionResource
from store.database import Database
from tests.support.pipelines.job_support import new_workspace
from tests.support.rest.resource_app import ask, serving

pytestmark = pytest.mark.slow
UNSET = {"callsDays": None, "recordingsDays": None, "jobsDays": None}


async def test_periods_are_set_and_unset(database: Database) -> None:
    ours = await new_workspace(database)
    theirs = await new_workspace(database, "theirs@example.org")
    async with serving(RetentionResource(database, None), ours, [READ, WRITE]) as client:
        assert await ask(client, "GET", PATH) == (200, {**UNSET, "serverDays": None})
        chosen = {"callsDays": 30, "recordingsDays": 7}
        expected = {**UNSET, **chosen, "serverDays": None}
        assert await ask(client, "PUT", PATH, chosen) == (200, expected)
        assert await ask(client, "GET", PATH) == (200, expected)
        assert (await ask(client, "GET", PATH, as_workspace=theirs))[1]["callsDays"] is None
        assert await ask(client, "PUT", PATH, {"jobsDays": 1}) == (
            200,
            {**UNSET, "jobsDays": 1, "serverDays": None},
        )


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"callsDays": 0}, "callsDays"),
        ({"recordingsDays": 1.5}, "recordingsDays"),
        ({"jobsDays": "7"}, "jobsDays"),
        ({"callsDays": 30, "jobsDays": 31}, "jobsDays"),
    ],
)
async def test_what_is_no_period_of_this_server_is_refused(
    database: Database, body: dict[str, object], path: str
) -> None:
    ours = await new_workspace(database)
    async with serving(RetentionResource(database, 30), ours, [READ, WRITE]) as client:
        status, error = await ask(client, "PUT", PATH, body)
        assert (status, error["details"]["path"]) == (400, path)
        assert await ask(client, "GET", PATH) == (200, {**UNSET, "serverDays": 30})
