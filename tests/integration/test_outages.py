"""Postgres, Valkey, the object store and an upstream are away: calls go on, REST says so in time,
and nothing that was acknowledged is lost.

Real services, stopped (SIGSTOP: they hang) or killed (their supervisor starts them again). The
server's deadlines are scaled down, so that an outage of a second outlasts each of them, as one of
10 s outlasts the usual ones.
"""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gateway.services import EmbeddedServices, ServiceUrls
from pipelines.engines.openai_compatible.chat import UpstreamChat
from pipelines.engines.openai_compatible.client import UpstreamClient, UpstreamSettings
from pipelines.jobs.artifacts import Artifacts
from pipelines.jobs.job import JobResult, JobRun, JobStatus
from pipelines.jobs.runner import MAX_RUNS
from rest.accounts.keys import SCOPES
from rest.accounts.signing import UrlSigner
from store.database import Database, DatabaseLimits
from store.errors import StoreUnavailable
from store.migrate import migrate
from store.objects import ObjectStore
from store.tenants.accounts import LOCAL_WORKSPACE
from tests.support.gateway.realtime_client import RealtimeClient
from tests.support.gateway.scripted_server import ScriptedServer, ask, running_node, server
from tests.support.media_files import audio_file, tone
from tests.support.object_store import RestartableS3, new_bucket
from tests.support.pipelines.job_support import Kind, new_workspace, submit, until, working
from tests.support.pipelines.upstream_server import KEY, Fault, Upstream

__all__ = ["server"]

pytestmark = pytest.mark.slow
LIMITS = DatabaseLimits(connect_deadline=15.0, acquire_timeout=0.3, statement_timeout=0.5)
"""A statement is given up after a second and a half on this side (``command_timeout``)."""
PATIENCE = 8.0
"""Seconds within which a request must be answered; without an outage it takes some milliseconds."""


@contextlib.contextmanager
def stopped(pid: int | None) -> Iterator[None]:
    """A server and its children do nothing inside the block."""
    assert pid is not None
    pids = [pid, *children_of(pid)]
    for one in pids:
        os.kill(one, signal.SIGSTOP)
    try:
        yield
    finally:
        for one in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(one, signal.SIGCONT)


def children_of(pid: int) -> list[int]:
    """Pids of a process's children."""
    names = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(name) for name in names]


async def refused(server: ScriptedServer, method: str, path: str, **sent: Any) -> dict[str, Any]:
    """The error of a request that must be refused as one to be repeated, in time."""
    headers = {"Authorization": f"Bearer {server.key}"}
    began = time.monotonic()
    async with (
        aiohttp.ClientSession(server.url, headers=headers) as http,
        http.request(method, path, **sent) as answer,
    ):
        body = await answer.json()
        assert time.monotonic() - began < PATIENCE
        assert answer.status == 503, body
        assert int(answer.headers["Retry-After"]) >= 1
        assert body["ok"] is False
        assert body["error"]["details"]["retryAfter"] >= 1
        return dict(body["error"])


async def answered(server: ScriptedServer, path: str = "/api/agents") -> None:
    """Return when a request succeeds again."""
    headers = {"Authorization": f"Bearer {server.key}"}
    async with asyncio.timeout(30), aiohttp.ClientSession(server.url, headers=headers) as http:
        while True:
            async with http.get(path) as answer:
                if answer.status == 200:
                    return
                assert answer.status == 503
            await asyncio.sleep(0.05)


async def counted(database: Database, query: str, wanted: int) -> None:
    """Return when a query counts ``wanted`` rows."""
    async with asyncio.timeout(30):
        while await database.fetchval(query) != wanted:
            await asyncio.sleep(0.05)


# ---------------------------------------------------------------------- Postgres


@contextlib.asynccontextmanager
async def node_on(
    postgres: EmbeddedServices, redis_url: str, data_dir: Path, **options: Any
) -> AsyncIterator[ScriptedServer]:
    """A node on a Postgres that may be stopped."""
    database = Database(postgres.urls.database_url, LIMITS)
    await database.connect()
    await migrate(database)
    urls = ServiceUrls(postgres.urls.database_url, redis_url)
    try:
        async with running_node(database, urls, data_dir, limits=LIMITS, **options) as node:
            node.key = await node.new_key(scopes=list(SCOPES))
            yield node
    finally:
        await database.close()


