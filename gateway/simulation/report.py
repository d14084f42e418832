"""The outcome of simulated calls: as text, as JSON lines, and as JUnit XML for CI.

The XML is what Jenkins, GitLab and GitHub's reporters read (https://github.com/testmoapp/junitxml):
a ``testsuite`` for each call, a ``testcase`` for each check.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any
from xml.etree import ElementTree as ET

from gateway.simulation.calls import Outcome
from gateway.simulation.checks import WENT_ON, Check, Turn

_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def title(outcome: Outcome) -> str:
    """The scenario's name, and which repetition it was."""
    return outcome.scenario.name + (f" (run {outcome.run})" if outcome.run > 1 else "")


# ------------------------------------------------------------------ text


def lines_of(outcome: Outcome) -> Iterator[str]:
    """One call as text, a line for each check."""
    channel = "webrtc" if outcome.scenario.channel == "webrtc" else "websocket"
    where = f"{channel}, {outcome.call_id or 'no call'}, {outcome.seconds:.1f} s"
    yield f"{'ok  ' if outcome.passed else 'FAIL'} {title(outcome)} ({where})"
    for number, (turn, checks) in enumerate(outcome.lines, 1):
        yield f"  line {number}: {turn.said or '(a recording)'}"
        yield f"    heard: {' | '.join(turn.transcripts) or '(nothing)'}"
        yield f"    agent: {turn.reply or '(nothing)'}"
        yield f"    {_figures(turn)}"
        yield from map(_line, checks)
    yield "  call"
    yield from map(_line, outcome.checks)


def _figures(turn: Turn) -> str:
    stages = ", ".join(f"{stage} {ms}" for stage, ms in turn.stages.items())
    ttfa = "no reply was heard" if turn.ttfa_ms is None else f"TTFA {turn.ttfa_ms} ms"
    parts = [ttfa + (f" ({stages})" if stages else "")]
    if turn.silenced_ms is not None:
        did = "paused" if turn.reply_before in WENT_ON else "fell silent"
        parts.append(f"the reply before {did} after {turn.silenced_ms} ms")
    parts += [f"{use.name}({use.arguments})" for use in turn.tools]
    parts.append(f"cut-offs {turn.cut_offs}")
    return ", ".join(parts)


def _line(check: Check) -> str:
    return f"    {'ok  ' if check.passed else 'FAIL'} {check.name}: {check.found}"


def summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The figures of all calls together; times in ms, by nearest rank."""
    return figures([report(outcome) for outcome in outcomes])


def report(outcome: Outcome) -> dict[str, Any]:
    """One call as a JSON object; ``lines``: each with what was measured, and its checks."""
    return {
        "channel": "webrtc" if outcome.scenario.channel == "webrtc" else "websocket",
        "passed": outcome.passed,
        "seconds": round(outcome.seconds, 3),
        "lines": [
            asdict(turn) | {"checks": [asdict(check) for check in checks]}
            for turn, checks in outcome.lines
        ],
        "checks": [asdict(check) for check in outcome.checks],
    }


def figures(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """``summary`` of calls as ``report`` gives them."""
    lines = [line for one in reports for line in one["lines"]]
    checks = [check for one in (*reports, *lines) for check in one["checks"]]
    heard = sorted(line["ttfa_ms"] for line in lines if line["ttfa_ms"] is not None)
    silenced = sorted(
        line["silenced_ms"]
        for line in lines
        if line["silenced_ms"] is not None and line["reply_before"] == "cancelled"
    )
    return {
        "calls": len(reports),
        "calls_passed": sum(one["passed"] for one in reports),
        "checks": len(checks),
        "checks_passed": sum(check["passed"] for check in checks),
        "lines": len(lines),
        "cut_offs": sum(line["cut_offs"] for line in lines),
        "ttfa_p50_ms": _rank(heard, 0.5),
        "ttfa_p95_ms": _rank(heard, 0.95),
        "interrupted_p50_ms": _rank(silenced, 0.5),
        "interrupted_p95_ms": _rank(silenced, 0.95),
    }


def summary_line(outcomes: Sequence[Outcome]) -> str:
    """``summary`` in words."""
    all_ = summary(outcomes)
    words = (
        f"{all_['calls_passed']} of {all_['calls']} calls passed, "
        f"{all_['checks_passed']} of {all_['checks']} checks; "
        f"{all_['cut_offs']} cut-offs in {all_['lines']} lines"
    )
    if all_["ttfa_p50_ms"] is not None:
        words += f"; TTFA p50 {all_['ttfa_p50_ms']} ms, p95 {all_['ttfa_p95_ms']} ms"
    if all_["interrupted_p50_ms"] is not None:
        words += (
            f"; silent after an interruption p50 {all_['interrupted_p50_ms']} ms, "
            f"p95 {all_['interrupted_p95_ms']} ms"
        )
    return words


def _rank(ordered: Sequence[int], share: float) -> int | None:
    return ordered[math.ceil(share * len(ordered)) - 1] if ordered else None


# ------------------------------------------------------------------ for programs


def records(outcome: Outcome) -> Iterator[dict[str, Any]]:
    """One call as JSON objects: one per line, then one of the call."""
    own = {"scenario": outcome.scenario.name, "run": outcome.run, "call_id": outcome.call_id}
    whole = report(outcome)
    for number, line in enumerate(whole.pop("lines"), 1):
        yield {"type": "line", **own, "line": number, **line}
    yield {"type": "call", **own, **whole}


def junit(outcomes: Sequence[Outcome], file: str) -> bytes:
    """All calls as JUnit XML in UTF-8; ``file`` names the scenarios' file."""
    root = ET.Element("testsuites", _counts([c for o in outcomes for c in o.every_check]))
    for outcome in outcomes:
        attributes = {"name": _xml(title(outcome)), "time": f"{outcome.seconds:.3f}"}
        suite = ET.SubElement(root, "testsuite", attributes | _counts(outcome.every_check))
        properties = ET.SubElement(suite, "properties")
        ET.SubElement(properties, "property", name="call_id", value=_xml(outcome.call_id))
        for number, (_, checks) in enumerate(outcome.lines, 1):
            _cases(suite, checks, f"line {number}: ", outcome, file)
        _cases(suite, outcome.checks, "call: ", outcome, file)
    text: str = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'.encode()


def _counts(checks: Sequence[Check]) -> dict[str, str]:
    failures = sum(not check.passed for check in checks)
    return {"tests": str(len(checks)), "failures": str(failures), "errors": "0"}


def _cases(
    suite: ET.Element, checks: Sequence[Check], place: str, outcome: Outcome, file: str
) -> None:
    for check in checks:
        names = {"classname": _xml(f"{file}: {title(outcome)}"), "name": _xml(place + check.name)}
        case = ET.SubElement(suite, "testcase", names)
        if not check.passed:
            ET.SubElement(case, "failure", message=_xml(check.found))


def _xml(text: str) -> str:
    """Without the characters that XML 1.0 cannot hold."""
    return _NOT_XML.sub("\ufffd", text)
