"""Agents as a resource, with the turns that were taken with them."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from msgspec import Meta

from pipelines.jobs.job import ApiWarning
from rest.http.operation import Answer, AnyOperation, AnyRequest, Operation, Request
from rest.http.pagination import Cursors, PageQuery
from rest.http.uploads import CONVERSATION
from store.database import Database
from store.tenants.agents import Agent, Agents, Change, NewAgent
from store.vault import Vault

from .configuration import (
    DEFAULTS,
    AgentChanges,
    AgentChecks,
    AgentCreate,
    AgentView,
    given_fields,
    shown_agent,
    with_kept_secrets,
)
from .turns import AgentTurnResult, AgentTurns, TurnView

READ, WRITE = "agents:read", "agents:write"
NOUN = "agent"
PATH = "/api/agents"
MAX_AGENTS = 500
"""Agents in one answer."""


class AgentsQuery(PageQuery, kw_only=True):
    """The contract has no pages here: without these, all agents there usually are."""

    limit: Annotated[int, Meta(ge=1, le=MAX_AGENTS)] = MAX_AGENTS


class AgentResource:
    """The contract's tag Agents. ``on_change`` is called with an agent that was created or changed;
    ``vault`` seals what the headers of its tools contain."""

    def __init__(
        self,
        database: Database,
        turns: AgentTurns,
        checks: AgentChecks,
        cursors: Cursors,
        on_change: Callable[[Agent], None] = lambda _: None,
        vault: Vault | None = None,
    ) -> None:
        self._agents = Agents(database, vault)
        self._turns = turns
        self._checks = checks
        self._cursors = cursors
        self._on_change = on_change

    def operations(self) -> Sequence[AnyOperation]:
        """See Resource."""
        return [*self._of_agents(), *self._of_turns()]

    def _of_agents(self) -> list[AnyOperation]:
        one = f"{PATH}/{{id}}"
        return [
            Operation(
                method="GET",
                path=PATH,
                tag="Agents",
                summary="List voice agents",
                handler=self._list,
                data=list[AgentView],
                scope=READ,
                query=AgentsQuery,
            ),
            Operation(
                method="POST",
                path=PATH,
                tag="Agents",
                summary="Create a voice agent",
                handler=self._create,
                data=AgentView,
                scope=WRITE,
                body=AgentCreate,
                outcome="Created",
                idempotent=True,
            ),
            Operation(
                method="GET",
                path=one,
                tag="Agents",
                summary="Get an agent",
                handler=self._get,
                data=AgentView,
                scope=READ,
            ),
            Operation(
                method="PATCH",
                path=one,
                tag="Agents",
                summary="Update an agent",
                handler=self._update,
                data=AgentView,
                scope=WRITE,
                body=AgentChanges,
            ),
            Operation(
                method="DELETE",
                path=one,
                tag="Agents",
                summary="Delete an agent",
                handler=self._delete,
                scope=WRITE,
                outcome="Deleted",
                description=(
                    "Its versions go with it; its calls and turns stay. Where the default agent is"
                    " deleted, a new one is made when it is needed."
                ),
            ),
        ]

    def _of_turns(self) -> list[AnyOperation]:
        one = f"{PATH}/{{id}}"
        return [
            Operation(
                method="POST",
                path=f"{one}/turn",
                tag="Agents",
                summary=(
                    "One conversation turn (multipart user audio → transcript + reply + spoken"
                    " reply URL)"
                ),
                handler=self._turn,
                data=AgentTurnResult,
                scope=WRITE,
                upload=True,
                idempotent=True,
                deadline=None,
                form=(CONVERSATION,),
                unused_form=("label",),
                description=(
                    "The first turn begins a conversation. Send its `conversationId`"
                    " (form field) with the next turn to go on with it."
                ),
            ),
            Operation(
                method="GET",
                path=f"{one}/turns",
                tag="Agents",
                summary="Conversation history",
                handler=self._history,
                data=list[TurnView],
                scope=READ,
                query=PageQuery,
                description="Newest first, with the turns of live calls.",
            ),
        ]

    async def _list(self, request: Request[None, AgentsQuery]) -> Answer:
        return await self._cursors.page(
            request.query,
            lambda after, limit: self._agents.list(
                request.workspace_id, limit=limit, after=after or ""
            ),
            shown_agent,
        )

    async def _create(self, request: Request[AgentCreate, None]) -> Answer:
        given = given_fields(request.body)
        await self._checks.check(given, DEFAULTS | given)
        change = change_by(request, request.body.note)
        made = await self._agents.create(request.workspace_id, NewAgent(**given), change)
        self._on_change(made)
        return Answer(shown_agent(made))

    async def _get(self, request: Request[None, None]) -> Answer:
        return Answer(shown_agent(await self._agent(request)))

    async def _update(self, request: Request[AgentChanges, None]) -> Answer:
        agent, body = await self._agent(request), request.body
        changes, kept = given_fields(body), body.keep_tool_secrets
        if kept:
            changes["tools"] = with_kept_secrets(changes.get("tools") or (), kept, agent)
        await self._checks.check(changes, dataclasses.asdict(agent) | changes)

        def revise(now: Agent) -> dict[str, Any]:
            if not kept:
                return changes
            # somebody else may have set these secrets since they were checked
            return changes | {"tools": with_kept_secrets(changes["tools"], kept, now)}

        done = await request.stored(
            NOUN,
            lambda workspace_id, agent_id: self._agents.update(
                workspace_id, agent_id, revise, change_by(request, body.note)
            ),
        )
        if done.changed:
            self._on_change(done.agent)
        dropped = body.note and not done.changed
        warnings = [unchanged("The note was dropped")] if dropped else []
        return Answer(shown_agent(done.agent), warnings=warnings)

    async def _delete(self, request: Request[None, None]) -> Answer:
        await request.stored(NOUN, self._agents.delete)
        return Answer({"id": request.path(), "deleted": True})

    async def _turn(self, request: Request[None, None]) -> Answer:
        return await self._turns.take(request, await self._agent(request))

    async def _history(self, request: Request[None, PageQuery]) -> Answer:
        return await self._turns.list(request, await self._agent(request))

    async def _agent(self, request: AnyRequest) -> Agent:
        return await request.stored(NOUN, self._agents.get)


def change_by(request: AnyRequest, note: str = "", restores: int | None = None) -> Change:
    """The change that a request makes to an agent."""
    caller = request.caller
    if caller.user_id is not None:
        return Change("user", caller.user_id, note, restores)
    if caller.key_id is not None:
        return Change("api_key", caller.key_id, note, restores)
    return Change("page", None, note, restores)


def unchanged(what: str) -> ApiWarning:
    """The warning about a change that changed nothing."""
    return ApiWarning("no_effect", f"{what}: nothing changed, so there is no new version.")
