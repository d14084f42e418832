"""The outcome as text, JSON lines and JUnit XML."""

import json
from xml.etree import ElementTree as ET

import pytest

from gateway.simulation.calls import Outcome
from gateway.simulation.checks import Check, ToolUse, Turn
from gateway.simulation.report import junit, lines_of, records, summary, summary_line
from gateway.simulation.scenarios import Line, Scenario

GOOD = Check("answered", True, "after 800 ms")
BAD = Check("reply_contains 'x'", False, "'a\x00 <b>'")
SCENARIO = Scenario(name="books <a> table", lines=[Line(say="hello")])


def turn(ttfa: int | None = 800, before: str | None = None) -> Turn:
    return Turn(
        said="hello",
        transcripts=("hell", "oh"),
        reply="Hi.",
        tools=(ToolUse("look_up", {"city": "Paris"}),),
        ttfa_ms=ttfa,
        cut_offs=1,
        silenced_ms=None if before is None else 150,
        reply_before=before,
        stages={"endpointing": 300, "total": 790},
    )


def outcome(*lines: tuple[Turn, list[Check]], run: int = 1) -> Outcome:
    return Outcome(SCENARIO, run, "call_1", 12.34, lines, [Check("no_fault", True, "none")])


def test_text_has_a_line_for_each_check() -> None:
    lines = list(lines_of(outcome((turn(before="cancelled"), [GOOD, BAD]), run=2)))
    assert lines[0] == "FAIL books <a> table (run 2) (websocket, call_1, 12.3 s)"
    assert "    heard: hell | oh" in lines
    assert "    ok   answered: after 800 ms" in lines
    assert any(line.startswith("    FAIL reply_contains 'x': ") for line in lines)
    assert (
        "    TTFA 800 ms (endpointing 300, total 790), the reply before fell silent after 150 ms, "
        "look_up({'city': 'Paris'}), cut-offs 1"
    ) in lines
    quiet = list(lines_of(outcome((turn(None, "in_progress"), [GOOD]))))
    assert quiet[0].startswith("ok   ")
    assert any("no reply was heard" in line and "paused after 150 ms" in line for line in quiet)


def test_the_summary_counts_and_ranks() -> None:
    calls = [outcome((turn(ttfa), [GOOD])) for ttfa in (None, *range(100, 2001, 100))]
    calls.append(outcome((turn(None, "cancelled"), [BAD])))
    found = summary(calls)
    assert (found["calls"], found["calls_passed"]) == (22, 21)
    assert (found["checks"], found["checks_passed"]) == (44, 43)
    assert (found["ttfa_p50_ms"], found["ttfa_p95_ms"]) == (1000, 1900)
    assert found["interrupted_p95_ms"] == 150
    assert summary_line(calls) == (
        "21 of 22 calls passed, 43 of 44 checks; 22 cut-offs in 22 lines; "
        "TTFA p50 1000 ms, p95 1900 ms; silent after an interruption p50 150 ms, p95 150 ms"
    )
    assert summary_line([]) == "0 of 0 calls passed, 0 of 0 checks; 0 cut-offs in 0 lines"


def test_json_lines_hold_each_line_and_the_call() -> None:
    line, call = json.loads(json.dumps(list(records(outcome((turn(), [GOOD, BAD]))))))
    assert (line["type"], line["line"], line["ttfa_ms"]) == ("line", 1, 800)
    assert line["tools"] == [{"name": "look_up", "arguments": {"city": "Paris"}}]
    assert [check["passed"] for check in line["checks"]] == [True, False]
    assert (call["type"], call["passed"], call["seconds"]) == ("call", False, 12.34)


def test_junit_has_a_case_for_each_check() -> None:
    root = ET.fromstring(junit([outcome((turn(), [GOOD, BAD])), outcome()], "calls.toml"))
    assert root.attrib == {"tests": "4", "failures": "1", "errors": "0"}
    first, second = root.findall("testsuite")
    assert (first.get("name"), first.get("tests"), second.get("tests")) == (
        "books <a> table",
        "3",
        "1",
    )
    cases = first.findall("testcase")
    assert [case.get("name") for case in cases] == [
        "line 1: answered",
        "line 1: reply_contains 'x'",
        "call: no_fault",
    ]
    assert cases[0].get("classname") == "calls.toml: books <a> table"
    (failure,) = root.iter("failure")
    assert failure.get("message") == "'a\ufffd <b>'"


@pytest.mark.parametrize("text", ["\x00\x1b", "\ud800", "😀 é"], ids=["controls", "lone", "signs"])
def test_junit_holds_any_text(text: str) -> None:
    bad = Check("x", False, text)
    (failure,) = ET.fromstring(junit([outcome((turn(), [bad]))], "f")).iter("failure")
    assert len(failure.get("message", "")) == len(text)
