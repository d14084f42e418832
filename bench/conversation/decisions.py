"""Why Blab answered when it did, from the event log of a call (``sessions/event_log.py``).

The judge says how long a turn's gap was, this says where it went. The log counts the caller's audio
in samples at 16 kHz, the script in ticks of the same audio, so that both have one time line.
"""

import json
from pathlib import Path
from typing import Any

from bench.conversation.judge import Exchange

SAMPLES_A_TICK = 320
PATIENCE = 12.0
"""Seconds after the end of a turn in which its decision is looked for."""
SAID = {
    "FinalTranscript": "final text",
    "TurnScored": "end of turn",
    "ReplyClause": "first clause",
    "ClauseStarted": "heard",
    "ReplyFailed": "reply failed",
    "TranscriptionFailed": "text failed",
}


def events(log: Path) -> list[dict[str, Any]]:
    """The events of a log; the header, and a last line that was cut off, are left out."""
    lines = log.read_text().splitlines()[1:]
    return [json.loads(line) for line in lines if line.endswith("}") and '"e":' in line]


def decision(log: list[dict[str, Any]], exchange: Exchange) -> str:
    """What happened after the caller's last voiced tick, with seconds from it; the pauses inside
    the turn that were judged come first, with negative ones."""
    begin, end = (
        next((one["t"] for one in log if one.get("position", 0) >= tick * SAMPLES_A_TICK), None)
        for tick in (exchange.asked.first, exchange.asked.last)
    )
    if begin is None or end is None:
        return "not in the log"
    parts, heard = [], set[tuple[str, Any]]()
    for event in log:
        name, after = SAID.get(event["e"]), event["t"] - end
        if name is None or event["t"] < begin or after > PATIENCE:
            continue
        if "reply" in event:  # of a reply's clauses only the first counts
            if (event["e"], event["reply"]) in heard or event.get("samples") == 0:
                continue
            heard.add((event["e"], event["reply"]))
        detail = f" {event['probability']:.2f}" if "probability" in event else ""
        if event["e"] == "FinalTranscript":
            detail = f" {event['text']!r}"
        parts.append(f"{name}{detail} {after:+.2f}")
        if event["e"] == "ClauseStarted" and after > 0:
            break
    return ", ".join(parts)
