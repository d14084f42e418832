"""The same request under the same key is done once, whatever happens."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import FormData, web
from msgspec import Struct

from pipelines.jobs.job import ApiWarning
from rest.accounts.auth import Authenticator
from rest.http.endpoint import EndpointOptions
from rest.http.errors import NotFound
from rest.http.idempotency import HEADER, Idempotency
from rest.http.operation import Answer, Operation, Request
from rest.http.uploads import Uploads
from store.database import Database
from store.errors import DatabaseUnavailable
from store.tenants.idempotency import Claim, IdempotencyKeys
from tests.support.rest.api_app import Answered, Client, Listed, Tenant, ask, authenticator, serving
from tests.support.rest.api_app import new_tenant as tenant

KEY = {HEADER: "0b6c-4e1f"}


class Body(Struct):
    text: str
    more: int = 0


@dataclass
class Work:
    """What the operation does: counted, held, or failing (with each of ``errors`` once)."""

    begun: list[str] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    started: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.go_on.set()

    async def create(self, request: Request) -> Answer:
        self.begun.append(request.id)
        self.started.set()
        await self.go_on.wait()
        if self.errors:
            raise self.errors.pop()
        data = {"number": len(self.begun), "path": request.path(), "text": request.body.text}
        warning = ApiWarning("no_effect", "It was made already.", "text")
        return Answer(data, headers={"X-Made": "yes"}, warnings=[warning])

    async def take(self, request: Request) -> Answer:
        self.begun.append(request.id)
        return Answer({"name": request.file.filename, "size": request.file.size})

    async def stream(self, request: Request) -> web.StreamResponse:
        return web.StreamResponse()

    def resource(self) -> Listed:
        once: dict[str, Any] = {"idempotent": True}
        return Listed(
            [
                Operation(
                    method="POST",
                    path="/things/{id}",
                    tag="T",
                    summary="",
                    handler=self.create,
                    body=Body,
                    **once,
                ),
                Operation(
                    method="POST",
                    path="/plain/{id}",
                    tag="T",
                    summary="",
                    handler=self.create,
                    body=Body,
                ),
                Operation(
                    method="POST",
                    path="/files",
                    tag="T",
                    summary="",
                    handler=self.take,
                    upload=True,
                    **once,
                ),
                Operation(
                    method="POST",
                    path="/streams",
                    tag="T",
                    summary="",
                    handler=self.stream,
                    **once,
                ),
                Operation(
                    method="POST",
                    path="/hasty/{id}",
                    tag="T",
                    summary="",
                    handler=self.create,
                    body=Body,
                    deadline=0.2,
                    **once,
                ),
            ]
        )


@dataclass
class Setup:
    client: Client
    work: Work
    ours: Tenant
    database: Database

    async def post(
        self, path: str = "/things/a", text: str = "hi", credential: str = "", **more: Any
    ) -> Answered:
        more.setdefault("headers", KEY)
        more.setdefault("json", {"text": text})
        return await ask(self.client, "POST", path, credential or self.ours.key, **more)


async def keys_in(database: Database) -> int:
    return int(await database.fetchval("SELECT count(*) FROM idempotency_keys"))


@pytest.fixture
def work() -> Work:
    return Work()


@pytest.fixture
def idempotency(database: Database) -> Idempotency:
    return Idempotency(IdempotencyKeys(database))


@pytest.fixture
async def setup(
    database: Database, work: Work, idempotency: Idempotency, tmp_path: Path
) -> AsyncIterator[Setup]:
    ours = await tenant(database)
    who: Authenticator = authenticator(database)
    options = EndpointOptions(idempotency=idempotency, uploads=Uploads(tmp_path))
    async with serving([work.resource()], who.of_request, options) as client:
        yield Setup(
            client=client,
            work=work,
            ours=ours,
            database=database,
        )


async def test_the_first_answer_is_replayed_byte_for_byte(setup: Setup) -> None:
    first = await setup.post()
    again = await setup.post(json={"more": 0, "text": "hi", "ignored": True})
    kept = {"code": "no_effect", "message": "It was made already.", "path": "text"}
    assert first.body["meta"]["warnings"] == [kept]
    ignored, replayed = again.body["meta"]["warnings"]
    assert (ignored["path"], replayed) == ("ignored", kept)
    assert len(setup.work.begun) == 1
    assert (first.status, again.status) == (200, 200)
    assert first.data_bytes == again.data_bytes != b""
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["X-Made"] == "yes"
    assert first.body["meta"]["requestId"] != again.body["meta"]["requestId"]


async def test_other_content_is_refused_and_without_a_key_everything_is_done(setup: Setup) -> None:
    await setup.post()
    for other in (await setup.post(text="ho"), await setup.post("/things/b")):
        assert (other.status, other.body["error"]["code"]) == (409, "IDEMPOTENCY_CONFLICT")
        assert other.details == {"path": HEADER, "reason": "key_reused"}
    assert len(setup.work.begun) == 1
    for _ in range(2):
        assert (await setup.post(headers={})).data["text"] == "hi"
        assert (await setup.post("/plain/a")).status == 200
    assert len(setup.work.begun) == 5


async def test_a_key_belongs_to_its_workspace(setup: Setup) -> None:
    theirs = await tenant(setup.database, "theirs@example.org")
    assert (await setup.post()).data["number"] == 1
    assert (await setup.post(credential=theirs.key)).data["number"] == 2
    assert (await setup.post(credential=theirs.token)).data["number"] == 2


async def test_repetitions_run_once(setup: Setup) -> None:
    setup.work.go_on.clear()
    twins = [asyncio.create_task(setup.post()) for _ in range(8)]
    await setup.work.started.wait()
    setup.work.go_on.set()
    answers = await asyncio.gather(*twins)
    assert len(setup.work.begun) == 1
    assert {answer.status for answer in answers} == {200}
    assert len({answer.data_bytes for answer in answers}) == 1
    assert sum("Idempotent-Replayed" in answer.headers for answer in answers) == 7


class TestPatience:
    @pytest.fixture
    def idempotency(self, database: Database) -> Idempotency:
        return Idempotency(IdempotencyKeys(database), wait_seconds=0.05)

    async def test_a_repetition_waits_only_so_long(self, setup: Setup) -> None:
        setup.work.go_on.clear()
        first = asyncio.create_task(setup.post())
        await setup.work.started.wait()
        twin = await setup.post()
        assert (twin.status, twin.headers["Retry-After"]) == (409, "1")
        assert twin.details["reason"] == "in_progress"
        setup.work.go_on.set()
        assert (await first).status == 200
        assert (await setup.post()).headers["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize("error", [NotFound("No."), RuntimeError("oops")])
async def test_a_failure_is_not_kept(setup: Setup, error: Exception) -> None:
    setup.work.errors = [error]
    assert (await setup.post()).status in (404, 500)
    assert await keys_in(setup.database) == 0
    assert (await setup.post(text="corrected")).data["number"] == 2


async def test_a_repetition_runs_after_a_failure(setup: Setup) -> None:
    setup.work.go_on.clear()
    setup.work.errors = [NotFound("No.")]
    first = asyncio.create_task(setup.post())
    await setup.work.started.wait()
    twin = asyncio.create_task(setup.post())
    setup.work.go_on.set()
    assert (await first).status == 404
    assert (await twin).data["number"] == 2


class TestLease:
    @pytest.fixture
    def idempotency(self, database: Database) -> Idempotency:
        return Idempotency(IdempotencyKeys(database), lease_seconds=0.3)

    async def test_an_expired_claim_is_taken_over_but_a_renewed_one_is_not(
        self, setup: Setup
    ) -> None:
        setup.work.go_on.clear()
        first = asyncio.create_task(setup.post())
        await setup.work.started.wait()
        claimed = "SELECT claimed_until FROM idempotency_keys"
        began = await setup.database.fetchval(claimed)
        async with asyncio.timeout(5):
            while await setup.database.fetchval(claimed) == began:
                await asyncio.sleep(0.01)
        assert not first.done()
        await setup.database.execute(
            "INSERT INTO idempotency_keys (workspace_id, route, key, fingerprint, claimed_by,"
            " claimed_until) SELECT workspace_id, route, decode('00', 'hex'), fingerprint,"
            " 'req_dead', now() - interval '1 second' FROM idempotency_keys"
        )
        row = await setup.database.fetchrow("SELECT * FROM idempotency_keys WHERE key = '\\x00'")
        keys = IdempotencyKeys(setup.database)
        heir = Claim(
            route=row["route"],
            key=b"\0",
            fingerprint=row["fingerprint"],
            claimed_by="req_heir",
        )
        other = Claim(
            route=row["route"],
            key=b"\0",
            fingerprint=b"other",
            claimed_by="req_other",
        )
        assert not await keys.claim(row["workspace_id"], other, 30)
        assert await keys.claim(row["workspace_id"], heir, 30)
        setup.work.go_on.set()
        assert (await first).status == 200

    async def test_a_repetition_takes_over_from_a_dead_node(
        self, setup: Setup, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def died(*_: Any) -> None:
            pass

        monkeypatch.setattr(IdempotencyKeys, "release", died)
        setup.work.errors = [RuntimeError("as good as dead")]
        assert (await setup.post()).status == 500
        assert await keys_in(setup.database) == 1
        assert (await setup.post(text="other")).status == 409
        assert (await setup.post()).data["number"] == 2


async def test_a_request_that_takes_too_long_is_aborted_and_can_be_retried(setup: Setup) -> None:
    setup.work.go_on.clear()
    assert (await setup.post("/hasty/a")).status == 503
    assert await keys_in(setup.database) == 0
    setup.work.go_on.set()
    assert (await setup.post("/hasty/a")).data["number"] == 2


async def test_a_file_is_part_of_the_content(setup: Setup) -> None:
    async def send(content: bytes, name: str = "a.wav") -> Answered:
        form = FormData()
        form.add_field("file", content, filename=name)
        return await ask(setup.client, "POST", "/files", setup.ours.key, data=form, headers=KEY)

    first, again = await send(b"one"), await send(b"one")
    assert first.data == {"name": "a.wav", "size": 3}
    assert first.data_bytes == again.data_bytes
    assert (await send(b"two")).status == 409
    assert (await send(b"one", "b.wav")).status == 409
    assert len(setup.work.begun) == 1


async def test_a_stream_cannot_be_kept(setup: Setup, caplog: pytest.LogCaptureFixture) -> None:
    refused = await ask(setup.client, "POST", "/streams", setup.ours.key, headers=KEY)
    assert refused.status == 500
    assert "POST /streams is idempotent" in caplog.text
    assert await keys_in(setup.database) == 0


async def test_a_finished_request_is_answered_even_if_it_cannot_be_kept(
    setup: Setup, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def away(*_: Any, **__: Any) -> bool:
        raise DatabaseUnavailable("away")

    monkeypatch.setattr(IdempotencyKeys, "keep", away)
    assert (await setup.post()).status == 200
    assert "was not kept" in caplog.text
    assert KEY[HEADER] not in caplog.text


async def test_neither_key_nor_answer_can_be_read_in_the_table(setup: Setup) -> None:
    await setup.post(text="a secret that is shown once")
    row = await setup.database.fetchrow("SELECT key, answer FROM idempotency_keys")
    assert len(row["key"]) == 32
    assert b"secret" not in row["answer"]
    assert KEY[HEADER].encode() not in row["key"] + row["answer"]


@pytest.mark.parametrize("key", ["", "x" * 256, "naïve", "tab\tbed"])
async def test_an_unusable_key_is_refused(setup: Setup, key: str) -> None:
    refused = await setup.post(headers={HEADER: key})
    assert (refused.status, refused.details) == (400, {"path": HEADER})
    assert setup.work.begun == []


async def test_the_longest_key_is_accepted(setup: Setup) -> None:
    assert (await setup.post(headers={HEADER: "~ " * 127 + "!"})).status == 200
