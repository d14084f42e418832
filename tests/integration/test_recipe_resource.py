"""The recipe "A REST resource" of docs/extending.md, carried out in a copy of the checkout."""

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.paths import CONTRACT
from tests.support.rest.all_resources import ADDITIONS
from tests.support.rest.contract_comparison import differences
from tests.support.scratch_copy import ScratchCopy, recipe

RECIPE = "A REST resource"
BLOCK = re.compile(r"^```(sql|python|diff)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"^`([\w/.]+)`", re.MULTILINE)
START_SECONDS = 60
SERVER = """
import asyncio, json, sys
from pathlib import Path
from gateway.services import ServiceUrls
from store.database import Database
from store.migrate import migrate
from tests.support.gateway.scripted_server import running_node

async def main(database_url, redis_url):
    database = Database(database_url)
    await database.connect()
    await migrate(database)
    urls = ServiceUrls(database_url, redis_url)
    async with running_node(database, urls, Path("data").resolve()) as node:
        key = await node.new_key(scopes=["labels:read", "labels:write"])
        other = await node.new_key(await node.foreign_workspace(), ["labels:read", "labels:write"])
        print(json.dumps({"url": node.url, "key": key, "other": other}), flush=True)
        await asyncio.to_thread(sys.stdin.read)
    await database.close()

asyncio.run(main(*sys.argv[1:]))
"""


def blocks() -> list[tuple[str, str, str]]:
    """Path, language and text of each block, in order."""
    section = recipe(RECIPE)
    return [
        (FILE.findall(section[: block.start()])[-1], block[1], block[2])
        for block in BLOCK.finditer(section)
    ]


def apply(copy: ScratchCopy, path: str, language: str, block: str) -> None:
    """Write a new file, or insert the lines marked with ``+`` between those around them."""
    if language == "diff":
        lines = block.splitlines(keepends=True)
        before = "".join(line[1:] for line in lines if line.startswith(" "))
        copy.replace(path, before, "".join(line[1:] for line in lines))
        return
    number = len(list((copy.root / "store" / "migrations").glob("*.sql"))) + 1
    file = copy.root / path.replace("NNNN", f"{number:04}")
    assert not file.exists()
    file.write_text(block)


async def test_the_recipe_makes_a_resource(
    own_database_url: str, redis_url: str, tmp_path: Path
) -> None:
    copy = ScratchCopy(tmp_path)
    for block in blocks():
        apply(copy, *block)
    assert len({path for path, _, _ in blocks()}) == 6

    server = await asyncio.create_subprocess_exec(
        *[sys.executable, "-c", SERVER, own_database_url, redis_url],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        async with asyncio.timeout(START_SECONDS):
            started = json.loads(await server.stdout.readline())
        async with aiohttp.ClientSession(started["url"]) as http:
            await use(http, started["key"], started["other"])
    finally:
        server.stdin.close()
        await asyncio.wait_for(server.wait(), START_SECONDS)
    assert server.returncode == 0


async def use(http: aiohttp.ClientSession, key: str, other: str) -> None:
    """Create, list and delete a label; another workspace sees none of it."""

    async def ask(method: str, path: str, key: str, **sent: Any) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {key}"}
        async with http.request(method, path, headers=headers, **sent) as answer:
            body = await answer.json()
            return answer.status, body["data"] if body["ok"] else body["error"]

    status, made = await ask("POST", "/api/labels", key, json={"name": "Autumn"})
    assert (status, made["name"]) == (200, "Autumn")
    assert await ask("GET", "/api/labels", key) == (200, [made])
    assert await ask("GET", "/api/labels", other) == (200, [])
    status, refusal = await ask("POST", "/api/labels", key, json={"name": 5})
    assert (status, refusal["details"]) == (400, {"path": "name"})
    status, refusal = await ask("DELETE", f"/api/labels/{made['id']}", other)
    assert (status, refusal["code"]) == (404, "NOT_FOUND")
    deleted = {"id": made["id"], "deleted": True}
    assert await ask("DELETE", f"/api/labels/{made['id']}", key) == (200, deleted)

    async with http.get("/openapi.json") as answer:
        served = await answer.json()
    contract = json.loads(CONTRACT.read_text())
    paths = {"/api/labels", "/api/labels/{id}"}
    assert set(served["paths"]) - set(contract["paths"]) == paths | set(ADDITIONS)
    contract["paths"] |= {path: served["paths"][path] for path in paths}
    for kind in ("schemas", "responses"):
        components = contract["components"].setdefault(kind, {})
        contract["components"][kind] = served["components"][kind] | components
    known = list(differences(json.loads(CONTRACT.read_text()), served))
    assert list(differences(contract, served)) == known
