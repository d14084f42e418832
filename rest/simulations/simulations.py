"""Simulations as a resource: calls of simulated callers to a version of an agent.

Rules
- What is wrong with scenarios is said before anything is made, with the place and the key of each
  fault; so are an agent that cannot take calls, and recordings that are not the workspace's.
- The calls are made elsewhere (``gateway.simulation.runner``), by any process. A stream of events
  is of what is stored, so every node can send it: each event is the whole state, the last one is
  named after the status in which the simulation ended.
- A recording is decoded once, when it is sent, and kept as WAV. It is deleted a day after the last
  simulation that names it.
"""

import asyncio
import contextlib
import io
import wave
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
from aiohttp import web
from msgspec import Meta, UnsetType

from media.files.isolated import decode
from media.files.limits import MediaError, MediaLimits
from pipelines.jobs.artifacts import Artifacts
from pipelines.jobs.job import ApiWarning
from rest.accounts.keys import Grant
from rest.http.errors import (
    NotFound,
    PayloadTooLarge,
    ValidationFailed,
    WrongState,
)
from rest.http.event_stream import EventStream, StreamEnded, event_bytes, last_seen
from rest.http.operation import EVENT_STREAM, Answer, AnyOperation, AnyRequest, Operation, Request
from rest.http.pagination import Cursors, PageQuery
from rest.http.watch import Watch
from store.database import Database
from store.ids import is_id
from store.tenants.agents import Agent, Agents
from store.tenants.simulations import MOST_ACTIVE, NewSimulation, Simulation, Simulations

from .views import (
    CheckedScenarios,
    LineRecording,
    Scenarios,
    SimulationCreate,
    SimulationDetail,
    SimulationView,
    detail,
    progress,
    view,
)

READ, WRITE = "agents:read", "agents:write"
PATH, TAG, NOUN = "/api/simulations", "Simulations", "simulation"
MOST_SCENARIOS = 50
MOST_CALLS = 100
KIND = "line"
LIMITS = MediaLimits(120)
"""Of a recording: two minutes."""
MOST_RECORDING_BYTES = 50_000_000
RATE = 24_000
UPLOAD_SECONDS = 300.0

ReadScenarios = Callable[[str | Mapping[str, Any], Collection[str]], "ReadTree"]
"""Reads TOML, or its tree, whose recordings may have these names; raises ValidationFailed."""
CheckGrant = Callable[[Grant], Awaitable[None]]
"""Raises ApiError or ClientFault where a call by the grant would be refused as it is configured."""


class ReadTree(msgspec.Struct):
    """Scenarios that were read: their tree, their names in order, the agents that they name, and
    the recordings that they use."""

    tree: dict[str, Any]
    names: list[str]
    agents: list[str]
    recordings: list[str]


class SimulationsQuery(PageQuery):
    """What is listed: those of one agent, if it is named."""

    agent_id: Annotated[str, Meta(max_length=64)] | None = msgspec.field(
        default=None, name="agentId"
    )


