"""The room of webhooks in a real Chromium, on a real server whose worker sends to this machine."""

import asyncio
import json
import shutil
import sys
import time
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.e2e.browser import BrowserPage
from tests.e2e.npm_packages import web_tools
from tests.e2e.operating import (
    WAIT,
    Operated,
    everybody_can_use,
    operated,
    ready,
    receiver,
)

__all__ = ["operated", "web_tools"]

pytestmark = [pytest.mark.browser, pytest.mark.slow]

SENT = 35_000.0
"""ms until the page knows how an event was received."""


async def make(page: Page, url: str) -> dict[str, str]:
    """A webhook for finished speech: its secret, and the programs shown with it by language."""
    await page.get_by_role("button", name="New webhook").click()
    await page.get_by_label("Address that takes").fill(url)
    await page.get_by_label("Everything that happens").uncheck()
    await page.get_by_label("Speech finished").check()
    await page.get_by_role("button", name="Make the webhook").click()
    secret = page.get_by_role("group", name="The secret").locator("code")
    shown = {"secret": await secret.inner_text()}
    for language in ("Python", "JavaScript", "curl"):
        await page.get_by_role("button", name=language).click()
        shown[language] = await page.locator(".code pre").inner_text()
    await page.get_by_role("link", name="I have it").click()
    await expect(page.locator("body")).to_have_attribute("data-ready", "true", timeout=WAIT)
    return shown


async def test_an_event_is_tested_seen_and_sent_again(
    operated: Operated, browser_page: BrowserPage
) -> None:
    visit = await browser_page()
    page = visit.page
    async with receiver(500) as (url, got), operated.working():
        await ready(page, f"{operated.url}/webhooks")
        await expect(page.get_by_text("No address is informed yet.")).to_be_visible()
        shown = await make(page, url)
        await expect(page.get_by_text("Nothing has been sent here yet.")).to_be_visible()
        await expect(page.locator("body")).not_to_contain_text(shown["secret"])
        await page.get_by_role("button", name="Send a test event").click()
        said = page.get_by_role("status")
        await expect(said).to_contain_text("The endpoint answered 500.", timeout=SENT)
        delivery = page.locator(".delivery")
        await expect(delivery).to_have_count(1)
        await expect(delivery).to_contain_text("Failed")
        await delivery.locator("summary").click()
        await expect(delivery.locator("pre")).to_contain_text("This is a test event from Blab.")
        await page.get_by_role("button", name="Send it again").click()
        await expect(said).to_contain_text("the receiver answered HTTP 204", timeout=SENT)
        await expect(delivery).to_have_count(2)
        await expect(delivery.first).to_contain_text("attempt 2, repeats 1")
        await expect(page.get_by_role("button", name="Send it again")).to_be_enabled()
    first, second = got
    assert first[1] == second[1]
    assert first[0]["webhook-id"] == second[0]["webhook-id"]

    # switched off nothing is sent, and the page says so
    await page.get_by_role("switch").uncheck()
    await expect(said).to_contain_text("Switched off")
    await page.get_by_role("button", name="Send a test event").click()
    await expect(said).to_contain_text("switch it on first")

    # changed, and deleted by those who mean it
    await page.get_by_role("button", name="Change").click()
    await page.get_by_label("Everything that happens").check()
    await page.get_by_role("button", name="Save").click()
    await expect(page.locator(".facts dd").nth(1)).to_have_text("Everything")
    await page.get_by_role("button", name="Delete").click()
    await page.get_by_role("button", name="Cancel").click()
    await page.get_by_role("button", name="Delete").click()
    await page.get_by_role("button", name="Delete the webhook").click()
    await page.wait_for_url("**/webhooks")
    await expect(page.get_by_text("No address is informed yet.")).to_be_visible()
    expected = [one for one in visit.console_errors if "409" not in one]
    assert expected == []


async def test_the_shown_programs_check_a_signature(
    operated: Operated, browser_page: BrowserPage, tmp_path: Path
) -> None:
    node = shutil.which("node")
    page = (await browser_page()).page
    async with receiver() as (url, got):
        await ready(page, f"{operated.url}/webhooks")
        shown = await make(page, url)
        assert await run(tmp_path, "sh", "-c", shown["curl"]) == 0
        ((headers, body),) = got
        for language, verdict in (("Python", 0), ("JavaScript", 0)):
            if language == "JavaScript" and node is None:
                continue
            for sent, wanted in (
                (headers, verdict),
                ({**headers, "webhook-id": "evt_other"}, 1),
                ({**headers, "webhook-timestamp": str(int(time.time()) - 600)}, 1),
            ):
                program = checking(language, shown[language], sent, body)
                file = tmp_path / ("check.py" if language == "Python" else "check.mjs")
                file.write_text(program)
                runs = sys.executable if language == "Python" else node or ""
                assert await run(tmp_path, runs, str(file)) == wanted, (language, sent)


def checking(language: str, shown: str, headers: dict[str, str], body: bytes) -> str:
    """The program, applied to what was received."""
    given, text = json.dumps(headers), json.dumps(body.decode())
    if language == "Python":
        return f"{shown}\nverify({given}, {text}.encode())\n"
    return f"{shown}\nverify({given}, Buffer.from({text}));\n"


async def run(folder: Path, *command: str) -> int:
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    async with asyncio.timeout(20):
        return await process.wait()


async def test_a_refused_address_is_explained(
    operated: Operated, browser_page: BrowserPage
) -> None:
    page = (await browser_page()).page
    await ready(page, f"{operated.url}/webhooks")
    await page.get_by_role("button", name="New webhook").click()
    await page.get_by_label("Address that takes").fill("http://169.254.169.254/latest")
    await page.get_by_role("button", name="Make the webhook").click()
    await expect(page.get_by_role("alert")).to_contain_text("not public")
    await page.get_by_label("Everything that happens").uncheck()
    await page.get_by_role("button", name="Make the webhook").click()
    await expect(page.get_by_role("alert")).to_contain_text("Choose at least one event")


async def test_everybody_can_use_it(
    operated: Operated, browser_page: BrowserPage, web_tools: Path
) -> None:
    axe = (web_tools / "axe-core" / "axe.min.js").read_text()
    page = (await browser_page()).page
    async with receiver(500) as (url, _), operated.working():
        await ready(page, f"{operated.url}/webhooks")
        await page.get_by_role("button", name="New webhook").click()
        await everybody_can_use(page, axe, "form")
        await page.keyboard.press("Escape")
        await make(page, url)
        await page.get_by_role("button", name="Send a test event").click()
        await expect(page.get_by_role("status")).to_contain_text("500", timeout=SENT)
        await page.locator(".delivery summary").click()
        await expect(page.locator(".delivery pre")).to_contain_text("webhook.test")
        await everybody_can_use(page, axe, "one")
    await ready(page, f"{operated.url}/webhooks")
    await everybody_can_use(page, axe, "list")
