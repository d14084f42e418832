"""The room of simulated callers in a real Chromium, on a real server with scripted engines: callers
are written, call an agent with real audio, and what came of it is read, compared, taken along."""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from gateway.platform import SIMULATIONS
from gateway.services import ServiceUrls
from gateway.simulation.scenarios import tree_of
from pipelines.engines.base import ChatMessage
from store.database import Database
from store.tenants.accounts import LOCAL_WORKSPACE
from store.tenants.agents import Agent, Agents, NewAgent
from store.tenants.simulations import NewSimulation, Simulations
from tests.e2e.browser import BrowserPage
from tests.e2e.npm_packages import web_tools
from tests.e2e.operating import WAIT, everybody_can_use, ready
from tests.support.gateway.scripted_server import ScriptedServer, running_node
from tests.support.paths import AUDIO

__all__ = ["web_tools"]

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CALLS = 120_000.0
"""ms that a run may take."""


def answer(messages: Sequence[ChatMessage]) -> str:
    return "We open at nine." if "be helpful" in messages[0].content else "No idea."


@pytest.fixture
async def server(
    database: Database, own_database_url: str, redis_url: str, tmp_path: Path
) -> AsyncIterator[ScriptedServer]:
    urls = ServiceUrls(own_database_url, redis_url)
    async with running_node(database, urls, tmp_path) as node:
        node.app[SIMULATIONS].url = node.url
        node.engines.chat_model.answer = answer
        yield node


def local(server: ScriptedServer) -> str:
    return server.url.replace("127.0.0.1", "localhost")


async def an_agent(server: ScriptedServer) -> Agent:
    """Of two versions, of which the second knows more."""
    agents = Agents(server.database)
    agent = await agents.create(LOCAL_WORKSPACE, NewAgent("Front desk", system_prompt="be short"))
    await agents.update(LOCAL_WORKSPACE, agent.id, {"system_prompt": "be helpful"})
    return agent


async def written(page: Page) -> None:
    """One caller of the example stays, says a recording, and expects a word."""
    for _ in range(2):
        await page.locator(".scenario-head").last.get_by_role("button", name="Remove").click()
    await page.get_by_label("Name of caller 1").fill("asks for the hours")
    await page.locator(".upload input").set_input_files(AUDIO / "joe_q_weather.wav")
    await expect(page.locator(".recording")).to_have_text("joe_q_weather.wav", timeout=WAIT)
    await page.get_by_label("The answer contains").fill("nine")
    await page.locator(".common input[type=number]").fill("20000")


async def test_callers_are_written_run_read_compared_and_taken_along(
    server: ScriptedServer, browser_page: BrowserPage
) -> None:
    agent = await an_agent(server)
    visit = await browser_page()
    page = visit.page
    await ready(page, f"{local(server)}/simulate?agent={agent.id}")
    await expect(page.locator(".scenario")).to_have_count(3)
    await written(page)
    await page.get_by_role("button", name="Text").click()
    text = page.get_by_label("Scenarios as TOML")
    tree = tree_of(await text.input_value())
    assert tree["scenario"][0]["line"] == [
        {"expect": {"reply_contains": "nine"}, "audio": "joe_q_weather.wav"}
    ]
    await text.fill(f"# for the hours\n{await text.input_value()}".replace("nine", "NINE"))
    await page.get_by_role("button", name="Form").click()
    await expect(page.get_by_label("The answer contains")).to_have_value("NINE")
    await page.get_by_label("The answer contains").fill("ten | n.ne")
    await page.get_by_role("button", name="Text").click()
    tree = tree_of(await text.input_value())
    assert tree["scenario"][0]["line"][0]["expect"] == {"reply_matches": r"ten|n\.ne"}
    await page.get_by_role("button", name="Form").click()
    await expect(page.get_by_label("The answer contains")).to_have_value("ten | n.ne")
    await page.get_by_label("The answer contains").fill("ten | nine")
    await page.get_by_label(re.compile("Call version 1 too")).check()
    await page.get_by_role("button", name="Run", exact=True).click()
    await page.wait_for_url("**/simulate/sim_*?with=sim_*")
    await expect(page.locator("h1")).to_contain_text("Passed", timeout=CALLS)
    await expect(page.locator(".compared td").last).to_have_text("Better", timeout=CALLS)
    await expect(page.locator(".compared")).to_contain_text("Says “ten” or “nine”")
    await expect(page.locator(".turn .blab")).to_contain_text("We open at nine.")
    await expect(page.locator(".checks")).to_contain_text("Answers within 20 s")
    await page.get_by_role("button", name="Copy as command").click()
    await expect(page.get_by_role("dialog")).to_contain_text(f"--agent {agent.id}")
    async with page.expect_download() as download:
        await page.get_by_role("button", name="Save callers.toml").click()
    path = await (await download.value).path()
    saved = await asyncio.to_thread(Path(path).read_text)
    assert tree_of(saved)["scenario"][0]["name"] == "asks for the hours"
    await page.get_by_role("button", name="Close").click()
    await page.get_by_role("link", name="Open the call").click()
    await page.wait_for_url("**/calls/call_*")
    await expect(page.locator("body")).to_have_attribute("data-ready", "true", timeout=WAIT)
    await page.go_back()
    await page.get_by_role("link", name="Change or run again").click()
    await expect(page.get_by_label("Name of caller 1")).to_have_value("asks for the hours")
    await expect(page.locator(".run-rows .run")).to_have_count(2)
    assert visit.console_errors == []
    assert visit.external_requests(local(server)) == []