class SimulationResource:
    """Simulations of a workspace. ``watch.context`` must be among the application's contexts."""

    def __init__(
        self,
        database: Database,
        artifacts: Artifacts,
        cursors: Cursors,
        *,
        agents: Agents,
        read: ReadScenarios,
        check_grant: CheckGrant,
        wake: Callable[[], None],
        lines: int,
    ) -> None:
        """``wake`` is called when a simulation waits; ``lines``: calls at once of the server."""
        self._simulations = Simulations(database)
        self._artifacts = artifacts
        self._cursors = cursors
        self._agents = agents
        self._read = read
        self._check_grant = check_grant
        self._wake = wake
        self._lines = lines
        self.watch = Watch(self._simulations.latest)

    def operations(self) -> Sequence[AnyOperation]:
        """See Resource."""
        return [*self._of_all(), *self._of_one()]

    def _of_all(self) -> list[AnyOperation]:
        return [
            Operation(
                method="GET",
                path=PATH,
                tag=TAG,
                summary="List simulations",
                handler=self._list,
                query=SimulationsQuery,
                data=list[SimulationView],
                scope=READ,
                description="Newest first; the newest 200 of a workspace are kept.",
            ),
            Operation(
                method="POST",
                path=PATH,
                tag=TAG,
                summary="Let simulated callers call an agent",
                handler=self._create,
                body=SimulationCreate,
                data=SimulationDetail,
                scope=WRITE,
                outcome="Created",
                idempotent=True,
                conflicts=True,
                description=(
                    f"At most {MOST_SCENARIOS} scenarios and {MOST_CALLS} calls, in half an hour;"
                    f" {MOST_ACTIVE} simulations at a time. The calls wait for lines that nobody"
                    " else needs. The agent is the one of the request, whatever the scenarios name."
                ),
            ),
            Operation(
                method="POST",
                path=f"{PATH}/check",
                tag=TAG,
                summary="Check scenarios without calling anybody",
                handler=self._check,
                body=Scenarios,
                data=CheckedScenarios,
                scope=READ,
            ),
            Operation(
                method="POST",
                path=f"{PATH}/recordings",
                tag=TAG,
                summary="Upload a recording for simulated callers (multipart)",
                handler=self._take_in,
                data=LineRecording,
                scope=WRITE,
                upload=True,
                idempotent=True,
                deadline=UPLOAD_SECONDS,
                unused_form=("model", "language", "label"),
                description="At most two minutes and 50 MB, in any format.",
            ),
        ]

    def _of_one(self) -> list[AnyOperation]:
        one = f"{PATH}/{{id}}"
        return [
            Operation(
                method="GET",
                path=one,
                tag=TAG,
                summary="Get a simulation",
                handler=self._get,
                data=SimulationDetail,
                scope=READ,
            ),
            Operation(
                method="DELETE",
                path=one,
                tag=TAG,
                summary="Delete a simulation that has ended (its calls stay)",
                handler=self._delete,
                scope=WRITE,
                outcome="Deleted",
                conflicts=True,
            ),
            Operation(
                method="POST",
                path=f"{one}/cancel",
                tag=TAG,
                summary="Cancel a simulation",
                handler=self._cancel,
                data=SimulationView,
                scope=WRITE,
                conflicts=True,
                description="Calls in progress are hung up within a few seconds.",
            ),
            Operation(
                method="GET",
                path=f"{one}/events",
                tag=TAG,
                summary="SSE stream of a simulation's progress (text/event-stream)",
                handler=self._events,
                scope=READ,
                media=EVENT_STREAM,
                deadline=None,
                outcome="SSE stream of progress/completed/failed/cancelled events",
                description="Each event is the whole state. `Last-Event-ID` resumes.",
            ),
        ]

    # ------------------------------------------------------------------ all of them

    async def _list(self, request: Request[None, SimulationsQuery]) -> Answer:
        return await self._cursors.page(
            request.query,
            lambda before, limit: self._simulations.list(
                request.workspace_id,
                agent_id=request.query.agent_id,
                limit=limit,
                before=before,
            ),
            view,
        )

    async def _create(self, request: Request[SimulationCreate, None]) -> Answer:
        body, workspace_id = request.body, request.workspace_id
        read = await self._scenarios(body)
        calls = [(name, run) for name in read.names for run in range(1, body.repeat + 1)]
        if len(calls) > MOST_CALLS:
            raise ValidationFailed(
                f"{len(calls)} calls are too many for one simulation: at most {MOST_CALLS}.",
                param="repeat",
            )
        if self._lines < 2:
            raise WrongState(
                "This server has one line, which is kept for callers: set BLAB_MAX_CALLS to 2 or"
                " more.",
                reason="no_spare_line",
            )
        version = body.agent_version if isinstance(body.agent_version, int) else None
        agent = await self._agent(workspace_id, body.agent_id, version)
        recordings = {name: body.recordings[name] for name in read.recordings}
        for name, key in recordings.items():
            found = await self._artifacts.find(workspace_id, key)
            if found is None or found.kind != KIND:
                raise ValidationFailed(
                    f"There is no such recording: send {name!r} to {PATH}/recordings.",
                    param=f"recordings.{name}",
                )
        made = await self._simulations.create(
            workspace_id,
            NewSimulation(
                agent_id=agent.id,
                agent_version=agent.version,
                agent_name=agent.name,
                source=body.source if isinstance(body.source, str) else None,
                scenarios=read.tree,
                recordings=recordings,
                repeat=body.repeat,
                at_once=body.at_once,
                calls=calls,
            ),
        )
        if made is None:
            raise WrongState(
                f"The workspace has {MOST_ACTIVE} simulations that have not ended: wait for one, or"
                " cancel it.",
                reason="too_many_simulations",
            )
        self._wake()
        return Answer(await self._detail(made), warnings=_other_agents(read, agent.id))

    async def _agent(self, workspace_id: str, agent_id: str, version: int | None) -> Agent:
        """The agent in the version that is to be called; raises ApiError or ClientFault."""
        agent = await self._agents.get(workspace_id, agent_id) if is_id(agent_id) else None
        if agent is None:
            raise NotFound("There is no such agent.", param="agentId")
        if version is not None:
            agent = await self._agents.as_of(workspace_id, agent_id, version)
            if agent is None:
                raise NotFound("The agent has no such version.", param="agentVersion")
        await self._check_grant(Grant(workspace_id, agent.id, agent_version=agent.version))
        return agent

    async def _check(self, request: Request[Scenarios, None]) -> Answer:
        read = await self._scenarios(request.body)
        return Answer(CheckedScenarios(read.tree, len(read.names)))

    async def _scenarios(self, body: Scenarios) -> ReadTree:
        """The scenarios of a request; raises ValidationFailed."""
        both = (body.source, body.scenarios)
        given = [one for one in both if not isinstance(one, UnsetType)]
        if len(given) != 1:
            raise ValidationFailed(
                "Send either source (TOML) or scenarios (the same as an object).", param="source"
            )
        read = await asyncio.to_thread(self._read, given[0], list(body.recordings))
        if len(read.names) > MOST_SCENARIOS:
            raise ValidationFailed(
                f"{len(read.names)} scenarios are too many for one simulation: at most"
                f" {MOST_SCENARIOS}.",
                param="scenarios",
            )
        return read

    async def _take_in(self, request: Request[None, None]) -> Answer:
        upload = request.file
        if upload.size > MOST_RECORDING_BYTES:
            raise PayloadTooLarge(
                f"A recording may have {MOST_RECORDING_BYTES // 1_000_000} MB.", param="file"
            )
        try:
            pcm = await asyncio.to_thread(_decoded, upload.path)
        except MediaError as error:
            raise ValidationFailed(str(error), param="file", reason="unreadable_media") from error
        duration = len(pcm) * 1000 // (2 * RATE)
        if not duration:
            raise ValidationFailed("The recording is empty.", param="file", reason="no_audio")
        key = await self._artifacts.take_in(
            request.workspace_id,
            KIND,
            await asyncio.to_thread(_wav, pcm),
            content_type="audio/wav",
            filename=upload.filename,
            duration_ms=duration,
        )
        return Answer(LineRecording(key, upload.filename, duration))

    # ------------------------------------------------------------------ one of them

    async def _get(self, request: Request[None, None]) -> Answer:
        return Answer(await self._detail(await request.stored(NOUN, self._simulations.get)))

    async def _detail(self, simulation: Simulation) -> SimulationDetail:
        calls = await self._simulations.calls(simulation.workspace_id, simulation.id)
        return detail(simulation, list(calls))

    async def _delete(self, request: Request[None, None]) -> Answer:
        await request.stored(NOUN, self._simulations.get)
        if not await self._simulations.delete(request.workspace_id, request.path()):
            raise WrongState(
                "The simulation has not ended: cancel it first.", reason="simulation_active"
            )
        return Answer({"id": request.path(), "deleted": True})

    async def _cancel(self, request: Request[None, None]) -> Answer:
        simulation = await request.stored(NOUN, self._simulations.cancel)
        if simulation.status in ("completed", "failed"):
            raise WrongState(
                "The simulation is over: it cannot be cancelled.", reason="simulation_over"
            )
        return Answer(view(simulation))

    async def _events(self, request: AnyRequest) -> web.StreamResponse:
        simulation = await request.stored(NOUN, self._simulations.get)
        with self.watch.of(request.workspace_id, simulation.id) as happened:
            stream = EventStream(request.http)
            with contextlib.suppress(StreamEnded):
                await stream.begin()
                await self._send(request, simulation.id, stream, happened)
        return stream.response

    async def _send(
        self, request: AnyRequest, simulation_id: str, stream: EventStream, happened: asyncio.Event
    ) -> None:
        seen = last_seen(request.http)
        while True:
            happened.clear()
            found = await self._simulations.get(request.workspace_id, simulation_id)
            if found is None:
                return  # deleted
            calls = await self._simulations.calls(  # after it: the last event shows them all
                request.workspace_id, simulation_id, reports=False
            )
            if found.revision != seen:
                seen = found.revision
                name = "progress" if found.active else found.status
                data = msgspec.json.encode(progress(found, list(calls)))
                await stream.send(event_bytes(seen, name, data))
            if not found.active:
                return
            await stream.wait(happened)


def _other_agents(read: ReadTree, agent_id: str) -> list[ApiWarning]:
    if set(read.agents) <= {agent_id}:
        return []
    message = "The scenarios name another agent; the one of the request is called."
    return [ApiWarning("no_effect", message, "source")]


def _decoded(path: Path) -> bytes:
    return b"".join(decode(path, RATE, LIMITS))


def _wav(pcm: bytes) -> bytes:
    made = io.BytesIO()
    with wave.open(made, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(pcm)
    return made.getvalue()
