"""The workbench while more jobs wait than a browser has connections to a server."""

import pytest
from playwright.async_api import expect

from tests.e2e.browser import BrowserPage
from tests.e2e.operating import WAIT, Operated, operated, ready
from tests.e2e.test_jobs_page import submitted

__all__ = ["operated"]
pytestmark = [pytest.mark.browser, pytest.mark.slow]

JOBS = 10
SHOWN = 8


async def test_jobs_that_wait_do_not_hold_the_browser_up(
    operated: Operated, browser_page: BrowserPage
) -> None:
    for _ in range(JOBS):
        await submitted(operated)
    visit = await browser_page()
    page = visit.page
    await ready(page, f"{operated.url}/workbench/speech")
    rows = page.locator(".row-of")
    await expect(rows).to_have_count(SHOWN, timeout=WAIT)
    waiting = page.get_by_text("Waiting…")
    await expect(waiting).to_have_count(SHOWN)
    await page.get_by_role("link", name="Usage").click()
    await expect(page.locator("body")).to_have_attribute("data-ready", "true", timeout=WAIT)
    await page.wait_for_url("**/usage")

    await ready(page, f"{operated.url}/workbench/speech")
    await page.get_by_role("button", name="More files").click()
    await expect(rows).to_have_count(JOBS, timeout=WAIT)
    async with operated.working():
        await expect(waiting).to_have_count(0, timeout=3 * WAIT)
    await expect(page.locator(".row-of[data-status=completed]")).to_have_count(JOBS, timeout=WAIT)
    assert visit.console_errors == []
