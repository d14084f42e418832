"""The account menu of the call page: in a real Chromium on a real server where people sign in."""

import pytest
from playwright.async_api import expect

from store.tenants.accounts import Users, Workspaces
from tests.e2e.browser import BrowserPage
from tests.e2e.test_sign_in import EMAIL, WAIT, arrive, create_account
from tests.support.gateway.scripted_server import ScriptedServer, server

__all__ = ["server"]
NAME = "Maximiliane Freifrau von Donaudampfschifffahrt"
SIZES = [(360, 640), (683, 325), (1366, 650)]

pytestmark = [pytest.mark.browser, pytest.mark.slow]


async def test_who_is_signed_in_chooses_a_workspace_and_signs_out(
    server: ScriptedServer, browser_page: BrowserPage
) -> None:
    visit = await browser_page()
    page = visit.page
    await arrive(page, server, "/sign-in?to=/")
    await create_account(page)
    account = page.get_by_role("button", name="Account of")
    await expect(account).to_be_visible(timeout=WAIT)
    assert page.url == f"{server.url}/"
    user = await Users(server.database).find_by_email(EMAIL)
    assert user is not None
    await server.database.execute("UPDATE users SET name = $1 WHERE id = $2", NAME, user.id)
    await Workspaces(server.database).create("Second desk", user.id)
    await page.reload()

    for width, height in SIZES:
        await page.set_viewport_size({"width": width, "height": height})
        await account.click()
        await expect(page.get_by_text(EMAIL)).to_be_in_viewport(ratio=0.99)
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        await page.keyboard.press("Escape")
    await account.click()
    await page.get_by_role("button", name="Second desk").click()
    await expect(account).to_be_visible(timeout=WAIT)
    await account.click()
    second = page.get_by_role("button", name="Second desk")
    await expect(second).to_have_attribute("aria-current", "true")

    # signed out in another tab: this one says so, and leads to the form all the same
    other = await page.context.new_page()
    await other.goto(f"{server.url}/calls")
    await other.get_by_role("button", name="Account of").click()
    await other.get_by_role("button", name="Sign out").click()
    await expect(other.get_by_role("heading", name="Sign in")).to_be_visible(timeout=WAIT)
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible(timeout=WAIT)
    assert page.url == f"{server.url}/sign-in?to=/"
    await page.goto(server.url)
    await expect(page.locator("body")).to_have_attribute("data-phase", "idle", timeout=WAIT)
    await expect(account).to_have_count(0)


async def test_a_server_that_is_away_signs_nobody_out(
    server: ScriptedServer, browser_page: BrowserPage
) -> None:
    page = (await browser_page()).page
    await arrive(page, server, "/sign-in?to=/")
    await create_account(page)
    await page.get_by_role("button", name="Account of").click(timeout=WAIT)
    await page.context.route("**/session", lambda route: route.abort())
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("alert").filter(has_text="still signed in")).to_be_visible()
    await page.context.unroute("**/session")
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible(timeout=WAIT)
