"""Simulated calls to a real server with scripted engines: every kind of check, passing and
failing."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from gateway.caller import Recording, write_wav
from gateway.simulation.calls import Outcome, Setting, call_all
from gateway.simulation.scenarios import parse
from gateway.simulation.voice import Voice
from pipelines.engines.base import ChatMessage, EngineFailed
from pipelines.engines.scripted.live import Fault
from store.tenants.accounts import LOCAL_WORKSPACE
from store.tenants.agents import Agents, NewAgent
from store.tenants.calls import Turns
from tests.support.gateway.scripted_server import ScriptedServer, server
from tests.support.sessions.scripted_call import hold_back

__all__ = ["server"]

pytestmark = pytest.mark.slow

RATE = 24_000
HEARD = "what is the capital of france"
LONG = "The answer is long and goes on " * 2


def answer(messages: Sequence[ChatMessage]) -> str:
    """By the instructions, which are at the end of the system message."""
    system = messages[0].content
    if "use the tool" in system and messages[-1].role != "tool":
        return 'CALL look_up {"city": "Paris"}'
    if "be long" in system and sum(message.role == "user" for message in messages) == 1:
        return LONG
    if "speak German" in system:
        return "Das ist die Hauptstadt von Frankreich, sagt man hier."
    return "It is Paris."


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """``word.wav`` and ``short.wav``: tones that the detector takes for speech, 700 and 300 ms."""
    for name, milliseconds in (("word", 700), ("short", 300)):
        count = RATE * milliseconds // 1000
        tone = 4000 * np.sin(np.arange(count) * (2 * np.pi * 440 / RATE))
        silence = np.zeros(RATE // 5, np.int16)
        samples = np.concatenate([tone.astype(np.int16), silence])
        write_wav(tmp_path / f"{name}.wav", samples, RATE)
    return tmp_path


async def simulate(
    server: ScriptedServer, folder: Path, text: str, *, at_once: int = 1, repeat: int = 1
) -> dict[str, Outcome]:
    """The outcomes by the scenarios' names; those of further runs have a number behind it."""
    server.engines.chat_model.answer = answer
    out, kept = folder / "out", folder / "kept"
    out.mkdir(exist_ok=True)
    kept.mkdir(exist_ok=True)
    key = await server.new_key(scopes=("agents:write", "tts:write"))
    outcomes = await call_all(
        parse(text, folder / "calls.toml"),
        Setting(server.url, key, Voice(server.url, key, kept), folder, out),
        repeat=repeat,
        at_once=at_once,
        done=lambda _: None,
    )
    return {f"{each.scenario.name} {each.run}".removesuffix(" 1"): each for each in outcomes}


def results(outcome: Outcome, line: int | None = None) -> dict[str, bool]:
    """Whether each check passed, by its key."""
    checks = outcome.checks if line is None else outcome.lines[line][1]
    return {check.name.split(" ")[0]: check.passed for check in checks}


CHECKS = f"""
[[scenario]]
name = "all pass"
[[scenario.line]]
audio = "word.wav"
text = "{HEARD}"
[scenario.line.expect]
reply_contains = "paris"
reply_matches = "^it is"
reply_lacks = "London"
answered_within_ms = 5000
not_cut_off = true
word_error = 0.0

[[scenario]]
name = "all fail"
channel = "webrtc"
expect = {{reply_contains = "Rome"}}
[[scenario.line]]
audio = "word.wav"
text = "where is the station"
[scenario.line.expect]
reply_contains = "London"
reply_matches = "london|rome"
reply_lacks = "Paris"
reply_language = "de"
tool = {{name = "look_up"}}
answered_within_ms = 1
word_error = 0.5

[[scenario]]
name = "cut off"
[[scenario.line]]
audio = ["word.wav", 3000, "word.wav"]
expect.not_cut_off = true

[[scenario]]
name = "tool"
instructions = "use the tool"
[[scenario.tool]]
name = "look_up"
description = "Looks something up"
output = "found"
[[scenario.line]]
audio = "word.wav"
[scenario.line.expect]
tool = {{name = "look_up", arguments = {{city = "^par"}}}}
reply_contains = "it is paris"

[[scenario]]
name = "German"
instructions = "speak German"
[[scenario.line]]
audio = "word.wav"
expect.reply_language = "de"
"""


