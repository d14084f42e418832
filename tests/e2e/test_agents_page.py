"""The room of agents in a real Chromium, on a real server with scripted engines: an agent is made
from a template, talked to, changed, compared, taken back, put on a web page, and deleted."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from playwright.async_api import Page, expect

from gateway.services import ServiceUrls
from store.database import Database
from store.tenants.accounts import LOCAL_WORKSPACE
from store.tenants.agents import Agent, Agents, NewAgent
from tests.e2e.browser import BrowserPage, Visit, spoken
from tests.e2e.npm_packages import web_tools
from tests.e2e.operating import WAIT, everybody_can_use, ready
from tests.support.gateway.scripted_server import HEARD, ScriptedServer, running_node
from tests.support.gateway.tool_hosts import http_tool, mcp_server

__all__ = ["web_tools"]

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
async def server(
    database: Database, own_database_url: str, redis_url: str, tmp_path: Path
) -> AsyncIterator[ScriptedServer]:
    """A node whose tools may go to loopback."""
    urls = ServiceUrls(own_database_url, redis_url)
    async with running_node(database, urls, tmp_path, tool_private=True) as node:
        yield node


def local(server: ScriptedServer) -> str:
    return server.url.replace("127.0.0.1", "localhost")


async def stored(server: ScriptedServer) -> list[Agent]:
    return list(await Agents(server.database).list(LOCAL_WORKSPACE))


async def saved(page: Page, text: str) -> None:
    """Press the button, and wait until the page says so."""
    await page.locator(".save-bar [type=submit]").click()
    await expect(page.locator(".save-state")).to_have_text(text, timeout=WAIT)


async def edited(page: Page, server: ScriptedServer, agent: Agent) -> None:
    await ready(page, f"{local(server)}/agents/{agent.id}")


@pytest.mark.timeout(120)
async def test_from_a_template_to_a_call_and_back_to_a_version(
    server: ScriptedServer, browser_page: BrowserPage, tmp_path: Path
) -> None:
    server.engines.chat_model.answer = lambda _: "Paris, of course."
    question = spoken(tmp_path / "question.wav", 6.0, "joe_q_capital", 1.0)
    visit = await browser_page(question)
    page = visit.page
    await ready(page, f"{local(server)}/agents")

    # nobody is there yet: choose what it should do
    await page.get_by_role("link", name="Receptionist").click()
    await expect(page.get_by_role("heading", name="Receptionist")).to_be_visible(timeout=WAIT)
    await expect(page.get_by_text("Save the agent first, then talk to it.")).to_be_visible()
    await page.get_by_label("Name", exact=True).fill("Front desk")
    await saved(page, "Created. Talk to it on this page.")
    (agent,) = await stored(server)
    assert page.url.endswith(f"/agents/{agent.id}")
    assert (agent.name, agent.version) == ("Front desk", 1)
    assert "You are the receptionist" in agent.system_prompt

    # it answers with its greeting, hears the caller and answers
    said = page.locator(".said")
    await page.get_by_role("button", name="Talk to it").click()
    await expect(said).to_contain_text(agent.greeting, timeout=WAIT)
    await expect(said).to_contain_text(HEARD, timeout=WAIT)
    await expect(said).to_contain_text("Paris, of course.", timeout=WAIT)
    await expect(said.locator(".took").first).to_contain_text("ms", timeout=WAIT)
    await page.get_by_role("button", name="Hang up").click()
    await expect(page.get_by_text("The call has ended.")).to_be_visible(timeout=WAIT)

    # the call knows its version
    await server.empty()
    await expect(page.get_by_role("link", name="Look at this call")).to_be_visible()
    key = await server.new_key(scopes=("agents:read",))
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        aiohttp.ClientSession(server.url, headers=headers) as http,
        http.get(f"/api/calls?agentId={agent.id}") as answer,
    ):
        (call,) = (await answer.json())["data"]
    assert call["agentVersion"] == 1

    # what is changed can be compared, and taken back
    instructions = page.get_by_label("Instructions")
    await instructions.fill(agent.system_prompt.replace("nine to five", "ten to six"))
    await page.get_by_label("Greeting").fill("Hello, front desk.")
    await expect(page.locator(".save-state")).to_have_text("Changes that are not saved.")
    await page.get_by_label("What did you change?").fill("New opening hours")
    await saved(page, "Saved as version 2.")
    versions = page.get_by_role("region", name="Versions")
    await expect(versions.get_by_role("listitem").first).to_contain_text("New opening hours")
    await versions.get_by_role("button", name="What changed version 2").click()
    dialog = page.get_by_role("dialog", name="What changed")
    change = dialog.locator(".change", has=page.get_by_role("heading", name="Instructions"))
    await expect(change.locator("del")).to_have_text("removed: nine to five.")
    await expect(change.locator("ins")).to_have_text("added: ten to six.")
    await dialog.get_by_role("button", name="Go back to version 1").click()
    await expect(dialog).to_be_hidden(timeout=WAIT)
    await expect(page.locator(".save-state")).to_contain_text("this is version 3")
    await expect(page.get_by_label("Greeting")).to_have_value(agent.greeting)
    await expect(versions.get_by_role("listitem").first).to_contain_text("As version 1")
    (agent,) = await stored(server)
    assert (agent.version, "nine to five" in agent.system_prompt) == (3, True)
    assert visit.console_errors == []
    assert visit.external_requests(local(server)) == []


async def test_a_typed_call_and_its_version_while_the_agent_changes(
    server: ScriptedServer, browser_page: BrowserPage
) -> None:
    agent = await Agents(server.database).create(LOCAL_WORKSPACE, NewAgent("Ann", "talk 900"))
    visit = await browser_page()
    page = visit.page
    await edited(page, server, agent)
    await page.get_by_role("button", name="Type instead").click()
    await expect(page.locator(".try-status")).to_contain_text("Write whenever", timeout=WAIT)
    await page.get_by_label("Message").fill("What is new?")
    await page.get_by_role("button", name="Send").click()
    await expect(page.locator(".said")).to_contain_text("Answer 900.", timeout=WAIT)
    await page.get_by_label("Name", exact=True).fill("Anna")
    await saved(page, "Saved as version 2.")
    await expect(page.get_by_text("This call goes on with version 1.")).to_be_visible()
    await page.get_by_role("button", name="Hang up").click()
    await server.empty()
    assert visit.console_errors == []


async def test_what_the_server_refuses_is_shown_at_its_field(
    server: ScriptedServer, browser_page: BrowserPage
) -> None:
    agent = await Agents(server.database).create(LOCAL_WORKSPACE, NewAgent("Ann"))
    visit = await browser_page()
    page = visit.page
    await edited(page, server, agent)
    await page.get_by_label("Name", exact=True).fill(" ")
    await page.locator(".save-bar [type=submit]").click()
    await expect(page.get_by_text("Give it a name.")).to_be_visible()
    await expect(page.get_by_label("Name", exact=True)).to_be_focused()
    await page.get_by_label("Name", exact=True).fill("Ann")
    await page.get_by_label("Speaks by itself after silence").fill("700")
    await page.locator(".save-bar [type=submit]").click()
    silence = page.get_by_label("Speaks by itself after silence")
    await expect(silence).to_have_attribute("aria-invalid", "true", timeout=WAIT)
    await silence.fill("20")
    await expect(silence).not_to_have_attribute("aria-invalid", "true")
    await page.get_by_role("button", name="Add an HTTP tool").click()
    await page.locator(".tool").get_by_label("Name", exact=True).fill("my tool")
    await page.locator(".save-bar [type=submit]").click()
    await expect(page.get_by_role("region", name="Tools").get_by_role("alert")).not_to_be_empty(
        timeout=WAIT
    )
    (same,) = await stored(server)
    assert same.version == 1


async def test_tools_are_written_and_tried(
    server: ScriptedServer, browser_page: BrowserPage
) -> None:
    agent = await Agents(server.database).create(LOCAL_WORKSPACE, NewAgent("Ann"))
    visit = await browser_page()
    page = visit.page
    async with http_tool() as weather, mcp_server() as shop:
        await edited(page, server, agent)
        await page.get_by_role("button", name="Add an HTTP tool").click()
        tool = page.locator(".tool-list > .tool").first
        await tool.get_by_label("Name", exact=True).fill("weather")
        await tool.get_by_label("Address").fill(weather.url)
        await tool.get_by_label("What it is for").fill("The weather of a city")
        await tool.get_by_role("button", name="Add a value").click()
        await tool.get_by_label("Name of the value").fill("city")
        await tool.get_by_role("button", name="Add a header").click()
        await tool.get_by_label("Name of the header").fill("Authorization")
        await tool.get_by_label("Value of the header").fill("SECRET")
        await page.get_by_role("button", name="Add an MCP server").click()
        server_box = page.locator(".tool-list > .tool").nth(1)
        await server_box.get_by_label("Label").fill("shop")
        await server_box.get_by_label("Address").fill(shop)
        await expect(tool.get_by_role("button", name="Try now")).to_be_disabled()
        await saved(page, "Saved as version 2.")

        # tried with the header that nobody sees any more
        await expect(
            tool.get_by_text("Authorization: stored, and shown to nobody.")
        ).to_be_visible()
        await tool.get_by_label("city").fill("Rome")
        await tool.get_by_role("button", name="Try now").click()
        await expect(tool.locator("pre")).to_have_text('{"sky": "rain"}', timeout=WAIT)
        assert weather.asked == [({"city": "Rome"}, "SECRET")]

        # another change keeps it
        await tool.get_by_label("What it is for").fill("The weather of a town")
        await saved(page, "Saved as version 3.")
        await tool.get_by_role("button", name="Try now").click()
        await expect(tool.locator("pre")).to_be_visible()
        (now,) = await stored(server)
        sealed: Any = now.tools[0]
        assert (sealed["description"], "SECRET" in json.dumps(sealed)) == (
            "The weather of a town",
            False,
        )

        # what the server offers, allowed one by one
        await server_box.get_by_role("button", name="See what it offers").click()
        offered = server_box.locator(".offered")
        await expect(offered).to_have_count(2, timeout=WAIT)
        await offered.first.locator("summary").click()
        await offered.first.get_by_label("thing").fill("pens")
        await offered.first.get_by_role("button", name="Try now").click()
        await expect(offered.first.locator("pre")).to_have_text(
            "There are 3 of pens.", timeout=WAIT
        )
        await offered.nth(1).locator("summary").click()
        await offered.nth(1).get_by_label("The agent may use it").uncheck()
        await saved(page, "Saved as version 4.")
    (now,) = await stored(server)
    assert now.tools[1]["allowed_tools"] == ["find"]
    assert visit.console_errors == []


async def test_it_is_put_on_a_web_page_found_and_deleted(
    server: ScriptedServer, browser_page: BrowserPage
) -> None:
    agents = Agents(server.database)
    agent = await agents.create(LOCAL_WORKSPACE, NewAgent("Ann", "Sell bread."))
    await agents.create(LOCAL_WORKSPACE, NewAgent("Bob", "Sell cars."))
    visit = await browser_page(permissions=["clipboard-read", "clipboard-write"])
    page = visit.page
    await ready(page, f"{local(server)}/agents")
    rows = page.locator(".agent-row")
    await expect(rows).to_have_count(2)
    await page.keyboard.press("/")
    await page.get_by_role("searchbox").fill("bread")
    await expect(rows).to_have_count(1)
    await page.get_by_role("searchbox").fill("nothing")
    await expect(page.get_by_text("No agent has these words.")).to_be_visible()
    await page.get_by_role("searchbox").fill("bread")
    await rows.click()

    await page.get_by_role("button", name="Put it on a page").click()
    await page.get_by_label("Where it may be used").fill("shop.example")
    await page.get_by_role("button", name="Get the code").click()
    origins = page.get_by_label("Where it may be used")
    await expect(origins).to_have_attribute("aria-invalid", "true", timeout=WAIT)
    await origins.fill("https://shop.example\nhttps://*.shop.example")
    await page.get_by_role("button", name="Get the code").click()
    await page.get_by_role("button", name="Copy the code").click()
    await expect(page.get_by_role("button", name="Copied")).to_be_visible(timeout=WAIT)
    code = await page.evaluate("navigator.clipboard.readText()")
    assert code.startswith(f'<script type="module" src="{local(server)}/sdk/blab-agent.js">')
    assert '<blab-agent embed="emb_' in code
    await expect(page.get_by_role("link", name="Its calls")).to_have_attribute(
        "href", f"/calls?agentId={agent.id}"
    )

    await page.locator(".head").get_by_role("button", name="Delete").click()
    dialog = page.get_by_role("dialog", name="Delete Ann?")
    await dialog.get_by_role("button", name="Keep it").click()
    await expect(dialog).to_be_hidden()
    await page.locator(".head").get_by_role("button", name="Delete").click()
    await dialog.get_by_role("button", name="Delete").click()
    await page.wait_for_url(f"{local(server)}/agents")
    await expect(rows).to_have_count(1, timeout=WAIT)
    assert [one.name for one in await stored(server)] == ["Bob"]
    assert not [error for error in visit.console_errors if "400" not in error]


async def test_what_is_not_saved_is_not_lost_by_accident(
    server: ScriptedServer, browser_page: BrowserPage
) -> None:
    agent = await Agents(server.database).create(LOCAL_WORKSPACE, NewAgent("Ann"))
    visit = await browser_page()
    page = visit.page
    await edited(page, server, agent)
    await page.get_by_label("Greeting").fill("Hello!")
    asked = []

    async def stay(dialog: Any) -> None:
        asked.append(dialog.type)
        await dialog.dismiss()

    page.on("dialog", stay)
    await page.get_by_role("link", name="All agents").click()
    await expect(page.get_by_label("Greeting")).to_have_value("Hello!")
    assert asked == ["beforeunload"]
    await page.keyboard.press("Control+s")
    await expect(page.locator(".save-state")).to_have_text("Saved as version 2.", timeout=WAIT)
    await page.get_by_role("link", name="All agents").click()
    await expect(page.get_by_role("heading", name="Agents", exact=True)).to_be_visible(timeout=WAIT)
    assert len(asked) == 1


async def full(server: ScriptedServer) -> Agent:
    """An agent that has everything, with a second version."""
    agents = Agents(server.database)
    tools = [
        {"type": "blab.http", "name": "orders", "url": "https://shop.example/orders"},
        {"type": "mcp", "server_label": "stock", "server_url": "https://stock.example/mcp"},
    ]
    recording = {"enabled": True, "consent": "It is recorded.", "keep_days": 30}
    new = NewAgent("Front desk", "Be kind.\n" * 40, tools=tools, recording=recording)
    agent = await agents.create(LOCAL_WORKSPACE, new)
    done = await agents.update(LOCAL_WORKSPACE, agent.id, {"greeting": "Hello!"})
    assert done is not None
    return done.agent


@pytest.mark.timeout(120)
async def test_everybody_can_use_it(
    server: ScriptedServer, browser_page: BrowserPage, web_tools: Path
) -> None:
    axe = (web_tools / "axe-core" / "axe.min.js").read_text()
    visit: Visit = await browser_page()
    page = visit.page
    await ready(page, f"{local(server)}/agents")
    await everybody_can_use(page, axe, "nobody yet")
    agent = await full(server)
    for path in ("/agents", "/agents/new", "/agents/new?template=booking"):
        await ready(page, local(server) + path)
        await everybody_can_use(page, axe, path)
    await edited(page, server, agent)
    await page.locator(".tool-list > .tool > summary").first.click()
    await page.locator(".tool-list > .tool > summary").nth(1).click()
    await page.get_by_role("button", name="Add a value").click()
    await page.get_by_role("button", name="Put it on a page").click()
    await everybody_can_use(page, axe, "an agent")
    await page.set_viewport_size({"width": 1280, "height": 800})
    await page.get_by_role("button", name="What changed version 2").click()
    await expect(page.get_by_role("dialog", name="What changed")).to_be_visible()
    await everybody_can_use(page, axe, "a difference")
    assert visit.console_errors == []
