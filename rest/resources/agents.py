"""Agents as a resource, with the turns that were taken with them."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

from pipelines.engines.call_names import CallNames, NameField
from pipelines.engines.catalogue import Catalogue
from pipelines.ssrf import CustomerHttp, UrlRefused
from rest.http.errors import NoSuchModel, ValidationFailed
from rest.http.fields import LanguageTag, ModelId, Name, VoiceId, timestamp
from rest.http.operation import Answer, AnyOperation, AnyRequest, Operation, Request
from rest.http.pagination import Cursors, PageQuery
from rest.http.uploads import CONVERSATION
from sessions.core.config import SessionConfig
from sessions.tools import MOST, InvalidTools, check_tools, shown_tools
from store.database import Database
from store.tenants.agents import Agent, Agents, NewAgent
from store.vault import Vault

from .agent_turns import AgentTurnResult, AgentTurns, TurnView

READ, WRITE = "agents:read", "agents:write"
NOUN = "agent"
PATH = "/api/agents"
MAX_AGENTS = 500
"""Agents in one answer."""

_AT_FAULT: dict[NameField, tuple[str, ...]] = {
    "model": ("model",),
    "speech_model": ("tts_model",),
    "voice": ("voice", "language", "tts_model"),
    "language": ("language", "tts_model"),
}
"""The agent's fields that can be the reason why a name in its calls is not served."""
_WIRE_NAMES = {"tts_model": "ttsModel"}


MAX_PROMPT = 20_000
"""Characters of a system prompt."""

_DEFAULT = NewAgent(name="")
_DEFAULTS = dataclasses.asdict(_DEFAULT)

ChatModelId = Annotated[ModelId, Meta(description="chat/LLM model")]
MAX_CONSENT = 2_000
"""Characters of a consent text."""
MAX_KEEP_DAYS = 36_500


class AgentRecording(Struct, rename="camel", kw_only=True, frozen=True):
    """Whether the agent's calls are recorded. ``consent``: what it says before anything else, and
    which cannot be cut off; empty: nothing. ``retention_days``: how long recordings are kept; null:
    as long as the workspace keeps them."""

    enabled: bool = False
    consent: Annotated[str, Meta(max_length=MAX_CONSENT)] = ""
    retention_days: Annotated[int, Meta(ge=1, le=MAX_KEEP_DAYS)] | None = None


AgentToolList = Annotated[
    list[dict[str, Any]],
    Meta(max_length=MOST, description="HTTP tools and MCP servers, as in a session's `tools`"),
]
Prompt = Annotated[str, Meta(max_length=MAX_PROMPT)]


class AgentCreate(Struct, rename="camel", kw_only=True):
    """The contract's AgentCreate. An empty text means the default, ``systemPrompt`` excepted."""

    name: Name
    system_prompt: Prompt | UnsetType = UNSET
    model: ChatModelId = _DEFAULT.model
    tts_model: ModelId = _DEFAULT.tts_model
    voice: VoiceId = _DEFAULT.voice
    language: LanguageTag | UnsetType = UNSET
    tools: AgentToolList | UnsetType = UNSET
    recording: AgentRecording | UnsetType = UNSET


class AgentChanges(Struct, rename="camel", kw_only=True):
    """The contract's AgentCreate, as a change: what is not sent, the name aside, stays."""

    name: Name
    system_prompt: Prompt | UnsetType = UNSET
    model: ChatModelId | UnsetType = UNSET
    tts_model: ModelId | UnsetType = UNSET
    voice: VoiceId | UnsetType = UNSET
    language: LanguageTag | UnsetType = UNSET
    tools: AgentToolList | UnsetType = UNSET
    recording: AgentRecording | UnsetType = UNSET


class AgentView(Struct, rename="camel"):
    """The contract's Agent, and more. ``language`` null: whatever the caller speaks. ``tools``
    come without their headers."""

    id: str
    name: str
    model: str
    tts_model: str
    voice: str
    system_prompt: str
    language: str | None
    is_default: bool
    created_at: str
    updated_at: str
    tools: list[dict[str, Any]] = []
    recording: AgentRecording = AgentRecording()


def shown_agent(agent: Agent) -> AgentView:
    """The agent as it is shown."""
    return AgentView(
        id=agent.id,
        name=agent.name,
        model=agent.model,
        tts_model=agent.tts_model,
        voice=agent.voice,
        system_prompt=agent.system_prompt,
        language=agent.language,
        is_default=agent.is_default,
        created_at=timestamp(agent.created_at),
        updated_at=timestamp(agent.updated_at),
        tools=shown_tools(agent.tools),
        recording=_shown_recording(agent.recording),
    )


def _shown_recording(stored: Mapping[str, Any]) -> AgentRecording:
    return AgentRecording(
        enabled=bool(stored.get("enabled")),
        consent=stored.get("consent") or "",
        retention_days=stored.get("keep_days"),
    )


