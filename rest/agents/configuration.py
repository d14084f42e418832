"""An agent's configuration over REST: its fields, how they are checked, and how they are shown.

Secrets of tools (``headers``, ``authorization``) are never shown. A change of ``tools`` that names
one in ``keepToolSecrets`` leaves it those it has, as long as its URL stays on the same origin: who
may change an agent cannot have its secrets sent elsewhere.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType
from yarl import URL

from pipelines.engines.call_names import CallNames, NameField
from pipelines.engines.catalogue import Catalogue
from pipelines.ssrf import CustomerHttp, UrlRefused
from rest.http.errors import NoSuchModel, ValidationFailed
from rest.http.fields import LanguageTag, ModelId, Name, VoiceId, timestamp
from sessions.core.config import SessionConfig
from sessions.tools import MOST, InvalidTools, check_tools, shown_tools
from store.tenants.agents import Agent, NewAgent
from store.vault import SECRETS

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
DEFAULTS = dataclasses.asdict(_DEFAULT)

MAX_GREETING = 1_000
MAX_NOTE = 300
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


class AgentTurnTaking(Struct, rename="camel", kw_only=True, frozen=True):
    """How the agent takes turns. ``eagerness``: how soon it takes a pause for the caller's end;
    ``interruptible``: it stops speaking where the caller speaks; ``idle_seconds``: after so much
    silence it speaks to the caller; null: it waits."""

    eagerness: Literal["auto", "low", "medium", "high"] = "auto"
    interruptible: bool = True
    idle_seconds: Annotated[int, Meta(ge=1, le=600)] | None = None


AgentToolList = Annotated[
    list[dict[str, Any]],
    Meta(max_length=MOST, description="HTTP tools and MCP servers, as in a session's `tools`"),
]
Prompt = Annotated[str, Meta(max_length=MAX_PROMPT)]
Greeting = Annotated[
    str,
    Meta(max_length=MAX_GREETING, description="what it says first; empty: the caller begins"),
]
Note = Annotated[str, Meta(max_length=MAX_NOTE, description="why, for the list of versions")]


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
    greeting: Greeting | UnsetType = UNSET
    turn_taking: AgentTurnTaking | UnsetType = UNSET
    note: Note = ""


class AgentChanges(Struct, rename="camel", kw_only=True):
    """The contract's AgentCreate, as a change: what is not sent, the name aside, stays.
    ``keep_tool_secrets``: which of ``tools``, by name or label, keep the secrets they have."""

    name: Name
    system_prompt: Prompt | UnsetType = UNSET
    model: ChatModelId | UnsetType = UNSET
    tts_model: ModelId | UnsetType = UNSET
    voice: VoiceId | UnsetType = UNSET
    language: LanguageTag | UnsetType = UNSET
    tools: AgentToolList | UnsetType = UNSET
    recording: AgentRecording | UnsetType = UNSET
    greeting: Greeting | UnsetType = UNSET
    turn_taking: AgentTurnTaking | UnsetType = UNSET
    note: Note = ""
    keep_tool_secrets: Annotated[list[Name], Meta(max_length=MOST)] = []


class AgentConfig(Struct, rename="camel", kw_only=True):
    """What can be set of an agent. ``language`` null: whatever the caller speaks. ``tools`` come
    without their secrets; ``tool_secrets``: which headers each has, by its name or label."""

    name: str
    model: str
    tts_model: str
    voice: str
    system_prompt: str
    language: str | None
    tools: list[dict[str, Any]]
    tool_secrets: dict[str, list[str]]
    recording: AgentRecording
    greeting: str
    turn_taking: AgentTurnTaking


class AgentView(AgentConfig, rename="camel", kw_only=True):
    """The contract's Agent, and more. ``version``: the number of its newest version."""

    id: str
    is_default: bool
    version: int
    created_at: str
    updated_at: str


def shown_agent(agent: Agent) -> AgentView:
    """The agent as it is shown."""
    return AgentView(
        id=agent.id,
        is_default=agent.is_default,
        version=agent.version,
        created_at=timestamp(agent.created_at),
        updated_at=timestamp(agent.updated_at),
        **_shown_fields(agent),
    )


def shown_config(agent: NewAgent) -> AgentConfig:
    """What was set of an agent, as it is shown."""
    return AgentConfig(**_shown_fields(agent))


def _shown_fields(agent: Agent | NewAgent) -> dict[str, Any]:
    return {
        "name": agent.name,
        "model": agent.model,
        "tts_model": agent.tts_model,
        "voice": agent.voice,
        "system_prompt": agent.system_prompt,
        "language": agent.language,
        "tools": shown_tools(agent.tools),
        "tool_secrets": _shown_secrets(agent.tools),
        "recording": _shown_recording(agent.recording),
        "greeting": agent.greeting,
        "turn_taking": _shown_turn_taking(agent.turn_taking),
    }