async def test_what_the_server_refuses_is_shown_where_it_stands(
    server: ScriptedServer, browser_page: BrowserPage
) -> None:
    agent = await an_agent(server)
    page = (await browser_page()).page
    await ready(page, f"{local(server)}/simulate?agent={agent.id}")
    said = page.get_by_label("Says", exact=True).first
    await said.fill("")
    await said.press_sequentially("Well, [300 ms] yes.")
    await expect(said).to_have_value("Well, [300 ms] yes.")
    await said.fill("")
    await page.get_by_role("button", name="Run", exact=True).click()
    await expect(page.locator(".scenario").first.locator(".fault")).to_contain_text("needs either")
    await expect(page.locator(".run-bar")).to_contain_text("marked above")
    await page.get_by_role("button", name="Text").click()
    await page.get_by_label("Scenarios as TOML").fill("[[scenario]\n")
    await page.get_by_role("button", name="Form").click()
    await expect(page.locator(".run-bar .fault")).to_contain_text("is not TOML")
    await expect(page.get_by_label("Scenarios as TOML")).to_be_visible()


async def test_without_an_agent_it_says_what_to_do(
    server: ScriptedServer, browser_page: BrowserPage
) -> None:
    page = (await browser_page()).page
    await ready(page, f"{local(server)}/simulate")
    link = page.get_by_role("link", name="Make an agent")
    await expect(link).to_have_attribute("href", "/agents/new")


REPLY = "We open at nine, and we close at five. " * 12
LINE: dict[str, Any] = {
    "said": "When do you open?",
    "transcripts": ["When do you oppen?"],
    "reply": REPLY,
    "tools": [{"name": "look_up", "arguments": {"day": "Monday"}}],
    "ttfa_ms": 1210,
    "cut_offs": 1,
    "silenced_ms": None,
    "reply_before": None,
    "stages": {"endpointing": 700, "first audio": 120},
    "checks": [
        {"name": "answered_within_ms 1000", "passed": False, "found": "after 1210 ms"},
        {"name": "reply_contains 'nine'", "passed": True, "found": repr(REPLY)},
    ],
}


async def a_run(server: ScriptedServer, agent: Agent, *, passed: bool) -> str:
    """One that is stored as it would be after its calls."""
    simulations = Simulations(server.database)
    new = NewSimulation(
        agent_id=agent.id,
        agent_version=2 if passed else 1,
        agent_name=agent.name,
        source=None,
        scenarios={"scenario": [{"name": "asks for the hours", "line": [{"say": "Hi."}]}]},
        recordings={},
        repeat=2,
        at_once=1,
        calls=[("asks for the hours", 1), ("asks for the hours", 2)],
    )
    await server.app[SIMULATIONS].stop()
    made = await simulations.create(LOCAL_WORKSPACE, new)
    assert made is not None
    claim = await simulations.claim(timedelta(minutes=1))
    assert claim is not None
    line = LINE | {"checks": [check | {"passed": True} for check in LINE["checks"]]}
    report = {"channel": "webrtc", "passed": passed, "seconds": 9.1, "checks": []}
    report |= {"lines": [line if passed else LINE]}
    summary = {"calls": 1, "calls_passed": int(passed), "checks": 2, "checks_passed": 1}
    summary |= {"lines": 1, "cut_offs": 1, "ttfa_p50_ms": 1210, "ttfa_p95_ms": 1900}
    await simulations.call_ended(claim, 0, report, call_id="call_1", passed=passed, summary=summary)
    await simulations.finish(claim, "failed", {"code": "x", "message": "It took too long."})
    return made.id


async def test_everybody_can_use_it(
    server: ScriptedServer, browser_page: BrowserPage, web_tools: Path
) -> None:
    agent = await an_agent(server)
    after = await a_run(server, agent, passed=True)
    before = await a_run(server, agent, passed=False)
    axe = (web_tools / "axe-core" / "axe.min.js").read_text()
    page = (await browser_page()).page
    await ready(page, f"{local(server)}/simulate?agent={agent.id}")
    await page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    await everybody_can_use(page, axe, "the form")
    await page.get_by_role("button", name="Text").click()
    await everybody_can_use(page, axe, "the text")
    await ready(page, f"{local(server)}/simulate/{after}?with={before}")
    await page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    await everybody_can_use(page, axe, "a comparison")
