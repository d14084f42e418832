"""Makes one call by a scenario, and measures it.

Rules
- A line is said when the reply before it has been heard to its end, or, with ``over_reply_ms``, its
  first audible sample is said so long after that reply became audible.
- A reply is over when it has been heard and quiet follows, no turn waits for its answer, and no
  tool's output is outstanding. Each has a deadline; when it passes, or the call ends, the rest is
  not said.
- A call that the server has no room for is tried again for ``Setting.patience`` seconds.
- The call's own tools are answered at once by a task that ends with the call.
"""

import asyncio
import contextlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from msgspec import UNSET

from gateway.caller import (
    CallEnded,
    Caller,
    CallerChannel,
    CallerWebRtc,
    CallerWebSocket,
    NoAnswer,
    Recording,
    ServerBusy,
    TimedEvent,
    Utterance,
    demo_key,
    write_wav,
)
from gateway.caller.channels import CLIENT_RATE
from gateway.simulation.checks import Check, Turn, of_call, of_turn
from gateway.simulation.measures import TOOL_ITEMS, Said, call_id, faults_in, turn_of
from gateway.simulation.scenarios import Line, Scenario
from gateway.simulation.voice import Voice, VoiceFault, noise

OPEN_SECONDS = 15.0
ROOM_SECONDS = 2.0
"""Between two attempts to get a line."""
EVENTS = ("latency", "playout")


@dataclass(frozen=True, slots=True)
class Outcome:
    """One call and its results. ``lines``: a turn and its checks for each line that was said."""

    scenario: Scenario
    run: int
    """Which repetition, from 1."""
    call_id: str
    """The server's name of the call; "" if it was never set up."""
    seconds: float
    lines: Sequence[tuple[Turn, Sequence[Check]]]
    checks: Sequence[Check]
    """Of the call as a whole."""

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.every_check)

    @property
    def every_check(self) -> list[Check]:
        """Those of the lines, then those of the call."""
        return [*(check for _, checks in self.lines for check in checks), *self.checks]


@dataclass(frozen=True, slots=True)
class Setting:
    """What all calls of a run have in common."""

    url: str
    key: str | None
    """None: each call gets one from the demo page."""
    voice: Voice
    folder: Path
    """Where the recordings of the scenarios are."""
    out: Path | None = None
    """Where the audio that was heard, and the events, are written."""
    patience: float = 0.0
    """Seconds that a call waits for a line where the server has none free."""


Begun = Callable[[str], None]
"""Gets the id of a call that is answered."""


async def call(
    scenario: Scenario, run: int, setting: Setting, name: str, begun: Begun = lambda _: None
) -> Outcome:
    """Make the call; never raises for what server or scenario do, but OSError where ``name`` cannot
    be written in ``setting.out``."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        recordings = [
            await setting.voice.recording(scenario, line, setting.folder) for line in scenario.lines
        ]
        background = None
        if scenario.noise_dbfs is not UNSET:
            background = await asyncio.to_thread(noise, scenario.noise_dbfs)
        channel = await _open_in_time(scenario, setting)
    except (VoiceFault, CallEnded) as error:
        checks = list(of_call((), scenario.expect, faults=(), ended=None, problem=str(error)))
        return Outcome(scenario, run, "", loop.time() - began, (), checks)
    said: list[Said] = []
    problem = ended = None
    async with Caller(channel, background=background) as caller:
        answering = asyncio.create_task(_answer_tools(caller, scenario), name="simulated-tools")
        try:
            await _configure(caller, scenario)
            begun(call_id(caller.events))
            await _converse(caller, scenario, recordings, said)
        except NoAnswer as error:
            problem = _after(said, str(error))
        except CallEnded as error:
            if len(said) < len(scenario.lines) or scenario.expect.ends is UNSET:
                problem = _after(said, f"the call ended: {error}")
        finally:
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)
        ended = caller.closed_because
    if setting.out is not None:
        await asyncio.to_thread(_write, setting.out / name, caller)
    return await asyncio.to_thread(
        _outcome, scenario, run, caller, said, ended=ended, problem=problem
    )


def _write(path: Path, caller: Caller) -> None:
    """What was heard as WAV, and the events with their times (s) as JSON lines."""
    write_wav(path.with_name(f"{path.name}.wav"), caller.player.heard(), CLIENT_RATE)
    lines = [
        json.dumps({"at": round(timed.at - caller.start, 4), **timed.event})
        for timed in caller.events
    ]
    path.with_name(f"{path.name}.jsonl").write_text("".join(f"{line}\n" for line in lines))


def _after(said: Sequence[Said], problem: str) -> str:
    return f"{f'line {len(said)}' if said else 'before line 1'}: {problem}"


async def _open_in_time(scenario: Scenario, setting: Setting) -> CallerChannel:
    """The channel, as soon as there is a line; raises CallEnded."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + setting.patience
    while True:
        key = setting.key or await demo_key(setting.url)
        try:
            return await _open(scenario, setting.url, key)
        except ServerBusy:
            if loop.time() + ROOM_SECONDS > deadline:
                raise
        await asyncio.sleep(ROOM_SECONDS)


