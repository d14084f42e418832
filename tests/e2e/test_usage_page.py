"""The room of usage in a real Chromium, on a real server with entries of known days."""

import csv
import io
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from rest.resources.usage import TYPES
from store.ids import new_id
from store.tenants.accounts import LOCAL_WORKSPACE
from tests.e2e.browser import BrowserPage
from tests.e2e.npm_packages import web_tools
from tests.e2e.operating import (
    Operated,
    everybody_can_use,
    operated,
    ready,
)
from tests.support.paths import STATIC

__all__ = ["operated", "web_tools"]

pytestmark = [pytest.mark.browser, pytest.mark.slow]

WORK = [
    # days ago, type, model, tokens, ms of audio, cost
    (0, "tts", "blab-stable", 120, 4_000, 0.25),
    (0, "agent", "qwen2.5-0.5b", 80, 0, 0.5),
    (3, "stt", "whisper-base", 0, 60_000, 0.125),
    (3, "tts", "blab-stable", 30, 1_000, 0.125),
    (20, "tts", "blab-expressive", 1_000, 3_600_000, 1.0),
    (60, "translation", "=cmd|x", 7, 0, 0.0),
]


def test_every_type_has_a_name() -> None:
    words = (STATIC / "usage" / "words.js").read_text()
    assert [type for type in TYPES if f'{type}: "' not in words] == []


def day(ago: int) -> str:
    return (datetime.now(UTC) - timedelta(days=ago)).date().isoformat()


async def book(operated: Operated) -> None:
    """The entries of WORK, at noon (UTC) of their days, today's now."""
    for number, (ago, type, model, tokens, audio_ms, cost) in enumerate(WORK):
        now = datetime.now(UTC)
        noon = (now - timedelta(days=ago)).replace(hour=12) if ago else now
        await operated.server.database.execute(
            "INSERT INTO usage_events (id, workspace_id, unit, type, model, tokens, audio_ms, cost,"
            " created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8::float8::numeric, $9)",
            new_id("use"),
            LOCAL_WORKSPACE,
            f"unit {number}",
            type,
            model,
            tokens,
            audio_ms,
            cost,
            noon,
        )


async def figures(page: Page) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in await page.locator(".figure").all():
        found[await one.locator(".figure-name").inner_text()] = await one.locator("b").inner_text()
    return found


async def downloaded(page: Page) -> tuple[str, list[list[str]]]:
    async with page.expect_download() as downloading:
        await page.get_by_role("button", name="Download CSV").click()
    file = await downloading.value
    text = (await file.path()).read_bytes().decode()
    return file.suggested_filename, list(csv.reader(io.StringIO(text)))


async def bars(page: Page) -> int:
    """Pixels of the chart in the colour of its bars."""
    return int(
        await page.evaluate(
            """() => {
              const canvas = document.querySelector(".uplot canvas");
              const { width, height } = canvas;
              const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
              let count = 0;
              for (let i = 0; i < data.length; i += 4) count += data[i] > 200 && data[i + 2] < 110;
              return count;
            }"""
        )
    )


