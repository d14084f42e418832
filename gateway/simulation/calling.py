"""The process that makes the calls of one simulation: ``python -m gateway.simulation.calling``.

It is a process of its own, because simulated callers must neither disturb the server's calls nor be
disturbed by them, and because checks hold regular expressions of whoever wrote them.

Standard input has the order, JSON on one line, and then stays open: when it ends, its parent is
gone, and so is this process at once. Standard output has one JSON object a line::

    {"type": "began", "position": 0, "call_id": "call_…"}
    {"type": "ended", "position": 0, "call_id": "call_…", "report": {…}}

``report`` as in ``report.report``, its texts cut at ``MOST_TEXT`` characters.
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, structs

from gateway.simulation.calls import Planned, Setting, make_calls, planned_calls
from gateway.simulation.report import report
from gateway.simulation.scenarios import in_folder, scenarios_of
from gateway.simulation.voice import Voice
from store.database import storable

MOST_TEXT = 4000
MOST_MEMBERS = 100
"""Of a list or an object in a report."""
MOST_BYTES = 4 << 20
"""Of a line of either stream."""
_DEEPEST = 12


class Order(Struct, kw_only=True):
    """What to do. ``positions``: of the calls to be made; ``folder``: has the recordings, and takes
    spoken texts; ``patience``: seconds that a call may wait for a line."""

    url: str
    key: str
    agent_id: str
    scenarios: dict[str, Any]
    repeat: int
    positions: list[int]
    at_once: int
    folder: str
    patience: float


async def carry_out(order: Order) -> None:
    """Make the calls, and print what comes of them."""
    folder = Path(order.folder)
    spoken = folder / "spoken"
    spoken.mkdir(exist_ok=True)
    scenarios = [
        structs.replace(scenario, agent=order.agent_id)
        for scenario in scenarios_of(order.scenarios, in_folder(folder))
    ]
    setting = Setting(
        url=order.url,
        key=order.key,
        voice=Voice(order.url, order.key, spoken),
        folder=folder,
        patience=order.patience,
    )
    wanted = frozenset(order.positions)
    await make_calls(
        [one for one in planned_calls(scenarios, order.repeat) if one.position in wanted],
        setting,
        at_once=order.at_once,
        begun=lambda one, call_id: _print("began", one, call_id),
        done=lambda one, outcome: _print("ended", one, outcome.call_id, report=report(outcome)),
    )


def _print(kind: str, planned: Planned, call_id: str, **more: Any) -> None:
    said = {"type": kind, "position": planned.position, "call_id": call_id, **more}
    sys.stdout.buffer.write(msgspec.json.encode(bounded(said)) + b"\n")
    sys.stdout.buffer.flush()


def bounded(value: Any, depth: int = 0) -> Any:
    """A value of JSON, cut to what can be stored."""
    if isinstance(value, str):
        text = storable(value)
        return text if len(text) <= MOST_TEXT else f"{text[:MOST_TEXT]}…"
    if depth > _DEEPEST and isinstance(value, list | tuple | dict):
        return "…"
    if isinstance(value, list | tuple):
        return [bounded(one, depth + 1) for one in value[:MOST_MEMBERS]]
    if isinstance(value, dict):
        members = list(value.items())[:MOST_MEMBERS]
        return {bounded(str(name)): bounded(one, depth + 1) for name, one in members}
    return value


async def _main() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=MOST_BYTES)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    order = msgspec.json.decode(await reader.readline(), type=Order)
    watching = asyncio.create_task(_end_with_parent(reader), name="parent")
    try:
        await carry_out(order)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def _end_with_parent(reader: asyncio.StreamReader) -> None:
    await reader.read()
    os._exit(1)


if __name__ == "__main__":
    asyncio.run(_main())
