"""docs/clients.md, OpenAI's Realtime: every example runs exactly as written."""

import asyncio
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest

from tests.e2e.agents_page import bundled, ephemeral_key, foreign_page
from tests.e2e.browser import BrowserPage, spoken
from tests.e2e.npm_packages import agents_sdk, node_modules
from tests.support.gateway.scripted_server import ScriptedServer, server
from tests.support.paths import ROOT

__all__ = ["agents_sdk", "node_modules", "server"]

pytestmark = pytest.mark.timeout(240)


SECTION = re.compile(r"^## OpenAI's Realtime$(.*?)(?=^## |\Z)", re.DOTALL | re.MULTILINE)
EXAMPLE = re.compile(
    r"^### ([^\n]*)\n(.*?)^```(?:sh|python|js)\n(.*?)^```$", re.DOTALL | re.MULTILINE
)
ADDRESS = "http://127.0.0.1:8484"
SECONDS = 40.0


def examples() -> dict[str, str]:
    """Each heading's example."""
    section = SECTION.search((ROOT / "docs" / "clients.md").read_text())
    assert section is not None
    found = EXAMPLE.findall(section[1])
    assert len(found) == section[1].count("```") // 2
    return {heading: text for heading, _, text in found}


async def run(server: ScriptedServer, *command: str, folder: Path = ROOT) -> str:
    """What a program says that finds server and key where OpenAI's clients look."""
    environment = os.environ | {
        "OPENAI_BASE_URL": f"{server.url}/v1",
        "OPENAI_API_KEY": server.key,
    }
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env=environment,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(SECONDS):
            said, complaints = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, said.decode() + complaints.decode()[-2000:]
    return said.decode()


async def end_calls(server: ScriptedServer) -> None:
    """End what an example leaves running."""
    headers = {"Authorization": f"Bearer {server.key}"}
    async with aiohttp.ClientSession(headers=headers) as http:
        for call_id in server.app_calls():
            async with http.post(f"{server.calls_url}/{call_id}/hangup") as answered:
                assert answered.status == 200


async def test_python(server: ScriptedServer) -> None:
    assert await run(server, sys.executable, "-c", examples()["Python: realtime"]) == "Fine."


async def test_node(server: ScriptedServer, agents_sdk: Callable[[str], Path]) -> None:
    program = agents_sdk("example.mjs")
    program.write_text(examples()["Node: @openai/agents over WebSocket"])
    assert await run(server, "node", str(program)) == "Fine.\n"


async def test_an_ephemeral_key_by_curl(server: ScriptedServer) -> None:
    said = await run(server, "bash", "-c", examples()["Browser: an ephemeral key"])
    assert '"value":"ek_' in said
    assert "Answer in one sentence." in said


async def test_whip_by_curl(server: ScriptedServer) -> None:
    said = await run(server, "bash", "-c", examples()["WHIP"])
    assert "201 Created" in said
    assert "Location: /v1/whip/call_" in said
    assert "m=audio" in said
    await end_calls(server)


async def test_a_sideband(server: ScriptedServer) -> None:
    async with server.client() as caller:
        created = await caller.wait_for("session.created")
        call_id = created["session"]["id"]
        said = await run(server, sys.executable, "-c", examples()["Python: a sideband"], call_id)
        assert "session.updated\n" in said
        assert said.endswith("response.done\n")
        assert await caller.wait_closed() == (1000, "client_hangup")


@pytest.mark.parametrize(
    ("heading", "sign"),
    [
        ("Browser: @openai/agents over WebRTC", "Fine."),
        ("Browser: WebRTC by hand", "response.done"),
    ],
)
async def test_a_browser(
    server: ScriptedServer,
    agents_sdk: Callable[[str], Path],
    browser_page: BrowserPage,
    tmp_path: Path,
    heading: str,
    sign: str,
) -> None:
    program = agents_sdk("example.mjs")
    program.write_text(examples()[heading].replace(ADDRESS, server.url))
    script = await bundled(program)
    key = await ephemeral_key(server)
    visit = await browser_page(spoken(tmp_path / "voice.wav", 1.0, "joe_okay", 30.0))
    signed = asyncio.Event()
    visit.page.on("console", lambda line: signed.set() if line.text == sign else None)
    async with foreign_page(script, key) as url:
        await visit.page.goto(url)
        async with asyncio.timeout(SECONDS):
            await signed.wait()
    await end_calls(server)
    assert visit.console_errors == []
