"""Agents on other web pages: who gets a key, what it opens, and when it opens nothing."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from store.ids import new_id
from tests.support.gateway.realtime_client import RealtimeClient
from tests.support.gateway.scripted_server import ScriptedServer, ask, second_node, server
from tests.support.paths import CHROMIUM_OFFER

__all__ = ["second_node", "server"]

SHOP = "https://shop.example"
UPDATED = "session.updated"
RESUMPTION = "blab.session.resumption"


class Pages:
    """The owner of an embed, and the pages that show it."""

    def __init__(self, server: ScriptedServer, http: aiohttp.ClientSession, key: str) -> None:
        self.server = server
        self._owners_key = key
        self._http = http
        self.agent_id = ""
        self.embed_id = ""

    async def owner(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self._owners_key}"}
        async with self._http.request(
            method, self.server.url + path, headers=headers, json=body
        ) as answer:
            envelope = await answer.json()
            assert envelope["ok"], envelope
            return envelope["data"]

    async def new_embed(self, **fields: Any) -> None:
        agent = await self.owner("POST", "/api/agents", {"name": "Ann", "systemPrompt": "talk 500"})
        body = {"name": "Shop", "origins": [SHOP], "callsPerMinute": 600} | fields
        made = await self.owner("POST", f"/api/agents/{agent['id']}/embeds", body)
        self.agent_id, self.embed_id = agent["id"], made["id"]

    async def change(self, **fields: Any) -> Any:
        return await self.owner("PATCH", f"/api/embeds/{self.embed_id}", fields)

    async def seen(self) -> Any:
        return await self.owner("GET", f"/api/embeds/{self.embed_id}")

    async def page(
        self,
        method: str,
        what: str = "client_secrets",
        *,
        origin: str | None = SHOP,
        at: ScriptedServer | None = None,
        **body: Any,
    ) -> tuple[int, Any, Any]:
        """Status, body (``data`` or ``error``) and headers of what a page asks."""
        headers = {} if origin is None else {"Origin": origin}
        url = f"{(at or self.server).url}/api/embeds/{self.embed_id}/{what}"
        sent: dict[str, Any] = {"json": body} if method == "POST" else {}
        async with self._http.request(method, url, headers=headers, **sent) as answer:
            if answer.status == 204:
                return 204, None, answer.headers
            envelope = await answer.json()
            assert "Origin" in answer.headers["Vary"]
            found = envelope["data"] if envelope["ok"] else envelope["error"]
            return answer.status, found, answer.headers

    async def key(self, **asked: Any) -> str:
        status, data, _ = await self.page("POST", **asked)
        assert status == 200, data
        return str(data["value"])

    def call(
        self,
        key: str,
        *,
        origin: str | None = SHOP,
        at: ScriptedServer | None = None,
        **options: Any,
    ) -> RealtimeClient:
        headers = {} if origin is None else {"Origin": origin}
        options = {"query": f"agent_id={self.agent_id}"} | options
        return (at or self.server).client(key=key, headers=headers, **options)

    async def refusal(self, key: str, **options: Any) -> tuple[str, int]:
        """The error and the close code of a call that must not begin."""
        async with self.call(key, checked=False, **options) as caller:
            error = await caller.wait_for("error")
            return error["error"]["code"], (await caller.wait_closed())[0]


@pytest.fixture
async def pages(server: ScriptedServer) -> AsyncIterator[Pages]:
    async with aiohttp.ClientSession() as http:
        scopes = ("agents:read", "agents:write")
        made = Pages(server, http, await server.new_key(scopes=scopes))
        await made.new_embed()
        yield made


def call_of(caller: RealtimeClient) -> str:
    call_id: str = caller.of("session.created")[0]["session"]["id"]
    return call_id


async def test_a_visitor_calls_the_embeds_agent(pages: Pages) -> None:
    status, data, headers = await pages.page("POST")
    assert (status, data["maxSeconds"], data["agentId"]) == (200, 600, pages.agent_id)
    assert headers["Access-Control-Allow-Origin"] == SHOP
    async with pages.call(data["value"]) as caller:
        await caller.wait_for("session.created")
        await ask(caller)
        session = pages.server.host.find(call_of(caller))
        assert session is not None
        assert session.config.max_call_ms == 600_000
        assert session.config.instructions == "talk 500"
        seen = await pages.seen()
        assert (seen["callsNow"], seen["waitingNow"]) == (1, 0)
        assert await pages.refusal(data["value"]) == ("invalid_api_key", 4001)


async def test_the_call_stays_what_the_owner_made_of_it(pages: Pages) -> None:
    async with pages.call(await pages.key()) as caller:
        await caller.wait_for("session.created")
        tool = {"type": "function", "name": "f", "parameters": {"type": "object"}}
        for count, (session, param) in enumerate(
            (
                ({"instructions": "talk 900"}, "session.instructions"),
                ({"tools": [tool]}, "session.tools"),
                ({"model": "gpt-4o-mini"}, "session.model"),
                ({"audio": {"output": {"voice": "alloy"}}}, "session.audio.output.voice"),
                ({"blab": {"language": "de"}}, "session.blab.language"),
            ),
            1,
        ):
            await caller.send({"type": "session.update", "session": session})
            error = (await caller.wait_for("error", count=count))["error"]
            assert (error["code"], error["param"]) == ("session_locked", param)
        await caller.send({"type": "response.create", "response": {"instructions": "talk 900"}})
        error = (await caller.wait_for("error", count=6))["error"]
        assert error["code"] == "session_locked"
        await caller.send({"type": "session.update", "session": {"output_modalities": ["text"]}})
        await caller.wait_for(UPDATED)
    key = await pages.key()
    other = await pages.owner("POST", "/api/agents", {"name": "Bob"})
    query = f"agent_id={other['id']}"
    assert await pages.refusal(key, query=query) == ("agent_not_found", 1008)


async def test_a_visitor_may_choose_what_the_embed_allows(pages: Pages) -> None:
    status, error, _ = await pages.page("POST", voice="alloy")
    assert (status, error["details"]["reason"]) == (403, "not_a_choice")
    await pages.change(choices=["voice"])
    status, error, _ = await pages.page("POST", voice="alloy", language="de")
    assert (status, error["details"]["path"]) == (403, "language")
    async with pages.call(await pages.key(voice="default")) as caller:
        await caller.wait_for("session.created")
        voice = {"audio": {"output": {"voice": "alloy"}}}
        await caller.send({"type": "session.update", "session": voice})
        await caller.wait_for(UPDATED)
        await caller.send({"type": "session.update", "session": {"instructions": "x"}})
        await caller.wait_for("error")


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "null",
        "",
        "http://shop.example",
        "https://shop.example:8443",
        "https://www.shop.example",
        "https://shop.example.evil.example",
        "https://evil.example",
    ],
)
async def test_another_page_is_refused(pages: Pages, origin: str | None) -> None:
    status, error, headers = await pages.page("POST", origin=origin)
    assert (status, error["details"]["reason"]) == (403, "foreign_origin")
    assert headers["Access-Control-Allow-Origin"] == "*"  # it may read why
    status, _, headers = await pages.page("OPTIONS", origin=origin)
    assert status == 403
    assert "Access-Control-Allow-Origin" not in headers
    status, _, _ = await pages.page("GET", "widget", origin=origin)
    assert status == (200 if origin is None else 403)
    key = await pages.key()
    assert await _refused_call(pages, key, origin) == (403, "foreign_origin")


async def _refused_call(pages: Pages, key: str, origin: str | None) -> tuple[int, str]:
    """A call over WebRTC with a key that another page got."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/sdp"}
    if origin is not None:
        headers["Origin"] = origin
    offer = CHROMIUM_OFFER.read_text()
    async with (
        aiohttp.ClientSession() as http,
        http.post(pages.server.calls_url, headers=headers, data=offer) as answer,
    ):
        return answer.status, (await answer.json())["error"]["code"]


