"""Downloads at signed addresses, over real connections."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from pipelines.jobs.artifacts import Artifacts
from rest.accounts.signing import UrlSigner
from rest.http.endpoint import DEADLINE
from rest.resources.files import FilesResource
from store.database import Database
from store.errors import ObjectsUnavailable
from store.objects import ObjectBytes, ObjectStore
from tests.support.object_store import new_bucket, s3_server
from tests.support.pipelines.job_support import new_workspace, submit
from tests.support.rest.job_app import refusals

CONTENT = os.urandom(700_000)
SECRET = b"k" * 32


@dataclass
class Downloads:
    """A server of files, its workspace, and a client without credentials."""

    database: Database
    store: ObjectStore
    workspace_id: str
    base: str = ""
    port: int = 0

    @property
    def artifacts(self) -> Artifacts:
        return Artifacts(self.database, self.store)

    async def take(self, content: Any = CONTENT, **more: Any) -> str:
        """The key of an upload."""
        given = {"content_type": "audio/mpeg", "filename": "Take.mp3", **more}
        return await self.artifacts.take_in(self.workspace_id, "upload", content, **given)

    def address(self, key: str, workspace_id: str | None = None, **more: Any) -> str:
        signer = UrlSigner(SECRET)
        return signer.url(self.base, workspace_id or self.workspace_id, key, **more)

    async def ask(
        self, address: str, method: str = "GET", follow: bool = True, **headers: str
    ) -> tuple[int, bytes, dict[str, str]]:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, address, headers=sent, allow_redirects=follow) as answer,
        ):
            got = {name.lower(): value for name, value in answer.headers.items()}
            return answer.status, await answer.read(), got


@asynccontextmanager
async def serving(
    database: Database, store: ObjectStore, write_seconds: float = 5.0
) -> AsyncIterator[Downloads]:
    files = FilesResource(database, store, UrlSigner(SECRET), write_seconds)
    app = web.Application(middlewares=[refusals])
    app.add_routes(files.routes())
    async with TestServer(app) as server:
        ours = await new_workspace(database)
        base = str(server.make_url("/")).rstrip("/")
        yield Downloads(
            database=database,
            store=store,
            workspace_id=ours,
            base=base,
            port=server.port or 0,
        )


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return ObjectStore.open(f"file://{tmp_path}/objects")


@pytest.fixture
async def downloads(database: Database, store: ObjectStore) -> AsyncIterator[Downloads]:
    async with serving(database, store) as running:
        yield running


async def test_a_file_is_served_as_its_record_says(downloads: Downloads):
    address = downloads.address(await downloads.take(filename='Über "mich".mp3'))
    status, body, headers = await downloads.ask(address)
    assert (status, body) == (200, CONTENT)
    assert headers["content-type"] == "audio/mpeg"
    assert headers["content-length"] == str(len(CONTENT))
    assert headers["content-disposition"] == (
        "inline; filename=\"Uber _mich_.mp3\"; filename*=UTF-8''%C3%9Cber%20%22mich%22.mp3"
    )
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["accept-ranges"] == "bytes"
    head = await downloads.ask(address, "HEAD")
    assert head[:2] == (200, b"")
    kept = ("content-type", "content-length", "content-disposition", "etag", "last-modified")
    assert {name: head[2][name] for name in kept} == {name: headers[name] for name in kept}
    status, _, headers = await downloads.ask(address, "DELETE")
    assert (status, headers["allow"]) == (405, "GET,HEAD")


@pytest.mark.parametrize(
    "content_type", ["application/x-subrip", "application/x-subrip; charset=utf-8"]
)
async def test_a_jobs_artifacts_and_empty_files_are_served(downloads: Downloads, content_type: str):
    job = await submit(downloads.database, downloads.workspace_id)
    key = await downloads.artifacts.store(
        downloads.workspace_id, job.id, "text.srt", b"", content_type
    )
    status, body, headers = await downloads.ask(downloads.address(key))
    assert (status, body) == (200, b"")
    assert headers["content-type"] == "application/x-subrip; charset=utf-8"
    assert headers["content-disposition"] == 'inline; filename="text.srt"'


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [
        ("audio/wav", "inline"),
        ("video/mp4", "inline"),
        ("text/plain; charset=utf-8", "inline"),
        ("text/html", "attachment"),
        ("image/svg+xml", "attachment"),
        ("AUDIO/OGG", "inline"),
        ("application/octet-stream", "attachment"),
    ],
)
async def test_browsers_show_media_only(downloads: Downloads, content_type: str, kind: str):
    key = await downloads.take(b"x", content_type=content_type, filename="f")
    for attachment in (False, True):
        address = downloads.address(key, attachment=attachment)
        _, _, headers = await downloads.ask(address)
        expected = "attachment" if attachment else kind
        assert headers["content-disposition"] == f'{expected}; filename="f"'


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=5-299999", 5, 300_000),
        ("bytes=699990-", 699_990, 700_000),
        ("bytes=-10", 699_990, 700_000),
        ("bytes=699999-999999", 699_999, 700_000),
    ],
)
async def test_ranges(downloads: Downloads, asked: str, start: int, end: int):
    address = downloads.address(await downloads.take())
    status, body, headers = await downloads.ask(address, Range=asked)
    assert (status, body) == (206, CONTENT[start:end])
    assert headers["content-range"] == f"bytes {start}-{end - 1}/700000"
    assert headers["content-length"] == str(end - start)
    assert headers["content-type"] == "audio/mpeg"
    status, body, got = await downloads.ask(address, "HEAD", Range=asked)
    assert (status, body, got["content-range"]) == (206, b"", headers["content-range"])


async def test_malformed_ranges(downloads: Downloads):
    address = downloads.address(await downloads.take())
    for asked in ("bytes=700000-", "bytes=-0"):
        status, body, headers = await downloads.ask(address, Range=asked)
        assert (status, headers["content-range"]) == (416, "bytes */700000")
        assert b'"code":"VALIDATION_ERROR"' in body
    for asked in ("bytes=0-1,5-9", "bytes=5-1", "lines=1-2", "bytes=x"):
        status, body, _ = await downloads.ask(address, Range=asked)
        assert (status, body) == (200, CONTENT)


async def test_an_interrupted_download_resumes_only_with_the_same_file(downloads: Downloads):
    address = downloads.address(await downloads.take())
    _, _, headers = await downloads.ask(address)
    for known in (headers["etag"], headers["last-modified"]):
        status, body, _ = await downloads.ask(address, Range="bytes=10-", If_Range=known)
        assert (status, body) == (206, CONTENT[10:])
    status, body, _ = await downloads.ask(address, Range="bytes=10-", If_Range='"other"')
    assert (status, body) == (200, CONTENT)


async def test_a_file_that_the_client_has_is_not_sent_again(downloads: Downloads):
    address = downloads.address(await downloads.take())
    _, _, headers = await downloads.ask(address)
    for condition in (
        {"If_None_Match": headers["etag"]},
        {"If_None_Match": "*"},
        {"If_None_Match": f'"other", {headers["etag"]}'},
        {"If_Modified_Since": headers["last-modified"]},
    ):
        status, body, got = await downloads.ask(address, **condition)
        assert (status, body, got["etag"]) == (304, b"", headers["etag"])
    for condition in (
        {"If_None_Match": '"other"', "If_Modified_Since": headers["last-modified"]},
        {"If_None_Match": "nonsense"},
        {"If_Modified_Since": "Thu, 01 Jan 1970 00:00:00 GMT"},
        {"If_Modified_Since": "nonsense"},
    ):
        assert (await downloads.ask(address, **condition))[0] == 200


async def test_only_genuine_addresses_are_answered(downloads: Downloads):
    key = await downloads.take()
    address = downloads.address(key)
    path = address.removeprefix(downloads.base)
    for place in range(len("/api/files/"), len(path), 7):
        other = "x" if path[place] != "x" else "y"
        changed = downloads.base + path[:place] + other + path[place + 1 :]
        status, body, headers = await downloads.ask(changed)
        assert status == 403
        assert b'"reason": "bad_signature"' in body
        assert "application/json" in headers["content-type"]
    for bare in (f"{downloads.base}/api/files/{key}", f"{address}&x=1", f"{address}#"):
        assert (await downloads.ask(bare))[0] == (200 if bare.endswith("#") else 403)
    old = UrlSigner(SECRET, seconds=-1).url(downloads.base, downloads.workspace_id, key)
    status, body, _ = await downloads.ask(old)
    assert status == 403
    assert b"has expired" in body


async def test_another_workspaces_object_is_not_found_like_a_deleted_one(downloads: Downloads):
    theirs = await new_workspace(downloads.database, "stranger@example.org")
    key = await downloads.take()
    foreign = await downloads.ask(downloads.address(key, theirs))
    address = downloads.address(key)
    assert (await downloads.ask(address))[0] == 200
    await downloads.artifacts.delete(downloads.workspace_id, key)
    assert (await downloads.ask(address))[:2] == foreign[:2]
    assert foreign[0] == 404


async def test_bytes_that_differ_from_the_record(downloads: Downloads):
    key = await downloads.take()
    address = downloads.address(key)
    await downloads.store.put(key, b"being replaced")
    assert (await downloads.ask(address))[0] == 503
    await downloads.store.delete([key])
    assert (await downloads.ask(address))[0] == 404


def test_the_route_keeps_its_own_deadlines(database: Database, store: ObjectStore):
    [route] = FilesResource(database, store, UrlSigner(SECRET)).routes()
    assert getattr(route.handler, DEADLINE, 1.0) is None


# ---------------------------------------------------------------------- faults


class Breaking(ObjectStore):
    """A store that fails in the middle of what is read."""

    async def read(self, key: str, start: int = 0, end: int | None = None) -> ObjectBytes:
        async def pieces() -> AsyncIterator[bytes]:
            yield CONTENT[:1000]
            raise ObjectsUnavailable("away")

        return ObjectBytes(len(CONTENT), pieces())


async def test_a_broken_download_is_visibly_incomplete(database: Database, tmp_path: Path):
    async with serving(database, Breaking.open(f"file://{tmp_path}/objects")) as downloads:
        address = downloads.address(await downloads.take())
        with pytest.raises((aiohttp.ClientPayloadError, aiohttp.ClientConnectionError)):
            await downloads.ask(address)


async def test_a_client_that_reads_nothing_is_cut_off(database: Database, store: ObjectStore):
    size = 24 * 1024 * 1024
    async with serving(database, store, write_seconds=0.3) as downloads:
        address = downloads.address(await downloads.take(b"\0" * size))
        reader, writer = await asyncio.open_connection("127.0.0.1", downloads.port, limit=4096)
        writer.write(f"GET {address} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200 ")
        began, cut = time.monotonic(), False
        async with asyncio.timeout(10):
            while not cut:  # whoever reads nothing learns of the cut by writing
                await asyncio.sleep(0.05)
                try:
                    writer.write(b"x")
                    await writer.drain()
                except ConnectionError:
                    cut = True
        assert time.monotonic() - began > 0.25
        writer.close()
        assert (await downloads.ask(address, Range="bytes=-5"))[:2] == (206, b"\0" * 5)


# ---------------------------------------------------------------------- a store that answers


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3_server() as address:
        yield address


async def test_downloads_redirect_to_a_bucket(database: Database, endpoint: str):
    async with serving(database, ObjectStore.open(new_bucket(endpoint))) as downloads:
        key = await downloads.take()
        address = downloads.address(key)
        status, _, headers = await downloads.ask(address, follow=False)
        assert (status, headers["location"].startswith(endpoint)) == (302, True)
        assert "no-store" in headers["cache-control"] or "private" in headers["cache-control"]
        status, body, headers = await downloads.ask(address)
        assert (status, body) == (200, CONTENT)
        got = (headers["content-type"], headers["content-disposition"])
        assert got == ("audio/mpeg", 'inline; filename="Take.mp3"')
        status, body, _ = await downloads.ask(address, "HEAD")
        assert (status, body) == (200, b"")
        status, body, _ = await downloads.ask(address, Range="bytes=3-9")
        assert (status, body) == (206, CONTENT[3:10])
        status, body, headers = await downloads.ask(downloads.address(key, attachment=True))
        assert (status, body) == (200, CONTENT)
        assert headers["content-disposition"] == 'attachment; filename="Take.mp3"'
        assert (await downloads.ask(address + "x"))[0] == 403


async def test_our_own_pages_are_not_redirected(database: Database, endpoint: str):
    async with serving(database, ObjectStore.open(new_bucket(endpoint))) as downloads:
        address = downloads.address(await downloads.take())
        status, body, _ = await downloads.ask(
            address, follow=False, Sec_Fetch_Site="same-origin", Range="bytes=3-9"
        )
        assert (status, body) == (206, CONTENT[3:10])
        for site in ("cross-site", "none"):
            status, _, headers = await downloads.ask(address, follow=False, Sec_Fetch_Site=site)
            assert (status, headers["vary"]) == (302, "Sec-Fetch-Site")


async def test_a_bucket_that_clients_cannot_reach_is_read_for_them(
    database: Database, endpoint: str
):
    store = ObjectStore.open(new_bucket(endpoint) + "&redirects=false")
    async with serving(database, store) as downloads:
        address = downloads.address(await downloads.take())
        status, body, _ = await downloads.ask(address, follow=False, Range="bytes=3-9")
        assert (status, body) == (206, CONTENT[3:10])
