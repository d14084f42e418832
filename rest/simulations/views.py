"""What is sent and shown of simulations."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, convert

from rest.http.fields import StorageKey, timestamp
from store.tenants.simulations import SimulatedCall, Simulation

MAX_SOURCE = 100_000
"""Characters of scenarios."""
MOST_REPEATS = 10
MOST_AT_ONCE = 4
MOST_RECORDINGS = 50

Source = Annotated[str, Meta(max_length=MAX_SOURCE)]
RecordingName = Annotated[str, Meta(min_length=1, max_length=200)]
Recordings = Annotated[dict[RecordingName, StorageKey], Meta(max_length=MOST_RECORDINGS)]
SimulationStatus = Literal["queued", "running", "completed", "failed", "cancelled"]
CallStatus = Literal["waiting", "calling", "passed", "failed", "not_made"]


class Scenarios(Struct, kw_only=True):
    """Who calls and what is said, as `blab simulate` reads it (docs/simulation.md): either its text
    (``source``, TOML), or the same as an object (``scenarios``). ``recordings``: the storage keys
    of its recordings, by the names that they have there."""

    source: Source | UnsetType = UNSET
    scenarios: dict[str, Any] | UnsetType = UNSET
    recordings: Recordings = {}


class SimulationCreate(Scenarios, kw_only=True, rename="camel"):
    """Calls to be made. ``agent_version``: omitted, the newest; ``repeat``: makes each call so many
    times; ``at_once``: so many at the same time."""

    agent_id: Annotated[str, Meta(max_length=64)]
    agent_version: Annotated[int, Meta(ge=1, le=2**31 - 1)] | UnsetType = UNSET
    repeat: Annotated[int, Meta(ge=1, le=MOST_REPEATS)] = 1
    at_once: Annotated[int, Meta(ge=1, le=MOST_AT_ONCE)] = 1


class CheckedScenarios(Struct, rename="camel"):
    """Scenarios that can be used, as an object; ``calls``: how many they make."""

    scenarios: dict[str, Any]
    calls: int


class LineRecording(Struct, rename="camel"):
    """A recording that callers may say."""

    storage_key: str
    filename: str
    duration_ms: int


class SimulationError(Struct):
    """Why a simulation failed."""

    code: str
    message: str


class SimulationSummary(Struct, rename="camel", kw_only=True):
    """Figures of the calls that have ended. Times as the callers heard them, by nearest rank:
    ``ttfa``: from the end of a line to the first sound of the reply; ``interrupted``: until a reply
    that was interrupted fell silent."""

    calls: int = 0
    calls_passed: int = 0
    checks: int = 0
    checks_passed: int = 0
    lines: int = 0
    cut_offs: int = 0
    ttfa_p50_ms: int | None = None
    ttfa_p95_ms: int | None = None
    interrupted_p50_ms: int | None = None
    interrupted_p95_ms: int | None = None


class SimulationView(Struct, rename="camel", kw_only=True):
    """A simulation. ``calls``: how many it makes; ``passed``: whether all of them did, null until
    it is completed."""

    id: str
    agent_id: str
    agent_name: str
    agent_version: int
    status: SimulationStatus
    passed: bool | None
    calls: int
    repeat: int
    at_once: int
    summary: SimulationSummary
    error: SimulationError | None
    created_at: str
    started_at: str | None
    finished_at: str | None


class SimulationCheck(Struct):
    """A check: ``name``, its key and what was expected; ``found``: what was measured."""

    name: str
    passed: bool
    found: str


class SimulatedToolUse(Struct):
    """A tool that the agent used."""

    name: str
    arguments: Any = None


class SimulatedLine(Struct, rename="camel", kw_only=True):
    """A line that was said, and what followed. ``said``: its words, empty if a recording came
    without them; ``transcripts``: what was understood; ``stages``: where the waiting time went, in
    ms; ``cut_offs``: how often the turn was taken to be over before the line was."""

    said: str
    transcripts: list[str]
    reply: str
    tools: list[SimulatedToolUse] = []
    ttfa_ms: int | None = None
    cut_offs: int = 0
    silenced_ms: int | None = None
    reply_before: str | None = None
    stages: dict[str, int] = {}
    checks: list[SimulationCheck] = []


class SimulatedCallView(Struct, rename="camel", kw_only=True):
    """A call of a simulation. ``call_id``: under which it is among the calls; ``lines`` and
    ``checks`` (of the call as a whole) once it has ended."""

    position: int
    scenario: str
    repetition: int
    status: CallStatus
    call_id: str | None
    channel: str | None = None
    seconds: float | None = None
    lines: list[SimulatedLine] = []
    checks: list[SimulationCheck] = []


class SimulationDetail(SimulationView, kw_only=True):
    """A simulation with its scenarios, and what came of each call. ``source``: their TOML, if they
    were sent as that."""

    source: str | None
    scenarios: dict[str, Any]
    recordings: dict[str, str]
    results: list[SimulatedCallView]


class SimulationProgress(SimulationView, kw_only=True):
    """A simulation as it goes on; its calls without lines and checks."""

    results: list[SimulatedCallView]


def view(simulation: Simulation) -> SimulationView:
    """As it is listed."""
    return SimulationView(**_members(simulation))


def detail(simulation: Simulation, calls: list[SimulatedCall]) -> SimulationDetail:
    """As it is shown by itself."""
    return SimulationDetail(
        **_members(simulation),
        source=simulation.source,
        scenarios=simulation.scenarios,
        recordings=simulation.recordings,
        results=[_call(call) for call in calls],
    )


def progress(simulation: Simulation, calls: list[SimulatedCall]) -> SimulationProgress:
    """As an event shows it; ``calls`` without their reports."""
    return SimulationProgress(**_members(simulation), results=[_call(call) for call in calls])


def _members(simulation: Simulation) -> dict[str, Any]:
    summary = SimulationSummary(**simulation.summary)
    passed = summary.calls_passed == simulation.calls if simulation.status == "completed" else None
    return {
        "id": simulation.id,
        "agent_id": simulation.agent_id,
        "agent_name": simulation.agent_name,
        "agent_version": simulation.agent_version,
        "status": simulation.status,
        "passed": passed,
        "calls": simulation.calls,
        "repeat": simulation.repeat,
        "at_once": simulation.at_once,
        "summary": summary,
        "error": SimulationError(**simulation.error) if simulation.error else None,
        "created_at": timestamp(simulation.created_at),
        "started_at": timestamp(simulation.started_at) if simulation.started_at else None,
        "finished_at": timestamp(simulation.finished_at) if simulation.finished_at else None,
    }


def _call(call: SimulatedCall) -> SimulatedCallView:
    report = call.report or {}
    return SimulatedCallView(
        position=call.position,
        scenario=call.scenario,
        repetition=call.repetition,
        status=convert(call.status, CallStatus),
        call_id=call.call_id,
        channel=report.get("channel"),
        seconds=report.get("seconds"),
        lines=[SimulatedLine(**_line(line)) for line in report.get("lines", ())],
        checks=[SimulationCheck(**check) for check in report.get("checks", ())],
    )


def _line(line: dict[str, Any]) -> dict[str, Any]:
    return line | {
        "tools": [SimulatedToolUse(**use) for use in line["tools"]],
        "checks": [SimulationCheck(**check) for check in line["checks"]],
    }