async def test_a_websocket_from_another_page_is_refused(pages: Pages) -> None:
    key = await pages.key()
    assert await pages.refusal(key, origin="https://evil.example") == ("foreign_origin", 1008)
    await pages.change(origins=["https://new.example"])
    assert await pages.refusal(key) == ("foreign_origin", 1008)
    async with pages.call(key, origin="https://new.example") as caller:
        await caller.wait_for("session.created")


async def test_the_pages_preflight_is_answered(pages: Pages) -> None:
    await pages.change(origins=["https://*.shop.example"])
    origin = "https://www.shop.example"
    status, _, headers = await pages.page("OPTIONS", origin=origin)
    assert (status, headers["Access-Control-Allow-Origin"]) == (204, origin)
    assert headers["Access-Control-Allow-Headers"] == "Content-Type"
    assert headers["Vary"] == "Origin"
    assert (await pages.page("OPTIONS"))[0] == 403


async def test_the_page_gets_the_owners_words(pages: Pages) -> None:
    texts = {"title": "Ask us", "greeting": "Hello!"}
    await pages.change(texts=texts, choices=["language"])
    status, data, _ = await pages.page("GET", "widget")
    assert status == 200
    assert data == {"id": pages.embed_id, "texts": texts, "choices": ["language"]}


async def test_consent_comes_before_the_key(pages: Pages) -> None:
    await pages.change(texts={"consent": "We keep what you say."})
    status, error, _ = await pages.page("POST")
    assert (status, error["code"]) == (403, "CONSENT_REQUIRED")
    assert await pages.key(consent=True)


