"""<blab-agent> in small and zoomed windows: all of it can be reached, and nothing lies outside."""

from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.e2e.browser import BrowserPage, spoken
from tests.e2e.npm_packages import web_tools
from tests.e2e.test_blab_agent import Shop, arrive, faults, shop
from tests.support.gateway.scripted_server import server

__all__ = ["server", "shop", "web_tools"]
pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(120)]

PHONE, ZOOMED, FOURFOLD = (360, 640), (683, 325), (320, 256)
"""A phone; 1366x650 at 200 %; and 1280x1024 at 400 %, where the panel scrolls."""
TITLE = "The Grand Hotel's front desk, day and night"
CONSENT = ("What you say is processed on our server and kept for thirty days. " * 8).strip()
TEXTS = {"title": TITLE, "greeting": "Ask me about rooms and breakfast.", "consent": CONSENT}


async def nothing_is_outside(page: Page, *names: str, scrolls: bool = False) -> None:
    """The panel is in the window, and so is each button; ``scrolls``: once it is scrolled to."""
    window = page.viewport_size
    assert window is not None
    panel = await page.locator("blab-agent .panel").bounding_box()
    assert panel is not None
    assert_within(panel, window)
    for name in names:
        button = page.locator("blab-agent").get_by_role("button", name=name)
        if scrolls:
            await button.scroll_into_view_if_needed()
        await expect(button).to_be_in_viewport(ratio=0.99)
        box = await button.bounding_box()
        assert box is not None
        assert_within(box, window)
        assert box["y"] + box["height"] <= panel["y"] + panel["height"]
    assert await page.evaluate("document.documentElement.scrollWidth") <= window["width"]


def assert_within(box: Any, window: Any) -> None:
    assert box["x"] >= 0, box
    assert box["y"] >= 0, box
    assert box["x"] + box["width"] <= window["width"], box
    assert box["y"] + box["height"] <= window["height"], box


async def sized(page: Page, size: tuple[int, int], scheme: str = "light") -> None:
    await page.set_viewport_size({"width": size[0], "height": size[1]})
    await page.emulate_media(
        color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce"
    )


@pytest.mark.parametrize("position", ["", 'position="left"'], ids=["right", "left"])
async def test_a_bubble_that_is_opened_fits(
    position: str, shop: Shop, browser_page: BrowserPage, web_tools: Path, tmp_path: Path
) -> None:
    await shop.new_embed(position, texts=TEXTS)
    visit = await browser_page(spoken(tmp_path / "silence.wav", 120.0))
    page = await arrive(visit, shop)
    await sized(page, ZOOMED)
    await page.get_by_role("button", name="Open the voice assistant").click()
    for size in (PHONE, ZOOMED, FOURFOLD):
        for scheme in ("light", "dark"):
            await sized(page, size, scheme)
            await nothing_is_outside(page, "Close", "Agree", scrolls=size == FOURFOLD)
            assert await faults(page, web_tools) == [], (size, scheme)

    # a conversation, of which the newest turn is in view
    await sized(page, PHONE)
    await page.get_by_role("button", name="Agree").click()
    await expect(page.get_by_role("button", name="Hang up")).to_be_visible(timeout=20_000)
    for number in range(6):
        field = page.get_by_role("textbox")
        await field.fill(f"Question {number}, with a wo{'o' * 60}rd")
        await field.press("Enter")
        turn = page.locator("blab-agent .user").nth(number)
        await expect(turn).to_contain_text(f"Question {number}", timeout=20_000)
    for size in (PHONE, ZOOMED, FOURFOLD):
        await sized(page, size)
        names = ("Close", "Hang up", "Mute", "Send")
        await nothing_is_outside(page, *names, scrolls=size == FOURFOLD)
        assert await faults(page, web_tools) == [], size
    assert (
        await page.locator("blab-agent li:visible").evaluate_all(
            "(items) => items.filter((one) => !one.lastChild.textContent.trim()).length"
        )
        == 0
    )

    # closed: the bubble is back
    await sized(page, ZOOMED)
    await page.get_by_role("button", name="Hang up").click()
    await page.get_by_role("button", name="Close").click()
    opener = page.get_by_role("button", name="Open the voice assistant")
    await expect(opener).to_be_focused()
    await expect(opener).to_be_in_viewport(ratio=0.99)


async def test_a_panel_in_its_place_fits(
    shop: Shop, browser_page: BrowserPage, web_tools: Path
) -> None:
    await shop.new_embed('mode="inline"', texts=TEXTS)
    page = await arrive(await browser_page(), shop)
    await expect(page.get_by_role("button", name="Agree")).to_be_visible(timeout=20_000)
    for size in (PHONE, ZOOMED, FOURFOLD):
        for scheme in ("light", "dark"):
            await sized(page, size, scheme)
            assert await page.evaluate("document.documentElement.scrollWidth") <= size[0]
            assert await faults(page, web_tools) == [], (size, scheme)
