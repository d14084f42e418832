"""The call page's dial pad in a real Chromium, against the mock gateway."""

from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import expect

from tests.e2e.browser import BrowserPage, spoken
from tests.e2e.mock_call import MockCall
from tests.e2e.mock_gateway import MockGateway
from tests.e2e.npm_packages import web_tools
from tests.e2e.test_demo_page import TRANSPORTS, WAIT, address, arrive, gateway, talk

__all__ = ["address", "gateway", "web_tools"]
pytestmark = [pytest.mark.browser, pytest.mark.slow]

SIZES = [(360, 640), (1366, 650), (683, 325)]


async def opened(page: Any) -> Any:
    button = page.get_by_role("button", name="Dial pad")
    await expect(button).to_be_enabled(timeout=WAIT)
    await button.click()
    pad = page.get_by_role("dialog", name="Dial pad")
    await expect(pad).to_be_visible()
    return pad


def pressed(call: MockCall) -> str:
    return "".join(one["digit"] for one in call.received if one["type"] == "blab.dtmf")


def said(call: MockCall) -> list[str]:
    items = [one["item"] for one in call.received if one["type"] == "conversation.item.create"]
    return [item["content"][0]["text"] for item in items]


@TRANSPORTS
async def test_keys_are_pressed_and_answered(
    transport: str,
    browser_page: BrowserPage,
    gateway: MockGateway,
    address: str,
    tmp_path: Path,
) -> None:
    visit = await browser_page(spoken(tmp_path / "silence.wav", 60.0))
    page = await arrive(visit, address, transport)
    await expect(page.get_by_role("button", name="Dial pad")).to_be_disabled()
    await talk(page)
    call = await gateway.next_call()
    pad = await opened(page)

    await pad.get_by_role("button", name="4", exact=True).click()
    await page.keyboard.type("2*")
    await page.keyboard.press("ArrowRight")  # from the star to the nought
    await expect(pad.get_by_role("button", name="0", exact=True)).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(pad.get_by_role("status")).to_have_text("42*0")
    await page.keyboard.press("#")
    words = "(I pressed 42*0# on my telephone.)"
    await expect(page.locator(".turn.you").last).to_contain_text(words)
    await expect(page.locator(".turn.blab")).to_have_attribute("data-state", "done", timeout=WAIT)
    assert (pressed(call), said(call)) == ("42*0#", [words])

    # two seconds without a key are an answer, too
    await page.keyboard.press("7")
    await expect(pad.get_by_role("status")).to_have_text("7")
    await expect(page.locator(".turn.you").last).to_contain_text("(I pressed 7 on", timeout=WAIT)
    await page.keyboard.press("Escape")
    await expect(pad).to_be_hidden()
    await expect(page.get_by_role("button", name="Dial pad")).to_be_focused()
    assert visit.console_errors == []


async def test_what_was_not_answered_ends_with_the_call(
    browser_page: BrowserPage, gateway: MockGateway, address: str
) -> None:
    page = await arrive(await browser_page(), address, "websocket")
    await talk(page)
    call = await gateway.next_call()
    pad = await opened(page)
    await page.keyboard.type("55")
    await expect(pad.get_by_role("status")).to_have_text("55")
    await page.evaluate("document.getElementById('talk').click()")
    await expect(page.locator("body")).to_have_attribute("data-phase", "idle")
    await expect(pad).to_be_hidden()
    await talk(page)
    assert await opened(page)
    await expect(pad.get_by_role("status")).to_be_empty()
    assert said(call) == []


async def test_everybody_can_use_it(
    browser_page: BrowserPage, address: str, web_tools: Path
) -> None:
    page = await arrive(await browser_page(), address, "websocket")
    await talk(page)
    await page.evaluate((web_tools / "axe-core" / "axe.min.js").read_text())
    for width, height in SIZES:
        await page.set_viewport_size({"width": width, "height": height})
        pad = await opened(page)
        for scheme in ("light", "dark"):
            await page.emulate_media(
                color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce"
            )
            found = await page.evaluate("axe.run({ exclude: ['canvas'] })")
            assert [one["id"] for one in found["violations"]] == [], (width, scheme)
            box = await pad.bounding_box()
            assert box["x"] >= 0
            assert box["y"] >= 0
            assert box["x"] + box["width"] <= width
            assert box["y"] + box["height"] <= height, (width, box)
        await page.keyboard.press("Escape")