async def test_an_embed_that_is_not_there_is_absent(pages: Pages) -> None:
    answers = []
    published = pages.embed_id
    key = await pages.key()
    await pages.change(enabled=False)
    for embed_id in (published, new_id("emb"), "emb_x", published.upper()):
        pages.embed_id = embed_id
        answers += [(await pages.page(*what))[:2] for what in (("POST",), ("GET", "widget"))]
        answers.append((await pages.page("OPTIONS"))[:2])
    assert answers == [answers[0]] * len(answers)
    assert answers[0][0] == 404
    assert await pages.refusal(key) == ("invalid_api_key", 4001)


async def test_calls_of_one_address_are_counted(pages: Pages) -> None:
    await pages.change(callsPerMinute=1)
    await pages.key()
    status, error, headers = await pages.page("POST")
    assert (status, error["code"]) == (429, "RATE_LIMITED")
    assert 0 < int(headers["Retry-After"]) <= 60
    assert headers["Access-Control-Allow-Origin"] == SHOP


async def test_who_finds_all_lines_busy_waits_in_the_queue(pages: Pages) -> None:
    await pages.change(maxCalls=1, callsPerMinute=3)
    async with pages.call(await pages.key()) as caller:
        await caller.wait_for("session.created")
        status, error, headers = await pages.page("POST")
        assert (status, error["details"]["reason"]) == (503, "lines_busy")
        assert headers["Retry-After"] == "3"
        visit = error["details"]["visitId"]
        assert (await pages.page("POST"))[1]["details"]["place"] == 2
        for _ in range(3):  # who waits is not counted again
            assert (await pages.page("POST", visitId=visit))[1]["details"]["place"] == 1
        assert (await pages.page("POST"))[0] == 429
    async with pages.call(await _key_of(pages, visit)) as caller:
        await caller.wait_for("session.created")


async def _key_of(pages: Pages, visit_id: str) -> str:
    """The key of a visit that waits; the end of a call is written a moment after it."""
    while True:
        status, data, _ = await pages.page("POST", visitId=visit_id)
        if status == 200:
            return str(data["value"])
        assert data["details"]["place"] == 1


async def test_a_full_server_lets_visitors_wait(pages: Pages) -> None:
    pages.server.set_capacity(1)
    async with pages.server.client() as caller:
        await caller.wait_for("session.created")
        status, error, _ = await pages.page("POST")
        assert (status, error["details"]["place"]) == (503, 1)
    await pages.server.empty()
    assert await pages.key(visitId=error["details"]["visitId"])


async def test_a_spent_day_has_no_more_calls(pages: Pages) -> None:
    await pages.change(minutesPerDay=1)
    async with pages.call(await pages.key()) as caller:
        await caller.wait_for("session.created")
    await pages.server.database.execute(
        "UPDATE embed_visits SET started_at = now(), ended_at = now() + interval '59 seconds'"
    )
    status, error, headers = await pages.page("POST")
    assert (status, error["details"]["reason"]) == (429, "minutes_used_up")
    assert 0 < int(headers["Retry-After"]) <= 24 * 3600 + 1


@pytest.mark.parametrize("deleted", [False, True], ids=["switched_off", "deleted"])
async def test_calls_end_with_their_embed_on_any_node(
    pages: Pages, second_node: ScriptedServer, *, deleted: bool
) -> None:
    key = await pages.key(at=second_node)
    async with (
        pages.call(key, at=second_node) as caller,
        pages.server.client() as neighbour,
    ):
        await caller.wait_for("session.created")
        await neighbour.wait_for("session.created")
        if deleted:
            await pages.owner("DELETE", f"/api/embeds/{pages.embed_id}")
        else:
            await pages.change(enabled=False)
        assert (await caller.wait_closed())[0] == 1000
        assert neighbour.closed is None
    await second_node.empty()


async def test_a_visitor_resumes_the_own_call_only(pages: Pages) -> None:
    key, other = await pages.key(), await pages.key()
    wants = {"type": "realtime", "blab": {"events": ["resumption"]}}
    async with pages.call(key) as caller:
        await caller.wait_for("session.created")
        await caller.send({"type": "session.update", "session": wants})
        handle = (await caller.wait_for(RESUMPTION))["handle"]
        assert await pages.refusal(other, query=f"resume={handle}") == (
            "resumption_not_found",
            1008,
        )
        caller.connection.transport.abort()
    async with pages.call(key, query=f"resume={handle}", checked=False) as caller:
        await caller.wait_for("session.created")
        await caller.send({"type": "session.update", "session": {"instructions": "talk 900"}})
        assert (await caller.wait_for("error"))["error"]["code"] == "session_locked"
        assert (await pages.seen())["callsNow"] == 1
