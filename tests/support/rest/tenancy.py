"""Two tenants, one with an object of each kind, and requests generated from the contract."""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from aiohttp import FormData, web

from gateway.calls.telephony import CARRIERS
from pipelines.jobs.erasure import submit_erasure
from pipelines.jobs.job import JobType, NewJob
from pipelines.jobs.queue import JobQueue, submit_batch
from rest.accounts import keys
from rest.accounts.keys import SCOPES
from store.database import Database
from store.ids import new_id
from store.tenants.accounts import ApiKeys, NewApiKey, Users, Workspaces
from store.tenants.agents import Agents, NewAgent
from store.tenants.calls import Calls, NewCall
from store.tenants.embeds import Embeds, NewEmbed
from store.tenants.objects import NewObject, Objects
from store.tenants.projects import Projects
from store.tenants.simulations import NewSimulation, Simulations
from store.tenants.webhooks import Webhooks
from tests.store.test_tenants import NOW

Schema = dict[str, Any]

_SCOPES = re.compile(r"Required API-key scopes: ([^.]*)\.")
SIGNED = "/api/files/{key}"
"""What signed addresses lead to: no key opens it, and the signature names the workspace."""
EXAMPLES = {
    "model": "blab-stable",
    "input": "Hello there.",
    "voice": "default",
    "url": "https://example.com/hook",
    "targetLanguage": "de",
    "language": "en",
}
"""Texts that their operations accept; any other text is "x"."""


@dataclass(frozen=True)
class Route:
    """An operation as the server routes it, and what the contract says of it."""

    method: str
    path: str
    contract: Schema

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def scope(self) -> str | None:
        """The scope that the contract's description names."""
        found = _SCOPES.match(self.contract.get("description", ""))
        return found[1] if found else None

    @property
    def kind(self) -> str:
        """What its ids are ids of: the path's first word."""
        return self.path.split("/")[2]

    @property
    def public(self) -> bool:
        """Whether no credential is needed."""
        return self.contract.get("security") == []

    @property
    def form(self) -> bool:
        """Whether it takes an upload."""
        return "multipart/form-data" in self.contract.get("requestBody", {}).get("content", {})

    def url(self, id: str) -> str:
        """The path with an id in it."""
        return (
            self.path.replace("{id}", id)
            .replace("{index}", "0")
            .replace("{number}", "1")
            .replace("{deliveryId}", "dlv_00000000000000000000000000")
        )


def routes_of(app: web.Application, contract: Schema) -> list[Route]:
    """Every route under /api of the server, with its operation of the contract.

    A route that the contract does not have is a KeyError, but for signed addresses and the doors
    of carriers, which have tests of their own."""
    found = []
    for route in app.router.routes():
        path = route.resource.canonical if route.resource is not None else ""
        if path == SIGNED or route.method in ("HEAD", "OPTIONS"):
            continue
        if any(f"/{carrier.name}" in path for carrier in CARRIERS):
            continue
        if path.startswith("/api/"):
            operation = contract["paths"][path][route.method.lower()]
            found.append(Route(route.method, path, operation))
    return found


def body_of(contract: Schema, route: Route) -> Schema | None:
    """The schema of the JSON that it takes."""
    content = route.contract.get("requestBody", {}).get("content", {})
    schema = content.get("application/json", {}).get("schema")
    return resolved(contract, schema) if schema is not None else None