async def test_a_call_goes_on_while_postgres_hangs(
    own_postgres: EmbeddedServices, redis_url: str, tmp_path: Path
) -> None:
    async with node_on(own_postgres, redis_url, tmp_path) as node:
        async with node.client() as caller:
            await ask(caller)
            with stopped(own_postgres.pids["postgres"]):
                await ask(caller)
                await refused(node, "GET", "/api/agents")
                await refused(node, "POST", "/api/projects", json={"name": "Film"})
                await ask(caller)
            await ask(caller)
        await answered(node)
        await counted(node.database, "SELECT count(*) FROM turns", 4)
        await counted(node.database, "SELECT count(*) FROM calls WHERE ended_at IS NOT NULL", 1)
        await counted(node.database, "SELECT count(*) FROM usage_events", 4)


async def test_a_call_goes_on_while_postgres_is_killed_and_started_again(
    own_postgres: EmbeddedServices, redis_url: str, tmp_path: Path
) -> None:
    async with node_on(own_postgres, redis_url, tmp_path) as node:
        async with node.client() as caller:
            await ask(caller)
            pid = own_postgres.pids["postgres"]
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            await refused(node, "GET", "/api/agents")
            await ask(caller)
            await answered(node)
            await ask(caller)
        await counted(node.database, "SELECT count(*) FROM turns", 3)
        await counted(node.database, "SELECT count(*) FROM calls WHERE ended_at IS NOT NULL", 1)


@pytest.mark.parametrize("killed", [False, True])
async def test_jobs_run_once_across_an_outage_of_postgres(
    own_postgres: EmbeddedServices, killed: bool
) -> None:
    database = Database(own_postgres.urls.database_url, LIMITS)
    await database.connect()
    await migrate(database)
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def work(run: JobRun) -> JobResult:
        begun.set()
        await go_on.wait()
        await run.progress(50)
        return JobResult({"run": run.run})

    workspace_id = await new_workspace(database)
    async with working(database, Kind(work)):
        jobs = [await submit(database, workspace_id) for _ in range(5)]
        await begun.wait()
        pid = own_postgres.pids["postgres"]
        assert pid is not None
        if killed:
            os.kill(pid, signal.SIGKILL)
            go_on.set()
        else:
            with stopped(pid):
                go_on.set()
                await asyncio.sleep(2 * LIMITS.statement_timeout + 1)
        async with asyncio.timeout(200):
            while await _left(database):
                await asyncio.sleep(0.1)
    for job in jobs:
        done = await until(database, job, JobStatus.COMPLETED)
        assert done.output is not None
    events = "SELECT count(*) FROM job_events WHERE event = 'completed'"
    assert await database.fetchval(events) == len(jobs)
    await database.close()


async def _left(database: Database) -> int:
    with contextlib.suppress(StoreUnavailable):
        left = "SELECT count(*) FROM jobs WHERE finished_at IS NULL"
        return int(await database.fetchval(left))
    return -1


# ---------------------------------------------------------------------- Valkey


@pytest.mark.parametrize("killed", [False, True])
async def test_a_call_goes_on_while_valkey_is_away(
    database: Database,
    own_database_url: str,
    own_valkey: EmbeddedServices,
    tmp_path: Path,
    killed: bool,
) -> None:
    urls = ServiceUrls(own_database_url, own_valkey.urls.redis_url)
    async with running_node(database, urls, tmp_path, rate_limit=1000) as node:
        async with node.client() as caller:
            await ask(caller)
            pid = own_valkey.pids["valkey"]
            if killed:
                os.kill(pid or 0, signal.SIGKILL)
                await through_an_outage(node, caller)
            else:
                with stopped(pid):
                    await through_an_outage(node, caller)
            [call_id] = node.app_calls()
            async with asyncio.timeout(30):
                while not await joins(node, call_id):
                    await asyncio.sleep(0.1)
            await ask(caller)
        await counted(database, "SELECT count(*) FROM turns", 3)


async def through_an_outage(node: ScriptedServer, caller: RealtimeClient) -> None:
    """What works without Valkey: the call, REST, and a new call."""
    await ask(caller)
    async with (
        aiohttp.ClientSession(node.url, headers={"Authorization": f"Bearer {node.key}"}) as http,
        asyncio.timeout(PATIENCE),
        http.post("/api/projects", json={"name": "Film"}) as answer,
    ):
        assert answer.status in (200, 403), await answer.text()  # no scope, but no outage
    async with node.client() as another:
        await another.wait_for("session.created")


async def joins(node: ScriptedServer, call_id: str) -> bool:
    """Whether an observer finds the call."""
    try:
        async with node.client(query=f"call_id={call_id}", checked=False) as observer:
            await observer.wait_for("session.created", seconds=2)
    except (InvalidStatus, TimeoutError, ConnectionClosed):
        return False
    return True