def _stored_recording(wanted: AgentRecording) -> dict[str, Any]:
    return {
        "enabled": wanted.enabled,
        "consent": wanted.consent.strip(),
        "keep_days": wanted.retention_days,
    }


class AgentsQuery(PageQuery, kw_only=True):
    """The contract has no pages here: without these, all agents there usually are."""

    limit: Annotated[int, Meta(ge=1, le=MAX_AGENTS)] = MAX_AGENTS


class AgentResource:
    """The contract's tag Agents. ``guard`` decides which URLs tools may have; ``on_change`` is
    called with an agent that was created or changed; ``vault`` seals what their headers contain."""

    def __init__(
        self,
        database: Database,
        turns: AgentTurns,
        engines: Catalogue,
        cursors: Cursors,
        guard: CustomerHttp,
        on_change: Callable[[Agent], None] = lambda _: None,
        vault: Vault | None = None,
    ) -> None:
        self._agents = Agents(database, vault)
        self._turns = turns
        self._engines = engines
        self._cursors = cursors
        self._guard = guard
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
                    "Its calls and turns stay. Where the default agent is deleted,"
                    " a new one is made when it is needed."
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
        given = _given(request.body)
        await self._check(given, _DEFAULTS | given)
        made = await self._agents.create(request.workspace_id, NewAgent(**given))
        self._on_change(made)
        return Answer(shown_agent(made))

    async def _get(self, request: Request[None, None]) -> Answer:
        return Answer(shown_agent(await self._agent(request)))

    async def _update(self, request: Request[AgentChanges, None]) -> Answer:
        agent = await self._agent(request)
        changes = _given(request.body)
        if not changes:
            return Answer(shown_agent(agent))
        await self._check(changes, dataclasses.asdict(agent) | changes)
        changed = await request.stored(
            NOUN,
            lambda workspace_id, agent_id: self._agents.update(workspace_id, agent_id, changes),
        )
        self._on_change(changed)
        return Answer(shown_agent(changed))

    async def _delete(self, request: Request[None, None]) -> Answer:
        await request.stored(NOUN, self._agents.delete)
        return Answer({"id": request.path(), "deleted": True})

    async def _turn(self, request: Request[None, None]) -> Answer:
        return await self._turns.take(request, await self._agent(request))

    async def _history(self, request: Request[None, PageQuery]) -> Answer:
        return await self._turns.list(request, await self._agent(request))

    async def _check(self, given: dict[str, Any], whole: dict[str, Any]) -> None:
        """Check the given fields of an agent that will be ``whole``: raises NoSuchModel for a model
        that calls cannot use (one that is known but not live just now is accepted),
        ValidationFailed for a voice, a language or tools that cannot be used."""
        if "tools" in given:
            try:
                given["tools"] = check_tools(given["tools"])
            except InvalidTools as error:
                raise ValidationFailed(str(error), param="tools") from error
            await self._admit_tools(given["tools"])
        names = CallNames(
            model=whole["model"],
            speech_model=whole["tts_model"],
            voice=whole["voice"],
            language=whole["language"] or SessionConfig().language,
        )
        if not whole["language"]:  # whatever the caller speaks
            spoken = self._engines.languages_for(names)
            names = dataclasses.replace(names, language=(*spoken, names.language)[0])
        for fault in self._engines.name_faults(names):
            field = next((f for f in _AT_FAULT.get(fault.field, ()) if f in given), None)
            if field is None or fault.known:
                continue
            if fault.field in ("model", "speech_model"):
                raise NoSuchModel(fault.message, param=_WIRE_NAMES.get(field, field))
            raise ValidationFailed(fault.message, param=_WIRE_NAMES.get(field, field))

    async def _admit_tools(self, tools: list[dict[str, Any]]) -> None:
        """Raise ValidationFailed for a tool with a URL that may not be called."""
        for index, tool in enumerate(tools):
            name = "url" if "url" in tool else "server_url"
            try:
                await self._guard.admit(tool[name])
            except UrlRefused as refusal:
                raise ValidationFailed(
                    str(refusal), param=f"tools[{index}].{name}", reason="url_refused"
                ) from refusal

    async def _agent(self, request: AnyRequest) -> Agent:
        return await request.stored(NOUN, self._agents.get)


def _given(body: AgentCreate | AgentChanges) -> dict[str, Any]:
    """The fields that were given, by the names of NewAgent; an empty text means the default."""
    sent = {name: getattr(body, name) for name in body.__struct_fields__}
    given = {name: value for name, value in sent.items() if value is not UNSET}
    for name in ("model", "tts_model", "voice", "language"):
        if given.get(name) == "":
            given[name] = _DEFAULTS[name]
    if "recording" in given:
        given["recording"] = _stored_recording(given["recording"])
    return given