def _shown_secrets(tools: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for tool in tools:
        headers = set(tool.get("headers") or ())
        if tool.get("authorization"):
            headers.add("Authorization")
        if headers:
            names[tool_name(tool)] = sorted(headers)
    return names


def tool_name(tool: Mapping[str, Any]) -> str:
    """The name of an HTTP tool, the label of an MCP server."""
    return str(tool.get("name") or tool.get("server_label") or "")


def _url_field(tool: Mapping[str, Any]) -> str:
    return "url" if "url" in tool else "server_url"


def _shown_turn_taking(stored: Mapping[str, Any]) -> AgentTurnTaking:
    idle_ms = stored.get("idle_ms")
    return AgentTurnTaking(
        eagerness=stored.get("eagerness") or "auto",
        interruptible=stored.get("interruptible", True),
        idle_seconds=None if idle_ms is None else idle_ms // 1000,
    )


def _stored_turn_taking(wanted: AgentTurnTaking) -> dict[str, Any]:
    if wanted == AgentTurnTaking():
        return {}
    idle = wanted.idle_seconds
    return {
        "eagerness": wanted.eagerness,
        "interruptible": wanted.interruptible,
        "idle_ms": None if idle is None else idle * 1000,
    }


def _shown_recording(stored: Mapping[str, Any]) -> AgentRecording:
    return AgentRecording(
        enabled=bool(stored.get("enabled")),
        consent=stored.get("consent") or "",
        retention_days=stored.get("keep_days"),
    )


def _stored_recording(wanted: AgentRecording) -> dict[str, Any]:
    if wanted == AgentRecording():
        return {}
    return {
        "enabled": wanted.enabled,
        "consent": wanted.consent.strip(),
        "keep_days": wanted.retention_days,
    }


class AgentChecks:
    """Checks an agent's configuration. ``guard`` decides which URLs tools may have."""

    def __init__(self, engines: Catalogue, guard: CustomerHttp) -> None:
        self._engines = engines
        self._guard = guard

    async def check(self, given: dict[str, Any], whole: dict[str, Any]) -> None:
        """Check the given fields of an agent that will be ``whole``: raises NoSuchModel for a model
        that calls cannot use (one that is known but not live just now is accepted),
        ValidationFailed for a voice, a language or tools that cannot be used."""
        if "tools" in given:
            try:
                given["tools"] = check_tools(given["tools"])
            except InvalidTools as error:
                raise ValidationFailed(str(error), param="tools") from error
            await self._admit(given["tools"])
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

    async def _admit(self, tools: list[dict[str, Any]]) -> None:
        """Raise ValidationFailed for a tool with a URL that may not be called."""
        for index, tool in enumerate(tools):
            name = _url_field(tool)
            try:
                await self._guard.admit(tool[name])
            except UrlRefused as refusal:
                raise ValidationFailed(
                    str(refusal), param=f"tools[{index}].{name}", reason="url_refused"
                ) from refusal


def given_fields(body: AgentCreate | AgentChanges) -> dict[str, Any]:
    """The fields that were given, by the names of NewAgent; an empty text means the default."""
    sent = {name: getattr(body, name) for name in body.__struct_fields__}
    given = {name: value for name, value in sent.items() if value is not UNSET}
    for name in ("note", "keep_tool_secrets"):
        given.pop(name, None)
    for name in ("model", "tts_model", "voice", "language"):
        if given.get(name) == "":
            given[name] = DEFAULTS[name]
    if "recording" in given:
        given["recording"] = _stored_recording(given["recording"])
    if "turn_taking" in given:
        given["turn_taking"] = _stored_turn_taking(given["turn_taking"])
    if "greeting" in given:
        given["greeting"] = given["greeting"].strip()
    return given


def with_kept_secrets(
    tools: Sequence[Mapping[str, Any]], kept: Sequence[str], agent: Agent
) -> list[dict[str, Any]]:
    """``tools`` with the secrets that the agent's tools of the names ``kept`` have; raises
    ValidationFailed where one has none, or another origin."""
    before = {tool_name(tool): tool for tool in agent.tools}
    wanted = {tool_name(tool): dict(tool) for tool in tools}
    for index, name in enumerate(kept):
        old, new = before.get(name), wanted.get(name)
        param = f"keepToolSecrets[{index}]"
        if old is None or new is None:
            raise ValidationFailed(
                f"{param} does not name a tool that the agent has and keeps.", param=param
            )
        if _origin(new) != _origin(old):
            raise ValidationFailed(
                f"The tool {name} keeps its headers only for {_origin(old)}: enter them again.",
                param=param,
                reason="other_origin",
            )
        for secret in SECRETS:
            new.pop(secret, None)
        new |= {secret: old[secret] for secret in SECRETS if secret in old}
    return [wanted[tool_name(tool)] for tool in tools]


def _origin(tool: Mapping[str, Any]) -> str:
    try:
        return str(URL(str(tool.get(_url_field(tool)))).origin())
    except ValueError:
        return ""
