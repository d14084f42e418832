"""Customers' secrets are ciphertext in the database, and are opened where they are used."""

import json
import logging
import stat
from pathlib import Path
from typing import Any

import pytest

from store.database import Database
from store.tenants.accounts import Workspaces
from store.tenants.agents import Agents, NewAgent
from store.vault import Vault

HTTP: dict[str, Any] = {
    "type": "blab.http",
    "name": "orders",
    "url": "https://shop.example/orders",
    "headers": {"Authorization": "Bearer SECRET"},
}
MCP: dict[str, Any] = {
    "type": "mcp",
    "server_label": "crm",
    "server_url": "https://crm.example/mcp",
    "headers": {},
    "authorization": "SECRET",
}
BARE = {"type": "blab.http", "name": "time", "url": "https://time.example"}


def test_tools_are_sealed_and_opened() -> None:
    vault = Vault(b"k" * 32)
    stored = vault.close_tools([HTTP, MCP, BARE])
    assert "SECRET" not in json.dumps(stored)
    assert stored[2] == BARE
    assert vault.open_tools(stored) == [HTTP, MCP, BARE]
    assert vault.open_tools([HTTP]) == [HTTP]  # as it was stored before there was a vault


def test_another_key_opens_nothing_and_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    (tool,) = Vault(b"b" * 32).open_tools(Vault(b"a" * 32).close_tools([HTTP]))
    assert tool == {name: value for name, value in HTTP.items() if name != "headers"}
    assert "tool orders" in caplog.text
    assert "BLAB_SECRET_KEY" in caplog.text
    assert "SECRET\n" not in caplog.text


def test_the_key_is_created_once_and_private(tmp_path: Path) -> None:
    file = tmp_path / "data" / "secret.key"
    sealed = Vault.kept_in(file).close_tools([HTTP])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert Vault.kept_in(file).open_tools(sealed) == [HTTP]
    assert [path.name for path in file.parent.iterdir()] == ["secret.key"]


async def test_an_agents_tools_are_ciphertext_in_the_database(database: Database) -> None:
    workspace = await Workspaces(database).ensure_local_workspace()
    agents = Agents(database, Vault(b"k" * 32))
    made = await agents.create(workspace.id, NewAgent("Ann", tools=(HTTP,)))
    assert made.tools == [HTTP]
    done = await agents.update(workspace.id, made.id, {"tools": [HTTP, MCP]})
    assert done is not None
    assert done.agent.tools == [HTTP, MCP]
    found = await agents.get(workspace.id, made.id)
    assert found == done.agent
    row = await database.fetchval("SELECT tools::text FROM agents WHERE id = $1", made.id)
    assert "SECRET" not in row
    assert "shop.example" in row
