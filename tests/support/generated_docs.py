"""Generates the documents' tables: ``python -m tests.support.generated_docs``.

tests/test_docs.py compares them with the code.
"""

import re
from collections.abc import Callable
from pathlib import Path

import msgspec

from gateway.channels.wire.client_events import DECLARATIONS
from gateway.settings import declarations
from tests.support.paths import ROOT

CONFIGURATION = ROOT / "docs" / "configuration.md"
REALTIME = ROOT / "docs" / "realtime.md"


def configuration_table() -> str:
    """The Markdown table of ``docs/configuration.md``."""
    rows = ["| variable | default | accepted | meaning |", "|---|---|---|---|"]
    for d in declarations():
        file = f" Or `{d.file_variable}`." if d.file_variable else ""
        rows.append(f"| `{d.variable}` | {d.default} | {d.accepted} | {d.meaning}{file} |")
    return "\n".join(rows)


def client_event_table() -> str:
    """The Markdown table of client events in ``docs/realtime.md``."""
    rows = ["| event | fields | what Blab does |", "|---|---|---|"]
    for declaration in DECLARATIONS:
        fields = ", ".join(
            f"`{member.name}`" + ("" if member.required else "?")
            for member in msgspec.structs.fields(declaration)
            if member.name != "event_id"
        )
        words = " ".join((declaration.__doc__ or "").split())
        rows.append(f"| `{declaration.__struct_config__.tag}` | {fields} | {words} |")
    return "\n".join(rows)


TABLES: tuple[tuple[Path, Callable[[], str]], ...] = (
    (CONFIGURATION, configuration_table),
    (REALTIME, client_event_table),
)


def write_tables() -> None:
    """Put each table in the place of the one with the same head."""
    for document, make in TABLES:
        table = make()
        head = re.escape(table.split("\n")[0])
        text = document.read_text()
        present = re.findall(rf"^{head}\n.*?(?=^$)", text, re.MULTILINE | re.DOTALL)
        if len(present) != 1:
            raise SystemExit(f"{document} has {len(present)} such tables, not one")
        document.write_text(text.replace(present[0], table + "\n"))


if __name__ == "__main__":
    write_tables()
