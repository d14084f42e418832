"""Percentiles and a table: how every bench prints its measurements."""

import platform
from collections.abc import Mapping, Sequence

import numpy as np


def machine() -> str:
    """One line about the machine."""
    name = platform.processor() or platform.machine()
    with open("/proc/cpuinfo") as file:
        models = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    return (
        f"{models[0] if models else name}, {len(models)} cores, Python {platform.python_version()}"
    )


def percentiles(values: Sequence[float]) -> tuple[float, float, float]:
    """(p50, p95, maximum)."""
    return (
        float(np.percentile(values, 50)),
        float(np.percentile(values, 95)),
        float(np.max(values)),
    )


def table(rows: Mapping[str, Sequence[float]], unit: str = "ms") -> str:
    """A Markdown table of p50, p95, max and count per row."""
    lines = [f"| | p50 {unit} | p95 {unit} | max {unit} | n |", "|---|---|---|---|---|"]
    for name, values in rows.items():
        if not values:
            lines.append(f"| {name} | – | – | – | 0 |")
            continue
        p50, p95, most = percentiles(values)
        lines.append(f"| {name} | {p50:.0f} | {p95:.0f} | {most:.0f} | {len(values)} |")
    return "\n".join(lines)