# ---------------------------------------------------------------------- the object store


@pytest.fixture
def s3() -> Iterator[RestartableS3]:
    server = RestartableS3()
    yield server
    server.stop()


async def test_what_needs_the_object_store_is_refused_while_it_is_away(
    database: Database, own_database_url: str, redis_url: str, tmp_path: Path, s3: RestartableS3
) -> None:
    address = new_bucket(s3.endpoint) + "&redirects=false"
    urls = ServiceUrls(own_database_url, redis_url)
    async with running_node(database, urls, tmp_path, objects_url=address) as node:
        node.key = await node.new_key(scopes=list(SCOPES))
        artifacts = Artifacts(database, ObjectStore.open(address))
        key = await artifacts.take_in(
            LOCAL_WORKSPACE, "turn", b"audio", content_type="audio/mpeg", filename="a.mp3"
        )
        signer = UrlSigner(await database.fetchval(_ADDRESSES))
        url = signer.url(node.url, LOCAL_WORKSPACE, key).removeprefix(node.url)
        async with aiohttp.ClientSession(node.url) as http:
            with s3.away():
                await refused(node, "POST", "/api/dubbing/source", data=recording())
                await refused(node, "GET", url)
                async with node.client() as caller:
                    await ask(caller)
            async with http.get(url) as answer:
                assert (answer.status, await answer.read()) == (200, b"audio")


_ADDRESSES = "SELECT value FROM server_secrets WHERE name = 'addresses'"


def recording() -> aiohttp.FormData:
    form = aiohttp.FormData()
    sound = audio_file("wav", tone(2))
    form.add_field("file", sound, filename="a.wav", content_type="audio/wav")
    return form


async def test_an_accepted_job_waits_for_the_object_store(
    database: Database, s3: RestartableS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.jobs.runner.AWAY_SECONDS", 0.2)
    artifacts = Artifacts(database, ObjectStore.open(new_bucket(s3.endpoint)))
    workspace_id = await new_workspace(database)
    tried = asyncio.Semaphore(0)

    async def work(run: JobRun) -> JobResult:
        tried.release()
        key = await artifacts.store(workspace_id, run.id, "take.mp3", b"1", "audio/mpeg")
        return JobResult({"audioKey": key})

    async with working(database, Kind(work)):
        with s3.away():
            job = await submit(database, workspace_id)
            for _ in range(MAX_RUNS + 2):  # an outage uses up no runs
                await asyncio.wait_for(tried.acquire(), 30)
        done = await until(database, job, JobStatus.COMPLETED)
    assert done.output is not None
    assert await artifacts.read(workspace_id, done.output["audioKey"]) == b"1"


# ---------------------------------------------------------------------- an upstream


@pytest.mark.parametrize("fault", [Fault.SILENT, Fault.STALLS])
async def test_a_hanging_upstream_costs_an_apology_and_not_the_call(
    server: ScriptedServer, fault: Fault
) -> None:
    upstream = Upstream(fault=fault)
    await upstream.start()
    settings = UpstreamSettings(upstream.url, KEY, first_byte=0.3, idle=0.3)
    client = UpstreamClient(settings)
    scripted: Any = server.engines
    answers = scripted.chat_model
    scripted.chat_model = UpstreamChat("upstream-chat", client)
    try:
        async with server.client() as caller:
            await caller.wait_for("session.created")
            await type_in(caller, "hello")
            failed = await caller.wait_for("error", seconds=10)
            assert failed["error"]["type"] == "server_error"
            done = await caller.wait_for("response.done", seconds=10)
            assert done["response"]["status"] == "failed"
            apology = await caller.wait_for("response.done", count=2, seconds=10)
            assert apology["response"]["status"] == "completed"
            assert any("Sorry" in said for said in scripted.voice.spoken)
            upstream.fault = Fault.NONE
            await type_in(caller, "hello again")
            again = await caller.wait_for("response.done", count=3, seconds=10)
            assert again["response"]["status"] == "completed"
    finally:
        scripted.chat_model = answers
        await client.close()
        await upstream.stop()


async def type_in(caller: RealtimeClient, text: str) -> None:
    """Type something and ask for an answer."""
    content = [{"type": "input_text", "text": text}]
    item = {"type": "message", "role": "user", "content": content}
    await caller.send({"type": "conversation.item.create", "item": item})
    await caller.send({"type": "response.create"})