def resolved(contract: Schema, schema: Schema) -> Schema:
    """The schema, a reference followed."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        found: Schema = contract["components"]["schemas"][name]
        return found
    return schema


def example(contract: Schema, schema: Schema, name: str = "") -> Any:
    """A value of the schema with nothing in it that is not required."""
    schema = resolved(contract, schema)
    if "enum" in schema:
        return EXAMPLES.get(name) if EXAMPLES.get(name) in schema["enum"] else schema["enum"][0]
    match schema["type"]:
        case "object":
            return {
                part: example(contract, schema["properties"][part], part)
                for part in schema.get("required", [])
            }
        case "array":
            return [example(contract, schema["items"])]
        case "boolean":
            return True
        case "integer" | "number":
            return schema.get("minimum", 1)
    return EXAMPLES.get(name, "x")


def form(file: bytes = b"x") -> FormData:
    """An upload, of nothing much unless something is given."""
    made = FormData()
    made.add_field("file", io.BytesIO(file), filename="a.wav", content_type="audio/wav")
    return made


def references(contract: Schema, schema: Schema, path: tuple[str, ...] = ()) -> Iterator[Any]:
    """Where a body names something that belongs to a workspace: a stored object or a voice."""
    schema = resolved(contract, schema)
    if schema.get("type") == "array":
        yield from references(contract, schema["items"], (*path, "0"))
    for name, part in schema.get("properties", {}).items():
        if name.endswith("StorageKey") or name == "voice":
            yield (*path, name)
        yield from references(contract, part, (*path, name))


def put(body: Any, path: tuple[str, ...], value: str) -> None:
    """Set one value within a body."""
    for step in path[:-1]:
        body = body[int(step)] if isinstance(body, list) else body[step]
    body[path[-1]] = value


@dataclass(frozen=True)
class Tenant:
    """A workspace, its key that may do everything, and the ids of what it has, by kind."""

    workspace_id: str
    key: str
    ids: dict[str, str]


async def new_key(database: Database, workspace_id: str, scopes: list[str]) -> str:
    key = keys.new_key()
    new = NewApiKey(
        name="test",
        prefix=key.prefix,
        digest=key.digest,
        scopes=scopes,
    )
    await ApiKeys(database).insert(workspace_id, new)
    return key.text


async def tenant(database: Database, email: str) -> Tenant:
    """A new workspace with one of everything."""
    user = await Users(database).create(email, "Somebody", None)
    ours = (await Workspaces(database).create("Work", user.id)).id
    key = await new_key(database, ours, list(SCOPES))
    queue = JobQueue(database)
    speech = {"model": "blab-stable", "input": "Hello.", "language": "en"}
    jobs = {
        kind: (await queue.submit(ours, NewJob(kind, dict(speech)))).id
        for kind in (JobType.TTS, JobType.STT, JobType.DUBBING)
    }
    spare = keys.new_key()
    listed = await ApiKeys(database).insert(
        ours,
        NewApiKey(
            name="spare",
            prefix=spare.prefix,
            digest=spare.digest,
            scopes=["tts:read"],
        ),
    )
    agent = await Agents(database).create(ours, NewAgent("Ann"))
    call = NewCall(
        id=new_id("call"),
        agent_id=agent.id,
        node_id="node_a",
        channel="rest",
        config={},
        started_at=NOW,
    )
    await Calls(database).open(ours, call)
    webhook = await Webhooks(database).create(
        ours, "https://example.com/hook", ["job.completed"], "whsec_x", enabled=True
    )
    assert webhook is not None
    embed = await Embeds(database).create(ours, agent.id, NewEmbed("E", ["https://a.example"]))
    assert embed is not None
    stored = {kind: f"{ours}/{kind}/{new_id('obj')}" for kind in ("sample", "source")}
    for kind, name in stored.items():
        new = NewObject(
            key=name,
            kind=kind,
            content_type="audio/wav",
            filename="a.wav",
            size_bytes=100,
            duration_ms=20_000,
        )
        await Objects(database).put(ours, new)
    return Tenant(
        ours,
        key,
        {
            "tts": jobs[JobType.TTS],
            "stt": jobs[JobType.STT],
            "dubbing": jobs[JobType.DUBBING],
            "jobs": jobs[JobType.TTS],
            "batch": (await submit_batch(database, ours, {"items": 1}, [speech])).id,
            "voices": await _voice(database, ours),
            "projects": (await Projects(database).create(ours, "P")).id,
            "webhooks": webhook.id,
            "agents": agent.id,
            "embeds": embed.id,
            "api-keys": listed.id,
            "conversation": call.id,
            "calls": call.id,
            "simulations": await _simulation(database, ours, agent.id),
            "erasures": (await submit_erasure(database, ours, requested_by="u", caller=b"c")).id,
            **stored,
        },
    )


async def _simulation(database: Database, workspace_id: str, agent_id: str) -> str:
    """One that was cancelled before anybody called."""
    new = NewSimulation(
        agent_id=agent_id,
        agent_version=1,
        agent_name="Ann",
        source=None,
        scenarios={"scenario": [{"name": "one", "line": [{"say": "Hello."}]}]},
        recordings={},
        repeat=1,
        at_once=1,
        calls=[("one", 1)],
    )
    made = await Simulations(database).create(workspace_id, new)
    assert made is not None
    await Simulations(database).cancel(workspace_id, made.id)
    return made.id


async def _voice(database: Database, workspace_id: str) -> str:
    voice_id = new_id("voice")
    await database.execute(
        "INSERT INTO voices (id, workspace_id, name, source_type, provider_voice_id, model,"
        " recipe, consent_by, consent_at)"
        " VALUES ($1, $2, 'V', 'cloned', 'p', 'blab-expressive', '{}', 'key', now())",
        voice_id,
        workspace_id,
    )
    return voice_id
