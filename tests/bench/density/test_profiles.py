"""Stages and functions of a profile."""

from pathlib import Path

from bench.density.plot import added_svg
from bench.density.profiles import report, shortened, stage_of

ROOT = Path(__file__).parents[3]


def test_a_stage_is_that_of_the_innermost_known_frame(tmp_path: Path) -> None:
    live, vad = f"_hear ({ROOT}/sessions/live.py)", f"cut ({ROOT}/media/vad.py)"
    array = "multiply (/usr/lib/python3.11/site-packages/numpy/core.py)"
    assert stage_of([live]) == "session"
    assert stage_of([live, vad, array]) == "voice gate, windows"
    assert stage_of([array]) == "event loop"
    assert shortened(array) == "multiply (numpy/core.py)"
    stacks = tmp_path / "stacks"
    lines = [
        f"{live.replace('.py)', '.py:12)')};{vad.replace('.py)', '.py:3)')} 3",
        f"{live} 1",
        "run (threading.py:9);_worker (concurrent/futures/thread.py:8) 90",
    ]
    stacks.write_text("\n".join(lines))
    found = report(stacks, 2.0)
    assert "| voice gate, windows | 75.0% | 300.0 |" in found
    assert "| cut (media/vad.py) | 75.0% |" in found
    assert "_worker" not in found


def test_the_plot_has_a_line_for_each_system() -> None:
    svg = added_svg({"blab": [(25, 50.0), (100, 80.0)], "a < b": [(25, 900.0)]})
    assert svg.count("<polyline") == 2
    assert "a &lt; b" in svg
