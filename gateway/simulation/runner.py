"""Makes the calls of simulations on this node: takes those that wait, one at a time.

Rules
- Any gateway process of any node may take one. The process has it for ``LEASE``, renewed every
  ``BEAT_SECONDS``; whoever dies or hangs loses it, and another goes on with the calls that are
  missing (``store.tenants.simulations``).
- The calls are made by a child process (``calling``) that ends with this one. It calls this machine
  at ``url`` by an ephemeral key of the workspace, for the agent's version, which leaves lines free
  for other callers.
- A server that is about to stop takes none, and gives back the one it has.
- After ``MOST_SECONDS`` from its beginning a simulation fails; what has been found stays.
- While a store is away, the results wait for it; the lease bounds how long.
"""

import asyncio
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from aiohttp import web
from msgspec import UNSET

from gateway.commands.talk import ANYWHERE
from gateway.services.child import LAUNCHER
from gateway.settings import CHECKOUT, Settings
from pipelines.jobs.artifacts import Artifacts
from rest.accounts.keys import EphemeralKeys, Grant
from rest.http.errors import ValidationFailed
from rest.simulations.simulations import ReadTree
from store.database import Database
from store.errors import StoreError
from store.tenants.simulations import Claim, Simulations

from .calling import MOST_BYTES, Order
from .report import figures
from .scenarios import ScenarioFault, scenarios_of, tree_of

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=20)
BEAT_SECONDS = 1.0
LOOK_SECONDS = 2.0
"""How often a process that has none looks for one."""
MOST_SECONDS = 1800.0
PATIENCE = 300.0
"""Seconds that a call waits for a line."""
_RUN = "run-"
_KEY_SECONDS = int(MOST_SECONDS) + 60
_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C.UTF-8"}
"""Of the calling process: no settings, and so no secrets."""
COMMAND = (sys.executable, "-m", "gateway.simulation.calling")

TIME_LIMIT = {
    "code": "time_limit",
    "message": f"It took more than {MOST_SECONDS / 60:g} minutes: run fewer scenarios at a time.",
}
RECORDING_GONE = {
    "code": "recording_gone",
    "message": "A recording that its scenarios name was deleted: send it again.",
}
CALLERS_FAILED = {
    "code": "callers_failed",
    "message": "The process that makes the calls failed. The server's log says why.",
}


class _Stopped(Exception):
    """The simulation is not this process's any more, or is to end."""

    def __init__(self, status: str | None, error: Mapping[str, str] | None = None) -> None:
        """``status``: with which it ends; None: it is another's."""
        super().__init__(status)
        self.status = status
        self.error = error