async def test_a_period_is_charted_tabulated_and_taken_along(
    operated: Operated, browser_page: BrowserPage
) -> None:
    await book(operated)
    visit = await browser_page()
    page = visit.page
    await ready(page, f"{operated.url}/usage")
    assert await figures(page) == {
        "Pieces of work": "5",
        "Audio": "1 h 1 min",
        "Tokens and characters": "1,230",
        "Cost": "2.00",
    }
    await expect(page.get_by_role("img", name="Pieces of work by day")).to_be_visible()
    assert await bars(page) > 300
    await page.get_by_text("As a table").click()
    rows = page.locator(".as-table tbody tr")
    await expect(rows).to_have_count(30)
    await expect(rows.last.locator("td")).to_have_text(["2", "4 s", "200", "0.75"])
    name, lines = await downloaded(page)
    assert name == f"usage-{day(29)}-{day(0)}-by-day.csv"
    assert lines[0] == ["day", "count", "audio_ms", "tokens", "cost"]
    assert lines[-1] == [day(0), "2", "4000", "200", "0.75"]

    await page.get_by_role("button", name="7 days").click()
    await expect(page.locator(".figure b").first).to_have_text("4")
    await page.get_by_role("button", name="Audio").click()
    await page.get_by_role("button", name="By model").click()
    models = page.locator(".usage-table tbody th")
    await expect(models).to_have_text(["whisper-base", "blab-stable", "qwen2.5-0.5b"])
    await page.get_by_role("button", name="By type").click()
    await expect(models).to_have_text(["Transcription", "Speech", "Conversation"])

    # the address leads to the same view, and a spreadsheet gets no formula
    await ready(page, page.url.replace("days=7", "days=90").replace("by=type", "by=model"))
    await expect(models).to_have_count(5)
    _, lines = await downloaded(page)
    assert "'=cmd|x" in [line[0] for line in lines]
    assert visit.console_errors == []
    assert visit.external_requests(operated.url) == []


async def test_a_period_that_ended_leaves_out_what_came_after(
    operated: Operated, browser_page: BrowserPage
) -> None:
    await book(operated)
    page = (await browser_page()).page
    await ready(page, f"{operated.url}/usage?by=model")
    await page.get_by_role("button", name="Custom").click()
    await page.get_by_label("First day").fill(day(25))
    await page.get_by_label("Last day").fill(day(3))
    models = page.locator(".usage-table tbody")
    await expect(models.get_by_role("row", name="blab-stable")).to_contain_text("30")
    await expect(models.get_by_role("row", name=re.compile("qwen"))).to_have_count(0)
    assert (await figures(page))["Cost"] == "1.25"
    assert (await figures(page))["Pieces of work"] == "3"
    await page.get_by_label("First day").fill(day(1))
    await expect(page.get_by_role("alert").first).to_contain_text("must end today or before")


async def test_entries_are_filtered_and_paged(
    operated: Operated, browser_page: BrowserPage
) -> None:
    await book(operated)
    await operated.server.database.execute(
        "INSERT INTO usage_events (id, workspace_id, unit, type, model, tokens)"
        " SELECT 'use_' || lpad(n::text, 26, '0'), $1, 'more ' || n, 'agent', 'old', 1"
        " FROM generate_series(1, 30) n",
        LOCAL_WORKSPACE,
    )
    page = (await browser_page()).page
    await ready(page, f"{operated.url}/usage")
    rows = page.locator(".entries tbody tr")
    await expect(rows).to_have_count(25)
    await page.get_by_role("button", name="More entries").click()
    await expect(rows).to_have_count(36)
    await expect(page.get_by_role("button", name="More entries")).to_be_hidden()
    await page.get_by_label("Type").select_option("tts")
    await expect(rows).to_have_count(3)
    await page.get_by_label("Model").select_option("whisper-base")
    await expect(page.get_by_text("No entry fits.")).to_be_visible()


async def test_where_nothing_was_used_the_page_says_what_counts(
    operated: Operated, browser_page: BrowserPage
) -> None:
    page = (await browser_page()).page
    await ready(page, f"{operated.url}/usage")
    await expect(page.get_by_text("Nothing was used in these days.")).to_be_visible()
    await expect(page.get_by_text("no price table")).to_be_visible()
    assert "Cost" not in await figures(page)


async def test_everybody_can_use_it(
    operated: Operated, browser_page: BrowserPage, web_tools: Path
) -> None:
    await book(operated)
    axe = (web_tools / "axe-core" / "axe.min.js").read_text()
    page = (await browser_page()).page
    await ready(page, f"{operated.url}/usage")
    await page.get_by_text("As a table").click()
    await everybody_can_use(page, axe, "by day")
    await page.get_by_role("button", name="Custom").click()
    await page.get_by_role("button", name="By model").click()
    await everybody_can_use(page, axe, "by model")
