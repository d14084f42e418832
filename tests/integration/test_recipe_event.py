"""The recipe "A client event with an answer" of docs/extending.md, carried out in a copy."""

import re
from pathlib import Path

import pytest

from tests.support.scratch_copy import ScratchCopy, recipe

RECIPE = "A client event with an answer"
BLOCK = re.compile(r"^```diff\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"^`([\w/.]+)`", re.MULTILINE)
HANDLERS = {
    "sessions/core/conversation.py": "            case RetrieveState():",
    "gateway/channels/wire/client_events.py": "        case StateGet():",
    "gateway/channels/wire/render.py": "            case StateRetrieved():",
}
TYPES = ("-m", "mypy", "-p", "gateway.channels.wire", "-p", "sessions.core")
CALL = """
import asyncio
from tests.support.sessions.scripted_call import ScriptedCall

async def main():
    async with ScriptedCall() as call:
        await call.send({"type": "blab.state.get", "surprise": 1})
        print((await call.event("error"))["error"]["message"])
        await call.send({"type": "blab.state.get"})
        print((await call.event("blab.state"))["state"])

asyncio.run(main())
"""


def diffs() -> list[tuple[str, str]]:
    """File and diff of each block, in order."""
    section = recipe(RECIPE)
    return [
        (FILE.findall(section[: block.start()])[-1], block[1]) for block in BLOCK.finditer(section)
    ]


def apply(copy: ScratchCopy, file: str, diff: str) -> None:
    """Put the lines marked with ``+`` in the place that the lines around them name."""
    lines = [(line[:1], line[1:]) for line in diff.splitlines()]
    old = "\n".join(text for mark, text in lines if mark != "+")
    new = "\n".join(text for mark, text in lines if mark != "-")
    copy.replace(file, f"\n{old}\n", f"\n{new}\n")


@pytest.mark.slow
def test_an_event_is_added_as_the_recipe_says(tmp_path: Path) -> None:
    copy = ScratchCopy(tmp_path / "blab")
    blocks = diffs()
    for name, diff in blocks:
        if not any(f"+{handler}" in diff for handler in HANDLERS.values()):
            apply(copy, name, diff)
    missing = copy.run(*TYPES)
    assert missing.returncode == 1, missing.stdout + missing.stderr
    named = {line.split(":")[0] for line in missing.stdout.splitlines() if ": error: " in line}
    assert named == {*HANDLERS}, "the type checker names each file that misses a handler"

    for name, diff in blocks:
        if f"+{HANDLERS.get(name)}" in diff:
            apply(copy, name, diff)
    assert copy.run(*TYPES).returncode == 0
    assert copy.run("-m", "tests.support.generated_docs").returncode == 0
    assert "| `blab.state.get` |  |" in (copy.root / "docs" / "realtime.md").read_text()
    tests = "tests/gateway/channels/wire/test_render.py::test_the_list_of_notices_is_complete"
    done = copy.run("-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", tests)
    assert done.returncode == 0, done.stdout + done.stderr
    call = copy.run("-c", CALL)
    assert call.stdout.splitlines() == [
        "Unknown parameter 'surprise': leave it out. Known: event_id, type.",
        "listening",
    ], call.stderr