class SimulationRunner:
    """Takes simulations while ``context`` is open."""

    def __init__(
        self,
        database: Database,
        artifacts: Artifacts,
        ephemeral: EphemeralKeys,
        *,
        url: str,
        folder: Path,
        lines: int,
        leaving: Callable[[], bool],
    ) -> None:
        """``url``: of this server, as this machine reaches it; ``folder``: for files of a run;
        ``lines``: calls at once of the whole server; ``leaving``: whether it is about to stop."""
        self._simulations = Simulations(database)
        self._artifacts = artifacts
        self._ephemeral = ephemeral
        self.url = url
        self._folder = folder
        self._at_once = max(1, lines // 2)
        self._leaving = leaving
        self._news = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """There is one that waits."""
        self._news.set()

    async def context(self, _app: web.Application) -> AsyncIterator[None]:
        """Take simulations as long as the application runs."""
        self._worker = asyncio.create_task(self._work(), name="simulations")
        yield
        await self.stop()

    async def stop(self) -> None:
        """Take no more, and give back the one that it has."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
            self._worker = None

    async def _work(self) -> None:
        away = False
        while True:
            self._news.clear()
            try:
                claim = None if self._leaving() else await self._simulations.claim(LEASE)
                if claim is not None:
                    await self._carry_out(claim)
                away = False
            except StoreError as error:
                if not away:
                    log.warning("simulations wait: %s", error)
                away, claim = True, None
            if claim is None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_SECONDS):
                        await self._news.wait()

    async def _carry_out(self, claim: Claim) -> None:
        """Make the calls that are missing, and end the simulation or give it back."""
        log.info("simulation %s: attempt %d", claim.simulation.id, claim.attempt)
        try:
            async with asyncio.timeout(MOST_SECONDS - claim.seconds):
                await self._make_calls(claim)
            end = _Stopped("completed")
        except TimeoutError:
            end = _Stopped("failed", TIME_LIMIT)
        except _Stopped as stopped:
            end = stopped
        except asyncio.CancelledError:
            with suppress(StoreError):
                await self._simulations.release(claim)
            raise
        except StoreError:
            with suppress(StoreError):  # otherwise the lease ends by itself
                await self._simulations.release(claim)
            raise
        except Exception:  # a simulation's edge
            log.exception("simulation %s failed", claim.simulation.id)
            end = _Stopped("failed", CALLERS_FAILED)
        if end.status == "queued":
            await self._simulations.release(claim)
        elif end.status is not None:
            await self._simulations.finish(claim, end.status, end.error)
        log.info("simulation %s: %s", claim.simulation.id, end.status or "taken over")

    async def _make_calls(self, claim: Claim) -> None:
        await asyncio.to_thread(_prepare, self._folder)
        with tempfile.TemporaryDirectory(prefix=_RUN, dir=self._folder) as folder:
            order = await self._order(claim, Path(folder))
            if not order.positions:
                return
            process = await _started()
            try:
                await self._attend(claim, process, order)
            finally:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()

    async def _order(self, claim: Claim, folder: Path) -> Order:
        simulation = claim.simulation
        names = {}
        for number, (name, key) in enumerate(sorted(simulation.recordings.items())):
            names[name] = f"{number}.wav"
            try:
                await self._artifacts.fetch(simulation.workspace_id, key, folder / names[name])
            except LookupError as error:
                raise _Stopped("failed", RECORDING_GONE) from error
        grant = Grant(
            simulation.workspace_id,
            simulation.agent_id,
            scopes=("tts:write",),
            agent_version=simulation.agent_version,
            yields=True,
        )
        minted = await self._ephemeral.mint(grant, _KEY_SECONDS)
        return Order(
            url=self.url,
            key=minted.value,
            agent_id=simulation.agent_id,
            scenarios=with_files(simulation.scenarios, names),
            repeat=simulation.repeat,
            positions=[one for one in range(simulation.calls) if one not in claim.ended],
            at_once=min(simulation.at_once, self._at_once),
            folder=str(folder),
            patience=PATIENCE,
        )

    async def _attend(self, claim: Claim, process: Process, order: Order) -> None:
        """Hand the order over, store what comes of it, and keep the lease."""
        stdin = process.stdin
        assert stdin is not None  # noqa: S101 - as it was started
        stdin.write(msgspec.json.encode(order) + b"\n")
        await stdin.drain()
        reading = asyncio.create_task(self._read(claim, process), name="simulated-calls")
        try:
            while not reading.done():
                await asyncio.wait((reading,), timeout=BEAT_SECONDS)
                await self._keep(claim)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        await reading

    async def _keep(self, claim: Claim) -> None:
        """Renew the lease; raises _Stopped where the simulation is not to go on here."""
        if self._leaving():
            raise _Stopped("queued")
        try:
            async with asyncio.timeout(LEASE.total_seconds()):
                cancelled = await _stored(lambda: self._simulations.renew(claim, LEASE))
        except TimeoutError:
            cancelled = None  # the lease is over
        if cancelled is None:
            raise _Stopped(None)
        if cancelled:
            raise _Stopped("cancelled")

    async def _read(self, claim: Claim, process: Process) -> None:
        """Store each call as it begins and ends; raises _Stopped where some are missing."""
        stdout = process.stdout
        assert stdout is not None  # noqa: S101 - as it was started
        ended = dict(claim.ended)
        async for line in stdout:
            said: dict[str, Any] = msgspec.json.decode(line)
            position, call_id = int(said["position"]), str(said["call_id"]) or None
            if said["type"] == "began":
                began = call_id or ""
                await _stored(lambda: self._simulations.call_began(claim, position, began))  # noqa: B023
                continue
            ended[position] = said["report"]
            await _stored(lambda: self._call_ended(claim, position, call_id, ended))  # noqa: B023
        if len(ended) < claim.simulation.calls:
            raise _Stopped("failed", CALLERS_FAILED)

    async def _call_ended(
        self,
        claim: Claim,
        position: int,
        call_id: str | None,
        ended: Mapping[int, Mapping[str, Any]],
    ) -> None:
        report = ended[position]
        await self._simulations.call_ended(
            claim,
            position,
            report,
            call_id=call_id,
            passed=bool(report["passed"]),
            summary=figures(list(ended.values())),
        )


def _prepare(folder: Path) -> None:
    """Make the folder, and delete what processes that died have left in it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in folder.glob(f"{_RUN}*"):
        with suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > 2 * MOST_SECONDS:
                shutil.rmtree(left, ignore_errors=True)


async def _started() -> Process:
    """The process that makes the calls; it dies with this one (on Linux, by the kernel's hand)."""
    launch = (str(LAUNCHER), str(os.getpid()), str(int(signal.SIGKILL)), "-1", "-1", str(CHECKOUT))
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        "-S",
        *launch,
        *COMMAND,
        stdin=PIPE,
        stdout=PIPE,
        limit=MOST_BYTES,
        env=_ENVIRONMENT,
    )