async def test_every_check_of_a_line_passes_or_fails(
    server: ScriptedServer, recordings: Path
) -> None:
    server.engines.ears.texts = (HEARD,)
    found = await simulate(server, recordings, CHECKS, at_once=5)
    for name in ("all pass", "tool", "German"):
        assert found[name].passed, found[name]
    assert len(found["all pass"].lines[0][1]) == 6
    assert results(found["all fail"], 0) == {
        "answered_within_ms": False,
        "reply_contains": False,
        "reply_matches": False,
        "reply_lacks": False,
        "reply_language": False,
        "tool": False,
        "word_error": False,
    }
    assert results(found["all fail"]) == {
        "call": True,
        "no_fault": True,
        "reply_contains": False,
    }
    assert results(found["cut off"], 0) == {"answered": True, "not_cut_off": False}
    turn = found["cut off"].lines[0][0]
    assert (turn.cut_offs, list(turn.transcripts)) == (1, [HEARD, HEARD])
    turn = found["all pass"].lines[0][0]
    assert turn.ttfa_ms is not None
    assert turn.stages["endpointing"] > 0
    assert found["all pass"].call_id.startswith("call_")
    written = sorted(path.name for path in (recordings / "out").iterdir())
    assert len(written) == 10
    assert written[0] == "001-all-pass-1.jsonl"
    lines = (recordings / "out" / written[0]).read_text().splitlines()
    events = [json.loads(line) for line in lines]
    assert events[0]["type"] == "session.created"
    heard = Recording.read(recordings / "out" / "001-all-pass-1.wav", RATE)
    assert heard.last - heard.first == pytest.approx(3 * RATE // 4, rel=0.1), "three words"


OVER = """
[[scenario]]
name = "over"
instructions = "be long"
[[scenario.line]]
audio = "word.wav"
[[scenario.line]]
audio = "short.wav"
over_reply_ms = 600
expect.not_interrupted = true
[[scenario.line]]
audio = "word.wav"
over_reply_ms = 600
expect = {interrupted_within_ms = 600, answered_within_ms = 5000}
"""


async def test_words_over_a_reply_interrupt_it_and_a_hum_does_not(
    server: ScriptedServer, recordings: Path
) -> None:
    server.engines.ears.texts = (HEARD, "mhm", "stop please now", HEARD)
    found = (await simulate(server, recordings, OVER))["over"]
    assert found.passed, found.lines
    assert [turn.reply_before for turn, _ in found.lines] == [None, "in_progress", "cancelled"]


async def test_checks_of_interruptions_fail_the_other_way_round(
    server: ScriptedServer, recordings: Path
) -> None:
    text = OVER.replace("expect.not_interrupted = true", "expect.interrupted_within_ms = 600")
    server.engines.ears.texts = (HEARD, "mhm")
    hum = text[: text.rindex("[[scenario.line]]")]
    found = (await simulate(server, recordings, hum))["over"]
    assert results(found, 1)["interrupted_within_ms"] is False
    server.engines.ears.utterances = 0
    server.engines.ears.texts = (HEARD, "stop please now", HEARD)
    words = hum.replace("interrupted_within_ms = 600", "not_interrupted = true")
    found = (await simulate(server, recordings, words))["over"]
    assert results(found, 1) == {"not_interrupted": False}


ENDS = """
[[scenario]]
name = "ends"
deadline_s = 8
[[scenario.line]]
audio = "word.wav"
[[scenario.line]]
audio = "word.wav"
"""


async def hang_up(server: ScriptedServer) -> None:
    """End the call once it has answered."""
    while not server.engines.voice.spoken or server.engines.voice.running:
        await asyncio.sleep(0.02)
    for call_id in server.app_calls():
        call = server.host.find(call_id)
        assert call is not None
        call.hang_up("client_hangup")


async def test_a_call_that_ends_early_is_reported(server: ScriptedServer, recordings: Path) -> None:
    hanging_up = asyncio.create_task(hang_up(server))
    found = (await simulate(server, recordings, ENDS))["ends"]
    await hanging_up
    assert len(found.lines) < 3
    problem = found.checks[0]
    assert not problem.passed
    assert "the call ended: closed with 1000" in problem.found


async def test_the_reason_of_an_end_is_checked(server: ScriptedServer, recordings: Path) -> None:
    text = ENDS[: ENDS.rindex("[[scenario.line]]")].replace("8", '8\nexpect.ends = "hangup"')
    hanging_up = asyncio.create_task(hang_up(server))
    found = (await simulate(server, recordings, text))["ends"]
    await hanging_up
    assert results(found) == {"call": True, "no_fault": True, "ends": True}
    found = (await simulate(server, recordings, text.replace("= 8", "= 4")))["ends"]
    assert results(found) == {"call": True, "no_fault": True, "ends": False}


async def test_a_fault_and_a_missing_answer_fail_the_call(
    server: ScriptedServer, recordings: Path
) -> None:
    line = '[[scenario]]\nname = "one"\ndeadline_s = 3\n[[scenario.line]]\naudio = "word.wav"\n'
    server.engines.chat_model.fault = Fault(EngineFailed("it broke"), times=9)
    found = (await simulate(server, recordings, line))["one"]
    assert results(found)["no_fault"] is False
    _, go = hold_back(server.engines)
    found = (await simulate(server, recordings, line.replace("= 3", "= 2")))["one"]
    go.set()
    assert results(found, 0) == {"answered": False}
    assert found.checks[0].found == "line 1: no finished reply in time"


async def test_written_lines_are_spoken_once_by_the_server(
    server: ScriptedServer, recordings: Path
) -> None:
    server.engines.ears.texts = ("good evening",)
    text = """
[[scenario]]
name = "written"
noise_dbfs = -70
[[scenario.line]]
say = ["good", 100, "evening"]
expect = {word_error = 0, not_cut_off = true}
"""
    found = await simulate(server, recordings, text, repeat=2, at_once=2)
    assert found["written"].passed, found
    assert found["written 2"].passed, found
    assert len(list((recordings / "kept").iterdir())) == 2


async def test_what_cannot_be_called_or_spoken_is_reported(
    server: ScriptedServer, recordings: Path
) -> None:
    text = """
[[scenario]]
name = "stranger"
agent = "agt_nobody"
[[scenario.line]]
audio = "word.wav"
[[scenario]]
name = "language"
language = "xx"
[[scenario.line]]
audio = "word.wav"
"""
    server.engines.absent = frozenset({"xx"})
    found = await simulate(server, recordings, text)
    assert "agent_not_found" in found["stranger"].checks[0].found
    assert not found["language"].passed
    assert "the session was refused" in found["language"].checks[0].found
    written = '[[scenario]]\nname = "a"\n[[scenario.line]]\nsay = "hello"\n'
    kept = recordings / "kept"
    for key, words in ((None, "need --key"), (server.key, "HTTP 403"), ("x", "HTTP 401")):
        (outcome,) = await call_all(
            parse(written, recordings / "calls.toml"),
            Setting(server.url, key, Voice(server.url, key, kept), recordings),
            repeat=1,
            at_once=1,
            done=lambda _: None,
        )
        assert words in outcome.checks[0].found
        assert not outcome.passed


GREETED = """
[[scenario]]
name = "greeted"
agent = "{agent}"
[[scenario.line]]
audio = "word.wav"
expect = {{reply_contains = "Paris"}}
"""


async def test_a_greeting_is_heard_to_its_end(server: ScriptedServer, recordings: Path) -> None:
    new = NewAgent("Ann", greeting="Good day, this is the front desk.")
    agent = await Agents(server.database).create(LOCAL_WORKSPACE, new)
    outcomes = await simulate(server, recordings, GREETED.format(agent=agent.id))
    assert outcomes["greeted"].passed, results(outcomes["greeted"])
    async with asyncio.timeout(5):  # turns are stored behind the call
        while not (turns := await Turns(server.database).list_of_agent(LOCAL_WORKSPACE, agent.id)):
            await asyncio.sleep(0.02)
    assert (turns[-1].heard_text, turns[-1].interrupted) == (new.greeting, False)
