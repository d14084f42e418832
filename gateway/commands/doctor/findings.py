"""A diagnosis: findings, one for each thing, and how they are shown."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

from rich.console import Console
from rich.markup import escape
from rich.table import Table


class Verdict(StrEnum):
    """The state of one thing; only ``FAILED`` and ``MISSING`` keep calls from working."""

    OK = "ok"
    NOTE = "note"
    SLOW = "slow"
    MISSING = "missing"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the diagnosis."""

    subject: str
    verdict: Verdict
    detail: str

    @property
    def fatal(self) -> bool:
        """Whether calls cannot work because of it."""
        return self.verdict in (Verdict.MISSING, Verdict.FAILED)


def exit_code(findings: Sequence[Finding]) -> int:
    """1 if something keeps calls from working."""
    return 1 if any(finding.fatal for finding in findings) else 0


MARKS = {
    Verdict.OK: ("green", "✓"),
    Verdict.NOTE: ("cyan", "·"),
    Verdict.SLOW: ("yellow", "!"),
    Verdict.MISSING: ("red", "✗"),
    Verdict.FAILED: ("red", "✗"),
}


def show(findings: Sequence[Finding], *, as_json: bool) -> None:
    """Print the findings, as JSON lines or as a table."""
    if as_json:
        for finding in findings:
            print(json.dumps(asdict(finding)))
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        colour, mark = MARKS[finding.verdict]
        verdict = f"[{colour}]{finding.verdict}[/]"
        mark = f"[{colour}]{mark}[/]"
        table.add_row(mark, verdict, finding.subject, escape(finding.detail))
    Console(highlight=False).print(table)
