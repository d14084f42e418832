"""Signing in with a browser, in a real Chromium on a real server with scripted engines. What gives
keys without sign-in sees requests that came through a proxy, as from another machine."""

import re
from pathlib import Path

import pytest
from playwright.async_api import Page, Route, expect

from store.tenants.accounts import Users, Workspaces
from tests.e2e.browser import BrowserPage
from tests.e2e.npm_packages import web_tools
from tests.support.gateway.scripted_server import ScriptedServer, server

__all__ = ["server", "web_tools"]

pytestmark = [pytest.mark.browser, pytest.mark.slow]

EMAIL, PASSWORD = "ada@example.org", "correct horse"
EMPTY = "No calls yet."
REFUSED = "Failed to load resource: the server responded with a status of 403 (Forbidden)"
WAIT = 15_000.0
"""ms until the page must show something."""


async def from_elsewhere(route: Route) -> None:
    await route.continue_(headers={**route.request.headers, "X-Forwarded-For": "203.0.113.9"})


async def arrive(page: Page, server: ScriptedServer, path: str) -> None:
    await page.context.route(re.compile("/(demo|studio)/session$"), from_elsewhere)
    await page.goto(server.url + path)
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible(timeout=WAIT)


async def create_account(page: Page) -> None:
    await page.get_by_role("button", name="Create an account").click()
    await page.get_by_label("Name").fill("Ada")
    await page.get_by_label("E-mail").fill(EMAIL)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Create account").click()


async def test_an_account_is_made_signed_out_of_and_signed_in_to(
    server: ScriptedServer, browser_page: BrowserPage
) -> None:
    visit = await browser_page()
    page = visit.page
    await arrive(page, server, "/calls")
    await create_account(page)
    await expect(page.get_by_text(EMPTY)).to_be_visible(timeout=WAIT)

    # nothing that opens anything is within reach of the page's scripts
    assert await page.evaluate("document.cookie + JSON.stringify({...localStorage})") == "{}"
    assert await page.evaluate("sessionStorage.length") == 0
    [cookie] = await page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")

    # the call page calls for the same workspace
    await page.get_by_role("link", name="Talk").click()
    await expect(page.locator("body")).to_have_attribute("data-phase", "idle", timeout=WAIT)
    await page.get_by_role("button", name="Start talking").click()
    await expect(page.locator("body")).to_have_attribute("data-phase", "live", timeout=WAIT)
    user = await Users(server.database).find_by_email(EMAIL)
    assert user is not None
    [membership] = await Workspaces(server.database).memberships(user.id)
    [call_id] = server.app_calls()
    assert await server.host._registry.get(membership.workspace_id, call_id) is not None
    await page.get_by_role("button", name="Hang up").click()
    await page.get_by_role("link", name="Calls").click()
    await expect(page.locator("a.row")).to_have_count(1, timeout=WAIT)

    # signed out here, on the server, and in what the browser kept of the pages
    await page.get_by_role("button", name="Account of Ada").click()
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible(timeout=WAIT)
    assert await page.context.cookies() == []
    await page.go_back()
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible(timeout=WAIT)
    await expect(page.locator("a.row")).to_have_count(0)
    await page.context.add_cookies(
        [{"name": cookie["name"], "value": cookie["value"], "url": server.url}]
    )
    await page.reload()
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible(timeout=WAIT)

    # back where one was, with the keyboard
    await page.get_by_label("E-mail").fill(EMAIL)
    await page.get_by_label("Password").fill("wrong")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_have_text(
        "The e-mail address or the password is wrong."
    )
    await page.keyboard.type(PASSWORD)
    await page.keyboard.press("Enter")
    await expect(page.locator("a.row")).to_have_count(1, timeout=WAIT)
    assert {error for error in visit.console_errors if "401" not in error} <= {REFUSED}
    assert visit.external_requests(server.url) == []


async def test_a_page_follows_who_is_signed_in(
    server: ScriptedServer, browser_page: BrowserPage
) -> None:
    """A workspace is chosen; then the sign-in ends under an open page, which keeps what was
    typed."""
    visit = await browser_page()
    page = visit.page
    await arrive(page, server, "/sign-in?to=/calls")
    await create_account(page)
    await page.wait_for_url("**/calls")
    await expect(page.get_by_text(EMPTY)).to_be_visible(timeout=WAIT)
    user = await Users(server.database).find_by_email(EMAIL)
    assert user is not None
    await Workspaces(server.database).create("Second desk", user.id)

    await page.reload()
    await page.get_by_role("button", name="Account of Ada").click()
    await page.get_by_role("button", name="Second desk").click()
    await page.get_by_role("button", name="Account of Ada").click()
    await expect(page.get_by_role("button", name="Second desk")).to_have_attribute(
        "aria-current", "true", timeout=WAIT
    )
    await page.keyboard.press("Escape")

    other = await page.context.new_page()
    await other.goto(f"{server.url}/calls")
    await other.get_by_role("button", name="Account of Ada").click()
    await other.get_by_role("button", name="Sign out").click()
    await expect(other.get_by_role("heading", name="Sign in")).to_be_visible(timeout=WAIT)
    search = page.get_by_role("searchbox", name="Search what was said")
    await search.fill("anything")
    card = page.locator(".sign-in")
    await expect(card).to_contain_text("You are no longer signed in", timeout=WAIT)
    await expect(search).to_be_hidden()
    await page.get_by_label("E-mail").fill(EMAIL)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign in", exact=True).click()
    await expect(search).to_have_value("anything", timeout=WAIT)
    await expect(page.get_by_text("No call fits.")).to_be_visible(timeout=WAIT)


@pytest.mark.parametrize(
    ("wanted", "reached"),
    [
        ("/calls?q=a", "/calls?q=a"),
        ("//evil.example/x", "/"),
        ("https://evil.example", "/"),
        ("/sign-in", "/"),
        ("http://[", "/"),
    ],
)
async def test_the_way_on_stays_on_this_server(
    server: ScriptedServer, browser_page: BrowserPage, wanted: str, reached: str
) -> None:
    """On the server's own machine nobody has to sign in."""
    visit = await browser_page()
    await visit.page.goto(f"{server.url}/sign-in?to={wanted}")
    await visit.page.wait_for_url(server.url + reached, timeout=WAIT)
    assert visit.external_requests(server.url) == []


async def test_everybody_can_sign_in(
    server: ScriptedServer, browser_page: BrowserPage, web_tools: Path
) -> None:
    axe = (web_tools / "axe-core" / "axe.min.js").read_text()
    visit = await browser_page()
    page = visit.page
    await arrive(page, server, "/calls")
    for way in ("Create an account", "Use an API key", "Sign in with e-mail"):
        await page.get_by_role("button", name=way).click()
        await faultless(page, axe)
    await create_account(page)
    await page.get_by_role("button", name="Account of Ada").click(timeout=WAIT)
    await faultless(page, axe)


async def faultless(page: Page, axe: str) -> None:
    for width, height in ((360, 640), (1366, 650)):
        await page.set_viewport_size({"width": width, "height": height})
        for scheme in ("light", "dark"):
            await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            await page.evaluate(axe)
            found = await page.evaluate("axe.run()")
            faults = [
                (one["id"], [node["html"][:120] for node in one["nodes"]])
                for one in found["violations"]
            ]
            assert faults == [], (width, scheme)
            assert await page.evaluate("document.documentElement.scrollWidth") <= width
