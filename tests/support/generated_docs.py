"""The parts of the documents that are generated: ``python -m tests.support.generated_docs``.

tests/test_docs.py holds them to the code.
"""

import re

from gateway.settings import declarations
from tests.support.paths import ROOT

CONFIGURATION = ROOT / "docs" / "configuration.md"
TABLE = re.compile(r"^\| variable \|.*?(?=^$)", re.MULTILINE | re.DOTALL)


def configuration_table() -> str:
    """The Markdown table of ``docs/configuration.md``."""
    rows = ["| variable | default | accepted | meaning |", "|---|---|---|---|"]
    rows += [
        f"| `{d.variable}` | {d.default} | {d.accepted} | {d.meaning} |" for d in declarations()
    ]
    return "\n".join(rows)


def write_configuration() -> None:
    """Put the table of the settings in the place of the one that is there."""
    text = CONFIGURATION.read_text()
    written, tables = TABLE.subn(lambda _: configuration_table() + "\n", text)
    if tables != 1:
        raise SystemExit(f"{CONFIGURATION} has {tables} tables of variables, not one")
    CONFIGURATION.write_text(written)


if __name__ == "__main__":
    write_configuration()
