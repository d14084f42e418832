"""The pages and their keys: this machine only, by a loopback name, for the pages themselves."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from gateway.http.pages import ROOMS, Pages, page_of
from rest.accounts.auth import Principal
from rest.accounts.keys import SCOPES, Scope, SignInGrant
from rest.accounts.sign_in import BrowserSignIn, Cookie
from tests.support.gateway.http_support import TestServer
from tests.support.paths import STATIC

OUTSIDE = {"sign-in"}
"""Rooms that the navigation leaves out."""


FRAME = """<!doctype html>
  <!-- head of the room -->
<body>
  <!-- rest of the room -->
"""
PAGE = """<!doctype html>
<title>Calls</title>
<body>
<template></template>
"""


def written(folder: Path) -> Path:
    """A folder of pages."""
    pages = {
        "demo/index.html": "<!doctype html>",
        "demo/app.js": "let a;",
        "calls/room.html": "<title>Calls</title>\n\n<template></template>\n",
        "shared/frame.html": FRAME,
        "shared/theme.css": "p {}",
        "sdk/blab.js": "let a = 1;\n" * 200,
        "sdk/blab.d.ts": "export let a;",
    }
    pages |= {f"{room}/index.html": "<!doctype html>" for room in {*ROOMS.values()} - {"calls"}}
    for name, text in pages.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


async def nobody(_request: web.Request) -> None:
    """Who is signed in."""


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[TestServer]:
    made = TestServer()
    made.app.add_routes(Pages(written(tmp_path), made.ephemeral, nobody, "ws_local").routes())
    async with made.running() as running:
        yield running


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8484", "127.0.0.1", "[::1]:80"])
async def test_this_machine_gets_a_key(
    server: TestServer, http: aiohttp.ClientSession, host: str
) -> None:
    headers = {"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
    async with http.post(f"{server.url}/demo/session", headers=headers) as answer:
        assert answer.status == 200
        body = await answer.json()
    grant = await server.ephemeral.find(body["value"])
    assert grant is not None
    assert grant.workspace_id == "ws_local"
    assert body["expires_at"] == int(server.bus.now) + 600


async def test_rooms_get_a_key_that_may_do_everything(
    server: TestServer, http: aiohttp.ClientSession
) -> None:
    async with http.post(f"{server.url}/studio/session") as answer:
        assert answer.status == 200
        body = await answer.json()
    grant = await server.ephemeral.find(body["value"])
    assert grant is not None
    assert grant.workspace_id == "ws_local"
    assert grant.scopes == SCOPES


def test_the_navigation_leads_to_rooms_that_are_served() -> None:
    listed = re.findall(r'path: "/(.*?)"', (STATIC / "shared" / "rooms.js").read_text())
    assert listed[0] == ""
    assert set(listed[1:]) == {path for path in ROOMS if path not in OUTSIDE}
    for folder in ROOMS.values():
        page = page_of(STATIC, folder).decode()
        assert f'src="/{folder}/app.js"' in page
        assert re.search(r"<title>\S+.* – Blab</title>", page)
        assert "of the room -->" not in page


@pytest.mark.parametrize("path", ["/calls", "/calls/compare", "/calls/call_01m8cag661c42d10"])
async def test_every_address_of_a_room_is_one_page(
    server: TestServer, http: aiohttp.ClientSession, path: str
) -> None:
    async with http.get(server.url + path) as answer:
        assert (answer.status, answer.content_type) == (200, "text/html")
        assert await answer.text() == PAGE
        assert "script-src 'self'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize("path", ["/demo/session", "/studio/session"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "[::1"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"X-Forwarded-For": "203.0.113.9"},
    ],
)
async def test_other_machines_get_no_key(
    server: TestServer, http: aiohttp.ClientSession, headers: dict[str, str], path: str
) -> None:
    async with http.post(server.url + path, headers=headers) as answer:
        assert answer.status == 403
        assert (await answer.json())["error"]["code"] == "FORBIDDEN"
    assert not server.bus.values


async def test_a_get_request_gets_no_key(server: TestServer, http: aiohttp.ClientSession) -> None:
    async with http.get(f"{server.url}/demo/session") as answer:
        assert answer.status == 404


async def test_no_key_is_given_when_accounts_are_required(
    http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    made = TestServer()
    made.app.add_routes(Pages(written(tmp_path), made.ephemeral, nobody, None).routes())
    async with made.running(), http.post(f"{made.url}/demo/session") as answer:
        assert answer.status == 403
        assert "API key" in (await answer.json())["error"]["message"]


@pytest.mark.parametrize("local", ["ws_local", None])
@pytest.mark.parametrize(("path", "scopes"), [("/demo/session", ()), ("/studio/session", SCOPES)])
async def test_who_is_signed_in_gets_a_key_of_their_workspace(
    http: aiohttp.ClientSession,
    tmp_path: Path,
    local: str | None,
    path: str,
    scopes: tuple[Scope, ...],
) -> None:
    """From anywhere, but to pages of this server only."""

    cookie = Cookie("secret")
    sign_in = SignInGrant("usr_ada", 1, cookie.place)

    async def ada(_request: web.Request) -> BrowserSignIn:
        return BrowserSignIn(cookie, sign_in, Principal("ws_ada", "user", user_id="usr_ada"))

    made = TestServer()
    await made.bus.put(cookie.place, b"", 60)
    made.app.add_routes(Pages(written(tmp_path), made.ephemeral, ada, local).routes())
    async with made.running():
        proxied = {"X-Forwarded-For": "203.0.113.9"}
        async with http.post(made.url + path, headers=proxied) as answer:
            grant = await made.ephemeral.find((await answer.json())["value"])
        assert grant is not None
        assert (grant.workspace_id, grant.scopes) == ("ws_ada", scopes)
        assert grant.sign_in == sign_in
        foreign = {"Origin": "https://evil.example"}
        async with http.post(made.url + path, headers=foreign) as answer:
            assert answer.status == 403


async def test_the_page_comes_with_a_strict_policy(
    server: TestServer, http: aiohttp.ClientSession
) -> None:
    served = {
        "/": "text/html",
        "/demo/app.js": "text/javascript",
        "/shared/theme.css": "text/css",
    }
    for path, kind in served.items():
        async with http.get(f"{server.url}{path}") as answer:
            assert answer.status == 200
            assert answer.content_type == kind
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
    for path in ("/demo/../secret", "/demo/%2e%2e/secret", "/demo/absent.js", "/sdk/app.js"):
        async with http.get(f"{server.url}{path}") as answer:
            assert answer.status == 404


async def test_a_file_is_compressed_and_cached(
    server: TestServer, http: aiohttp.ClientSession
) -> None:
    url = f"{server.url}/sdk/blab.js"
    async with http.get(url, headers={"Accept-Encoding": "gzip"}) as packed:
        assert packed.headers["Content-Encoding"] == "gzip"
        assert int(packed.headers["Content-Length"]) < 200
        assert await packed.text() == "let a = 1;\n" * 200
        tag = packed.headers["ETag"]
    async with http.get(url, headers={"Accept-Encoding": "identity"}) as plain:
        assert "Content-Encoding" not in plain.headers
        assert (plain.headers["ETag"], plain.headers["Vary"]) == (tag, "Accept-Encoding")
    async with http.get(url, headers={"If-None-Match": tag}) as again:
        assert (again.status, await again.read()) == (304, b"")
        assert again.headers["ETag"] == tag
    async with http.get(url, headers={"If-None-Match": '"other"'}) as changed:
        assert changed.status == 200


async def test_any_page_may_load_the_client_library(
    server: TestServer, http: aiohttp.ClientSession
) -> None:
    for path, kind in (("/sdk/blab.js", "text/javascript"), ("/sdk/blab.d.ts", "text/plain")):
        async with http.get(f"{server.url}{path}") as answer:
            assert (answer.status, answer.content_type) == (200, kind)
            assert answer.headers["Access-Control-Allow-Origin"] == "*"
            assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    async with http.get(f"{server.url}/demo/app.js") as answer:
        assert "Access-Control-Allow-Origin" not in answer.headers


async def test_the_page_is_offered_the_agents_of_the_local_workspace(
    http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    asked = []

    async def agents(workspace_id: str) -> list[tuple[str, str]]:
        asked.append(workspace_id)
        return [("agt_1", "Lisa")]

    made = TestServer()
    pages = Pages(written(tmp_path), made.ephemeral, nobody, "ws_local", agents=agents)
    made.app.add_routes(pages.routes())
    async with made.running(), http.post(f"{made.url}/demo/session") as answer:
        options = (await answer.json())["options"]
    assert options["agents"] == [{"id": "agt_1", "name": "Lisa"}]
    assert asked == ["ws_local"]
