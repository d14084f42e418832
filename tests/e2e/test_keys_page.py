"""The room of API keys in a real Chromium, on a real server."""

import re
from pathlib import Path

import aiohttp
import pytest
from playwright.async_api import Page, expect

from rest.accounts.keys import SCOPES
from tests.e2e.browser import BrowserPage
from tests.e2e.npm_packages import web_tools
from tests.e2e.operating import (
    WAIT,
    Operated,
    everybody_can_use,
    operated,
    ready,
)
from tests.support.paths import STATIC

__all__ = ["operated", "web_tools"]

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_every_scope_has_words() -> None:
    words = (STATIC / "keys" / "scopes.js").read_text()
    assert [scope for scope in SCOPES if words.count(f'"{scope}": "') != 1] == []


async def make(page: Page, name: str, preset: str) -> str:
    """A key, read from the page."""
    await page.get_by_role("button", name="New key").click()
    await page.get_by_role("textbox", name="Name").fill(name)
    await page.get_by_role("button", name=preset).click()
    await page.get_by_role("button", name="Make the key").click()
    shown = page.get_by_role("group", name="The key").locator("code")
    key = await shown.inner_text()
    await page.get_by_role("button", name="I have it").click()
    return key


async def test_a_key_is_made_used_and_revoked(
    operated: Operated, browser_page: BrowserPage
) -> None:
    visit = await browser_page()
    page = visit.page
    await ready(page, f"{operated.url}/keys")
    row = page.locator("tbody tr").filter(has_text="Reception")
    await expect(row).to_have_count(0)
    await page.get_by_role("button", name="New key").click()
    await page.get_by_role("textbox", name="Name").fill("Reception")
    await page.get_by_label("Read agents, calls and recordings").check()
    await page.get_by_label("Expires").select_option("30")
    await page.get_by_role("button", name="Make the key").click()
    key = await page.get_by_role("group", name="The key").locator("code").inner_text()
    await expect(page.locator(".code code")).to_contain_text(key)
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_be_visible()  # it could not be shown again
    await page.get_by_role("button", name="I have it").click()
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(row).to_contain_text("Only read: Agents and calls")
    await expect(row).to_contain_text("in 30 days")
    await expect(row).to_contain_text("never")
    await expect(page.locator("body")).not_to_contain_text(key)

    headers = {"Authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(operated.server.url, headers=headers) as http:
        assert (await http.get("/api/agents")).status == 200
        assert (await http.get("/api/jobs")).status == 403
        await ready(page, f"{operated.url}/keys")
        await expect(row).to_contain_text(re.compile("just now|seconds? ago|minutes? ago"))
        await page.get_by_role("button", name="Revoke Reception").click()
        await page.get_by_role("button", name="Cancel").click()
        await expect(row).to_have_count(1)
        await page.get_by_role("button", name="Revoke Reception").click()
        await page.get_by_role("button", name="Revoke the key").click()
        await expect(row).to_have_count(0)
        await expect(page.get_by_text("“Reception” is revoked.")).to_be_visible()
        assert (await http.get("/api/agents")).status == 401
    assert visit.console_errors == []
    assert visit.external_requests(operated.url) == []


async def test_a_refusal_is_shown_where_it_belongs(
    operated: Operated, browser_page: BrowserPage
) -> None:
    visit = await browser_page()
    page = visit.page
    await ready(page, f"{operated.url}/keys")
    await page.get_by_role("button", name="New key").click()
    await page.get_by_role("textbox", name="Name").fill("Late")
    await page.get_by_label("Expires").select_option("day")
    day = page.get_by_label("Last day")
    await day.evaluate("(field) => { field.min = ''; field.value = '2020-01-01'; }")
    await page.get_by_role("button", name="Make the key").click()
    await expect(page.get_by_role("alert")).to_contain_text("must lie in the future")
    await page.get_by_label("Expires").select_option("")
    await page.get_by_role("button", name="Make the key").click()
    await expect(page.get_by_role("group", name="The key")).to_be_visible()


async def test_everybody_can_use_it(
    operated: Operated, browser_page: BrowserPage, web_tools: Path
) -> None:
    axe = (web_tools / "axe-core" / "axe.min.js").read_text()
    page = (await browser_page()).page
    await ready(page, f"{operated.url}/keys")
    await make(page, "A program with an uncommonly long name, which wraps", "Everything")
    await everybody_can_use(page, axe, "list")
    await page.get_by_role("button", name="New key").click()
    await everybody_can_use(page, axe, "form")
    await page.get_by_role("textbox", name="Name").fill("Phone")
    await page.get_by_role("button", name="Make the key").click()
    await page.get_by_role("button", name="I have it").wait_for(timeout=WAIT)
    await everybody_can_use(page, axe, "secret")
