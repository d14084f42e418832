"""How many jobs wait and run, over all workspaces."""

from store.database import Database
from store.tenants.jobs import Backlog, Jobs
from tests.support.pipelines.job_support import new_workspace


async def test_the_backlog_counts_active_jobs_by_type(database: Database) -> None:
    jobs = Jobs(database)
    assert await jobs.backlog() == []
    for workspace in (
        await new_workspace(database),
        await new_workspace(database, "theirs@example.com"),
    ):
        for kind in ("tts", "stt", "stt"):
            await jobs.insert(workspace, kind, {})
    await database.execute(
        "UPDATE jobs SET status = 'running' WHERE type = 'tts'",
    )
    await database.execute(
        "UPDATE jobs SET updated_at = now() - interval '90 s' WHERE type = 'stt'",
    )
    found = {backlog.type: backlog for backlog in await jobs.backlog()}
    assert found["tts"] == Backlog("tts", 0, 2, 0.0)
    assert (found["stt"].queued, found["stt"].running) == (4, 0)
    assert 90 <= found["stt"].oldest_seconds < 150