async def _open(scenario: Scenario, url: str, key: str) -> CallerChannel:
    agent = scenario.agent if isinstance(scenario.agent, str) else None
    if scenario.channel == "webrtc":
        return await CallerWebRtc.open(url, key, agent_id=agent)
    query = urlencode({"model": "default"} if agent is None else {"agent_id": agent})
    return await CallerWebSocket.open(url, key, query=query)


async def _configure(caller: Caller, scenario: Scenario) -> None:
    ours: dict[str, Any] = {"events": list(EVENTS)}
    if isinstance(scenario.language, str):
        ours["language"] = scenario.language
    session: dict[str, Any] = {"type": "realtime", "blab": ours}
    if isinstance(scenario.instructions, str):
        session["instructions"] = scenario.instructions
    if scenario.tools:
        session["tools"] = [
            {
                "type": "function",
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.parameters or {"type": "object", "properties": {}},
            }
            for tool in scenario.tools
        ]
    await caller.send({"type": "session.update", "session": session})
    answer = await caller.wait_for(
        lambda event: event.type in ("session.updated", "error"),
        within=OPEN_SECONDS,
        what="session.updated",
    )
    if answer.type == "error":
        raise NoAnswer(f"the session was refused: {answer.event['error'].get('message')}")


async def _answer_tools(caller: Caller, scenario: Scenario) -> None:
    outputs = {tool.name: tool.output for tool in scenario.tools}
    seen = 0.0
    answered: set[str] = set()

    def calls_of(timed: TimedEvent) -> list[dict[str, Any]]:
        if timed.type != "response.done":
            return []
        items = timed.event.get("response", {}).get("output") or []
        return [
            item
            for item in items
            if item.get("type") == "function_call" and item.get("call_id") not in answered
        ]

    try:
        while True:
            timed = await caller.wait_for(
                lambda event: bool(calls_of(event)), within=86_400, since=seen
            )
            seen = timed.at
            for item in calls_of(timed):
                answered.add(item["call_id"])
                output = outputs.get(item["name"], '{"error": "there is no such tool"}')
                made = {"type": "function_call_output", "call_id": item["call_id"]}
                await caller.send(
                    {"type": "conversation.item.create", "item": made | {"output": output}}
                )
            await caller.send({"type": "response.create"})
    except CallEnded:
        return


# ------------------------------------------------------------------ the conversation


async def _converse(
    caller: Caller, scenario: Scenario, recordings: Sequence[Recording], said: list[Said]
) -> None:
    deadline = scenario.deadline
    if any(timed.type == "response.created" for timed in caller.events):  # the agent begins
        await caller.wait_settled(within=deadline, since=caller.start)
    for line, recording in zip(scenario.lines, recordings, strict=True):
        if said and isinstance(line.over_reply_ms, int):
            audible = await _reply_audible(caller, said[-1], deadline)
            lead = recording.first / recording.rate
            await asyncio.sleep(audible + line.over_reply_ms / 1000 - lead - caller.now())
        elif said:
            await _reply_over(caller, said[-1], deadline)
        begin = len(caller.events)
        said.append(Said(line, caller.say(recording), begin))
        await _sent(caller, said[-1].utterance, recording.seconds + deadline)
    await _reply_over(caller, said[-1], deadline)
    if scenario.expect.ends is not UNSET:
        with contextlib.suppress(NoAnswer):  # the check says so
            await caller.wait_for(_never, within=deadline)


def _never(_: TimedEvent) -> bool:
    return False


async def _sent(caller: Caller, utterance: Utterance, within: float) -> None:
    waiting = asyncio.create_task(utterance.done.wait())
    ending = asyncio.create_task(caller.wait_for(_never, within=within))
    try:
        await asyncio.wait((waiting, ending), return_when=asyncio.FIRST_COMPLETED)
        if not utterance.done.is_set():
            await ending
    finally:
        for task in (waiting, ending):
            task.cancel()
        await asyncio.gather(waiting, ending, return_exceptions=True)


