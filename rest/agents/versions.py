"""Versions of agents as a resource: what an agent was after each of its changes, and back again.

A version is never changed. To go back to one makes a new version with its configuration, checked
like any other change; calls refer to the version with which they began. An agent has its newest
``MAX_VERSIONS``; older ones are as absent as those that there never were.
"""

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import Literal

from msgspec import Struct, convert

from rest.http.errors import NotFound
from rest.http.fields import timestamp
from rest.http.operation import Answer, AnyOperation, AnyRequest, Operation, Request
from rest.http.pagination import Cursors, PageQuery
from store.database import Database
from store.tenants.agents import MAX_VERSIONS, Agent, Agents, AgentVersion
from store.vault import Vault

from .agents import NOUN, PATH, READ, WRITE, change_by, unchanged
from .configuration import AgentChecks, AgentConfig, AgentView, shown_agent, shown_config


class VersionAuthor(Struct):
    """Who made a version: an API key, a user who has signed in, one of Blab's own pages on this
    machine, or the server. ``name``: of the key, or the e-mail address; null: unknown by now."""

    kind: Literal["api_key", "user", "page", "server"]
    id: str | None
    name: str | None


class AgentVersionView(Struct, rename="camel", kw_only=True):
    """An agent as it was from one change to the next. ``restores``: the number of the version that
    was made again."""

    number: int
    by: VersionAuthor
    note: str
    restores: int | None
    config: AgentConfig
    created_at: str


class AgentVersionResource:
    """The versions of a workspace's agents. ``on_change`` is called with an agent that was
    changed."""

    def __init__(
        self,
        database: Database,
        checks: AgentChecks,
        cursors: Cursors,
        on_change: Callable[[Agent], None] = lambda _: None,
        vault: Vault | None = None,
    ) -> None:
        self._agents = Agents(database, vault)
        self._checks = checks
        self._cursors = cursors
        self._on_change = on_change

    def operations(self) -> Sequence[AnyOperation]:
        """See Resource."""
        all_of, one = f"{PATH}/{{id}}/versions", f"{PATH}/{{id}}/versions/{{number}}"
        return [
            Operation(
                method="GET",
                path=all_of,
                tag="Agents",
                summary="List an agent's versions",
                handler=self._list,
                data=list[AgentVersionView],
                scope=READ,
                query=PageQuery,
                description=(
                    f"Newest first, each with the whole configuration. {MAX_VERSIONS} are kept."
                ),
            ),
            Operation(
                method="GET",
                path=one,
                tag="Agents",
                summary="Get a version of an agent",
                handler=self._get,
                data=AgentVersionView,
                scope=READ,
            ),
            Operation(
                method="POST",
                path=f"{one}/restore",
                tag="Agents",
                summary="Go back to a version of an agent",
                handler=self._restore,
                data=AgentView,
                scope=WRITE,
                idempotent=True,
                description="Makes a new version with that configuration; calls keep theirs.",
            ),
        ]

    async def _list(self, request: Request[None, PageQuery]) -> Answer:
        agent = await request.stored(NOUN, self._agents.get)
        return await self._cursors.page(
            request.query,
            lambda before, limit: self._agents.versions(
                request.workspace_id, agent.id, limit=limit, before=before
            ),
            _shown,
        )

    async def _get(self, request: Request[None, None]) -> Answer:
        return Answer(_shown(await self._version(request)))

    async def _restore(self, request: Request[None, None]) -> Answer:
        version = await self._version(request)
        fields = dataclasses.fields(version.agent)
        config = {field.name: getattr(version.agent, field.name) for field in fields}
        await self._checks.check(config, dict(config))
        done = await request.stored(
            NOUN,
            lambda workspace_id, agent_id: self._agents.update(
                workspace_id, agent_id, config, change_by(request, restores=version.number)
            ),
        )
        if not done.changed:
            return Answer(
                shown_agent(done.agent), warnings=[unchanged("The agent is like that already")]
            )
        self._on_change(done.agent)
        return Answer(shown_agent(done.agent))

    async def _version(self, request: AnyRequest) -> AgentVersion:
        agent = await request.stored(NOUN, self._agents.get)
        text = request.path("number")
        number = int(text) if re.fullmatch("[0-9]{1,9}", text) else 0
        found = await self._agents.version(request.workspace_id, agent.id, number)
        if found is None:
            raise NotFound("The agent has no such version.")
        return found


def _shown(version: AgentVersion) -> AgentVersionView:
    by = {"kind": version.by_kind, "id": version.by_id, "name": version.by_name}
    return AgentVersionView(
        number=version.number,
        by=convert(by, VersionAuthor),
        note=version.note,
        restores=version.restores,
        config=shown_config(version.agent),
        created_at=timestamp(version.created_at),
    )
