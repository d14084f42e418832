"""The documentation's files: offline, under a strict policy, only the listed ones."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from rest.openapi.document import Docs
from tests.support.paths import DOCS_PAGE
from tests.support.rest.job_app import Client, refusals

PAGES = DOCS_PAGE


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    app = web.Application(middlewares=[refusals])
    app.add_routes(Docs(PAGES).routes())
    async with TestClient(TestServer(app)) as client:
        yield client


async def test_every_file_of_the_page_is_served_here(client: Client) -> None:
    async with client.get("/docs") as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        page = await answer.text()
    needed = re.findall(r'(?:src|href)="(/docs/[^"]+)"', page)
    assert len(needed) == 5
    for path in needed:
        async with client.get(path) as answer:
            assert answer.status == 200
            assert len(await answer.read()) > 100
            policy = answer.headers["Content-Security-Policy"]
            assert "unsafe" not in policy
            assert "script-src 'self'" in policy
            assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_our_files_name_no_foreign_source_and_no_inline_script() -> None:
    text = "".join(path.read_text() for path in sorted(PAGES.iterdir()))
    assert not re.search(r"https?://|//cdn|<script>|<style>| on\w+=", text)
    assert "validatorUrl: null" in text


async def test_files_are_not_sent_twice(client: Client) -> None:
    path = "/docs/swagger-ui-bundle.js"
    async with client.get(path) as answer:
        tag = answer.headers["ETag"]
    async with client.get(path, headers={"If-None-Match": tag}) as answer:
        assert answer.status == 304


@pytest.mark.parametrize(
    "name", ["swagger-ui.js", "index.j2", "..%2Fdemo%2Findex.html", "%2Fetc%2Fpasswd", "x"]
)
async def test_files_outside_the_page_are_not_served(client: Client, name: str) -> None:
    async with client.get(f"/docs/{name}") as answer:
        assert answer.status == 404
        assert (await answer.json())["error"]["code"] == "NOT_FOUND"


def test_a_missing_file_is_reported_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Docs(tmp_path)