async def _reply_audible(caller: Caller, before: Said, deadline: float) -> float:
    """When the reply to the line before became audible."""
    since = before.utterance.end or caller.now()
    if before.line.expect.not_interrupted is not True:
        created = await caller.wait_for("response.created", within=deadline, since=since)
        since = created.at
    return await caller.wait_audible(within=deadline, since=since)


async def _reply_over(caller: Caller, said: Said, deadline: float) -> None:
    await caller.wait_settled(
        within=deadline,
        since=said.utterance.end or caller.start,
        answered=lambda: _is_over(caller.events[said.begin :], said.line),
    )


def _is_over(events: Sequence[TimedEvent], line: Line) -> bool:
    """Whether the events since a line was begun are those of a line whose reply is over."""
    speech = awaited = over = False
    created: set[str] = set()
    for timed in events:
        match timed.type:
            case "input_audio_buffer.speech_started":
                speech = True
            case "input_audio_buffer.speech_stopped":
                speech = False
            case "input_audio_buffer.committed":
                speech, awaited = False, True
            case "response.created":
                speech = awaited = over = False
                created.add(str(timed.event["response"].get("id")))
            case "response.done":
                response = timed.event["response"]
                own = response.get("id") in created or line.over_reply_ms is not UNSET
                if own and response.get("status") != "cancelled":
                    over = not _uses_tool(response)
    return over and not speech and not awaited


def _uses_tool(response: dict[str, Any]) -> bool:
    return any(item.get("type") in TOOL_ITEMS for item in response.get("output") or [])


def _outcome(
    scenario: Scenario,
    run: int,
    caller: Caller,
    said: Sequence[Said],
    *,
    ended: str | None,
    problem: str | None,
) -> Outcome:
    turns = [turn_of(caller, said, number) for number in range(len(said))]
    return Outcome(
        scenario=scenario,
        run=run,
        call_id=call_id(caller.events),
        seconds=len(caller.player.heard()) / caller.player.rate,
        lines=[
            (turn, list(of_turn(turn, one.line.expect)))
            for turn, one in zip(turns, said, strict=True)
        ],
        checks=list(
            of_call(
                turns,
                scenario.expect,
                faults=faults_in(caller.events),
                ended=ended,
                problem=problem,
            )
        ),
    )


async def call_all(
    scenarios: Sequence[Scenario],
    setting: Setting,
    *,
    repeat: int,
    at_once: int,
    done: Callable[[Outcome], None],
) -> list[Outcome]:
    """Every scenario ``repeat`` times, ``at_once`` calls at the same time; ``done`` gets each
    outcome as its call ends. Returns them in the order of the file; raises as ``call`` does."""
    planned = planned_calls(scenarios, repeat)
    return await make_calls(
        planned, setting, at_once=at_once, begun=lambda *_: None, done=lambda _, one: done(one)
    )


@dataclass(frozen=True, slots=True)
class Planned:
    """A call to be made. ``position`` among all calls and ``number`` of its scenario, from 0;
    ``run``: which repetition, from 1."""

    position: int
    number: int
    scenario: Scenario
    run: int


def planned_calls(scenarios: Sequence[Scenario], repeat: int) -> list[Planned]:
    """Every scenario ``repeat`` times, in their order."""
    places = [(number, run) for number in range(len(scenarios)) for run in range(1, repeat + 1)]
    return [
        Planned(position, number, scenarios[number], run)
        for position, (number, run) in enumerate(places)
    ]


async def make_calls(
    planned: Sequence[Planned],
    setting: Setting,
    *,
    at_once: int,
    begun: Callable[[Planned, str], None],
    done: Callable[[Planned, Outcome], None],
) -> list[Outcome]:
    """These calls, ``at_once`` at the same time; ``begun`` gets the id of each that is answered,
    ``done`` its outcome as it ends. Returns all in their order; raises as ``call`` does."""
    room = asyncio.Semaphore(at_once)

    async def one(which: Planned) -> Outcome:
        async with room:
            slug = re.sub(r"[^a-z0-9]+", "-", which.scenario.name.lower()).strip("-")[:60]
            name = f"{which.number + 1:03}-{slug}-{which.run}"
            outcome = await call(
                which.scenario, which.run, setting, name, lambda call_id: begun(which, call_id)
            )
            done(which, outcome)
            return outcome

    try:
        async with asyncio.TaskGroup() as tasks:
            made = [tasks.create_task(one(which)) for which in planned]
    except* OSError as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in made]
