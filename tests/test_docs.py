"""The documents are true wherever a program can check them."""

import re
from pathlib import Path

import pytest

from gateway.cli import COMMANDS
from tests.support.generated_docs import client_event_table, configuration_table
from tests.support.paths import ROOT

DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
BOOTSTRAP_COMMANDS = {"test"}


def test_the_configuration_table_lists_exactly_the_settings() -> None:
    assert configuration_table() in (ROOT / "docs" / "configuration.md").read_text()


def test_the_table_of_client_events_lists_exactly_the_declared_ones() -> None:
    assert client_event_table() in (ROOT / "docs" / "realtime.md").read_text()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_in_the_documents_exist(document: Path) -> None:
    named = set(re.findall(r"(?:\./blab|`blab|uv run blab) ([a-z]+)", document.read_text()))
    assert named <= set(COMMANDS) | BOOTSTRAP_COMMANDS


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_inside_the_checkout_resolve(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", document.read_text()):
        if not re.match(r"[a-z]+:", target):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_the_example_of_simulated_callers_is_shown_whole() -> None:
    example = (ROOT / "docs" / "simulation.toml").read_text()
    assert f"```toml\n{example}```" in (ROOT / "docs" / "simulation.md").read_text()


def test_the_process_types_are_commands() -> None:
    lines = (ROOT / "Procfile").read_text().splitlines()
    processes = dict(line.split(": ./blab ") for line in lines)
    assert processes == {"web": "web", "worker": "worker"}
    assert set(processes.values()) <= set(COMMANDS)
