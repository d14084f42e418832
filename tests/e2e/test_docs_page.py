"""The API documentation in a real Chromium: it shows the operations and loads only from the
server."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import expect

from rest.openapi.document import Docs, OpenApi
from tests.e2e.browser import BrowserPage
from tests.support.paths import DOCS_PAGE
from tests.support.rest.all_resources import all_operations

pytestmark = pytest.mark.browser

PAGES = DOCS_PAGE
WAIT = 20_000.0
"""ms until the page must be there."""


@pytest.fixture
async def address() -> AsyncIterator[str]:
    app = web.Application()
    app.add_routes([*Docs(PAGES).routes(), *OpenApi(all_operations()).routes()])
    async with TestServer(app) as server:
        yield str(server.make_url("/")).rstrip("/")


async def test_the_page_shows_every_operation_offline(
    address: str, browser_page: BrowserPage
) -> None:
    visit = await browser_page()
    page = visit.page
    await page.goto(f"{address}/docs")
    await expect(page.locator(".opblock")).to_have_count(len(all_operations()), timeout=WAIT)
    await page.locator("#operations-TTS-post_tts .opblock-summary").click()
    body = page.locator("#operations-TTS-post_tts textarea.body-param__text")
    await expect(body).to_contain_text('"model": "blab-stable"', timeout=WAIT)
    await page.get_by_role("button", name="Authorize").click()
    await expect(page.locator(".auth-container")).to_contain_text("bearerAuth", timeout=WAIT)
    assert visit.console_errors == []
    assert visit.external_requests(address) == []
