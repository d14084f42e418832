"""The recipe "An engine" of docs/extending.md: the package that it describes answers a call."""

import asyncio
import os
import re
import sys
import tomllib
from pathlib import Path

import aiohttp
import pytest

from gateway.caller import demo_key
from tests.gateway.commands.test_serve import blab, data_dir
from tests.support.gateway.realtime_client import RealtimeClient
from tests.support.paths import ROOT

__all__ = ["data_dir"]

pytestmark = pytest.mark.slow

BLOCK = re.compile(r"^`([\w.]+)`\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def recipe() -> dict[str, str]:
    """The package's files."""
    text = (ROOT / "docs" / "extending.md").read_text()
    section = text.split("\n## An engine\n")[1].split("\n## ")[0]
    return dict(BLOCK.findall(section))


def install(files: dict[str, str], site: Path) -> None:
    """What an installer makes of the package: its modules, and its metadata beside them."""
    project = tomllib.loads(files["pyproject.toml"])["project"]
    name, version = project["name"], project["version"]
    for path, text in files.items():
        if path.endswith(".py"):
            (site / path).write_text(text)
    about = site / f"{name.replace('-', '_')}-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    points = project["entry-points"]["blab.engines"]
    lines = [f"{key} = {value}" for key, value in points.items()]
    (about / "entry_points.txt").write_text("\n".join(["[blab.engines]", *lines, ""]))


def broken(name: str, text: str) -> dict[str, str]:
    """A package whose module is ``text``."""
    entry = f'[project.entry-points."blab.engines"]\n{name} = "{name}:ENGINE"\n'
    project = f'[project]\nname = "blab-{name}"\nversion = "0.1"\n{entry}'
    return {f"{name}.py": text, "pyproject.toml": project}


async def test_the_recipe_makes_an_engine_that_answers_a_call(
    data_dir: Path, models_dir: Path, tmp_path: Path
) -> None:
    files = recipe()
    assert list(files) == ["parrot.py", "pyproject.toml"]
    install(files, tmp_path)
    install(broken("oops", 'raise RuntimeError("no licence")\n'), tmp_path)
    thief = files["parrot.py"].replace('id="parrot"', 'id="pico"')
    install(broken("thief", thief), tmp_path)
    more = {"PYTHONPATH": str(tmp_path), "BLAB_CHAT_MODEL": "parrot"}
    async with blab("serve", data_dir, models_dir, **more) as server:
        url = (await server.until(r"Listening on (http://\S+)/"))[1]
        await server.until("Blab is ready")
        key = await demo_key(url)
        async with RealtimeClient(url.replace("http", "ws"), key) as caller:
            content = [{"type": "input_text", "text": "The rain in Spain."}]
            item = {"type": "message", "role": "user", "content": content}
            await caller.send({"type": "conversation.item.create", "item": item})
            await caller.send({"type": "response.create"})
            done = await caller.wait_for("response.done", seconds=30)
        (answer,) = done["response"]["output"]
        assert answer["content"][0]["transcript"] == "You said: The rain in Spain."
        await check_capabilities(url, await api_key(data_dir))
        said = "".join(server.said)
    assert "the engines of blab-oops (oops) are left out" in said


async def api_key(data_dir: Path) -> str:
    making = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "gateway.cli", "key", "--name", "test"],
        env=os.environ | {"BLAB_DATA_DIR": str(data_dir)},
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await asyncio.wait_for(making.communicate(), 30)
    return printed.decode().strip()


async def check_capabilities(url: str, key: str) -> None:
    headers = {"Authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(url, headers=headers) as http:
        async with http.get("/api/capabilities") as answer:
            plugins = (await answer.json())["data"]["plugins"]
        async with http.get("/api/models") as answer:
            models = {model["id"]: model for model in (await answer.json())["data"]}
    assert plugins == [
        {
            "package": "blab-oops",
            "engines": [],
            "available": False,
            "reason": "RuntimeError('no licence')",
        },
        {"package": "blab-parrot", "engines": ["parrot"], "available": True, "reason": None},
        {
            "package": "blab-thief",
            "engines": [],
            "available": False,
            "reason": "the engine id 'pico' of blab-thief is already that of blab",
        },
    ]
    assert models["parrot"]["available"]
