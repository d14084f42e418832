"""Signing in and calling through the proxies of ``deploy/``, in a real Chromium over https."""

from collections.abc import AsyncIterator
from ipaddress import ip_network
from pathlib import Path

import aiohttp
import pytest
from playwright.async_api import expect

from gateway.services import ServiceUrls
from rest.accounts.accounts import SignInRates
from rest.accounts.sign_in import SECURE_COOKIE
from store.database import Database
from tests.e2e.browser import BrowserPage
from tests.e2e.test_sign_in import EMPTY, WAIT, create_account
from tests.integration.test_proxies import Proxy, proxy
from tests.support.gateway.scripted_server import ScriptedServer, running_node

__all__ = ["proxy"]

pytestmark = [pytest.mark.browser, pytest.mark.slow]

POST = """async (withToken) => {
  const { data } = await (await fetch("/session")).json();
  const token = withToken && { "X-CSRF-Token": data.csrfToken };
  const headers = { "Content-Type": "application/json", ...token };
  const body = JSON.stringify({ name: "Desk" });
  return (await fetch("/api/projects", { method: "POST", headers, body })).status;
}"""
FIRST_EVENT = """async (id) => {
  const response = await fetch(`/api/sessions/${id}/events`);
  const reader = response.body.getReader();
  const { value } = await reader.read();
  await reader.cancel();
  return [response.headers.get("content-type"), new TextDecoder().decode(value)];
}"""


@pytest.fixture
async def server(
    database: Database, own_database_url: str, redis_url: str, tmp_path: Path
) -> AsyncIterator[ScriptedServer]:
    """A node that believes the proxy on this machine."""
    urls = ServiceUrls(own_database_url, redis_url)
    trusted = (ip_network("127.0.0.1/32"),)
    async with running_node(database, urls, tmp_path, trusted_proxies=trusted) as node:
        yield node


@pytest.fixture
def second_node(server: ScriptedServer) -> ScriptedServer:
    """The configurations name two machines; here both are the same one."""
    return server


async def test_a_browser_signs_in_calls_follows_and_signs_out_through_the_proxy(
    proxy: Proxy, server: ScriptedServer, browser_page: BrowserPage
) -> None:
    visit = await browser_page(ignore_https_errors=True)
    page = visit.page
    await page.goto(f"{proxy.url}/calls")
    await create_account(page)
    await expect(page.get_by_text(EMPTY)).to_be_visible(timeout=WAIT)
    [cookie] = await page.context.cookies()
    kept = (cookie["name"], cookie["secure"], cookie["httpOnly"], cookie["sameSite"])
    assert kept == (SECURE_COOKIE, True, True, "Strict")

    # a change needs the token of the page's origin
    assert [await page.evaluate(POST, with_token) for with_token in (False, True)] == [403, 200]

    # a call over wss, and its events as they come, while it goes on
    await page.goto(proxy.url)
    await expect(page.locator("body")).to_have_attribute("data-phase", "idle", timeout=WAIT)
    await page.locator("[name=transport][value=websocket]").check(force=True)
    await page.get_by_role("button", name="Start talking").click()
    await expect(page.locator("body")).to_have_attribute("data-phase", "live", timeout=WAIT)
    [call_id] = server.app_calls()
    other = await page.context.new_page()
    await other.goto(f"{proxy.url}/calls")
    kind, event = await other.evaluate(FIRST_EVENT, call_id)
    assert kind.startswith("text/event-stream")
    assert "data:" in event
    assert server.app_calls() == (call_id,), "the stream did not wait for the call's end"
    await page.get_by_role("button", name="Hang up").click()
    await expect(other.locator("a.row")).to_have_count(1, timeout=WAIT)

    await other.get_by_role("button", name="Account of Ada").click()
    await other.get_by_role("button", name="Sign out").click()
    await expect(other.get_by_role("heading", name="Sign in")).to_be_visible(timeout=WAIT)
    assert await other.context.cookies() == []
    assert visit.external_requests(proxy.url) == []


async def test_a_client_cannot_make_up_its_address(proxy: Proxy) -> None:
    """Attempts to sign in are counted by the address that the proxy saw: here, one that no other
    test has."""
    own = f"127.1.{proxy.port >> 8}.{proxy.port & 255}"
    connector = aiohttp.TCPConnector(ssl=proxy.trust, local_addr=(own, 0))
    answers: list[int] = []
    async with aiohttp.ClientSession(proxy.url, connector=connector) as http:
        while 429 not in answers and len(answers) < 2 * SignInRates().address.limit:
            number = len(answers)
            body = {"email": f"caller{number}@example.org", "password": "a wrong one"}
            headers = {"X-Forwarded-For": f"203.0.113.{number}"}
            async with http.post("/session", json=body, headers=headers) as answer:
                answers.append(answer.status)
    assert answers[0] == 401
    assert answers[-1] == 429