Result = TypeVar("Result")


async def _stored(work: Callable[[], Awaitable[Result]]) -> Result:
    """What ``work`` returns, once the store is there; cancelled by whoever has a deadline."""
    while True:
        try:
            return await work()
        except StoreError as error:
            log.warning("a simulation waits for the store: %s", error)
        await asyncio.sleep(BEAT_SECONDS)


def with_files(scenarios: Mapping[str, Any], files: Mapping[str, str]) -> dict[str, Any]:
    """Checked scenarios with other names for their recordings."""

    def renamed(audio: Any) -> Any:
        if isinstance(audio, list):
            return [renamed(part) for part in audio]
        return files.get(audio, audio) if isinstance(audio, str) else audio

    return dict(scenarios) | {
        "scenario": [
            dict(scenario)
            | {
                "line": [
                    dict(line) | ({"audio": renamed(line["audio"])} if "audio" in line else {})
                    for line in scenario["line"]
                ]
            }
            for scenario in scenarios["scenario"]
        ]
    }


def read_scenarios(given: str | Mapping[str, Any], recordings: Collection[str]) -> ReadTree:
    """Scenarios of a request, TOML or its tree, whose recordings may have these names; raises
    ValidationFailed. Blocks."""

    def problem_with(name: str) -> str | None:
        return None if name in recordings else "is not among the recordings of this request"

    try:
        tree = tree_of(given) if isinstance(given, str) else dict(given)
        scenarios = scenarios_of(tree, problem_with)
    except ScenarioFault as error:
        first, *others = error.faults
        more = f" ({len(others)} more)" if others else ""
        raise ValidationFailed(
            f"{first.message}{more}",
            param=first.path or "source",
            reason="bad_scenarios",
            faults=error.faults,
        ) from error
    lines = [line for scenario in scenarios for line in scenario.lines]
    said = [part for line in lines if line.audio is not UNSET for part in line.parts]
    return ReadTree(
        tree=msgspec.to_builtins(tree),
        names=[scenario.name for scenario in scenarios],
        agents=[one.agent for one in scenarios if isinstance(one.agent, str)],
        recordings=sorted({part for part in said if isinstance(part, str)}),
    )


def own_url(settings: Settings) -> str:
    """This server, as a caller on its machine reaches it. One that speaks TLS is called by its
    public name, which is the one in its certificate."""
    if settings.tls_certificate is not None and settings.public_url:
        return settings.public_url
    host = ANYWHERE.get(settings.host, settings.host)
    host = f"[{host}]" if ":" in host and not host.startswith("[") else host
    scheme = "http" if settings.tls_certificate is None else "https"
    return f"{scheme}://{host}:{settings.port}"
