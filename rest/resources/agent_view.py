"""Agents and their turns as they are sent and shown."""

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

from rest.http.fields import LanguageTag, ModelId, Name, VoiceId
from rest.jobs.view import timestamp
from sessions.agent_tools import MOST, shown_tools
from store.tenants.agents import Agent, NewAgent
from store.tenants.turns import Turn

MAX_PROMPT = 20_000
"""Characters of a system prompt."""

_DEFAULT = NewAgent(name="")

ChatModelId = Annotated[ModelId, Meta(description="chat/LLM model")]
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


class AgentChanges(Struct, rename="camel", kw_only=True):
    """The contract's AgentCreate, as a change: what is not sent, the name aside, stays."""

    name: Name
    system_prompt: Prompt | UnsetType = UNSET
    model: ChatModelId | UnsetType = UNSET
    tts_model: ModelId | UnsetType = UNSET
    voice: VoiceId | UnsetType = UNSET
    language: LanguageTag | UnsetType = UNSET
    tools: AgentToolList | UnsetType = UNSET


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


class AgentTurnResult(Struct, rename="camel", kw_only=True):
    """The contract's AgentTurnResult, and the conversation to go on with. ``duration_ms``: of the
    reply's audio, which is missing where there was nothing in it to say aloud."""

    turn_id: str
    conversation_id: str
    user_transcript: str
    assistant_text: str
    assistant_audio_url: str | UnsetType = UNSET
    duration_ms: int


class Latencies(Struct, rename="camel"):
    """Where the caller's waiting time went, in ms; null where a stage did not happen."""

    endpointing_ms: int | None
    stt_ms: int | None
    llm_ms: int | None
    tts_ms: int | None
    gateway_ms: int | None
    total_ms: int | None


class TurnView(Struct, rename="camel", kw_only=True):
    """A turn of a conversation, which is a live call or a series of recordings.

    ``heard_text``: how much of ``assistant_text`` the caller heard."""

    id: str
    turn_id: str
    conversation_id: str
    call_id: str
    number: int
    user_transcript: str
    assistant_text: str
    heard_text: str
    interrupted: bool
    status: str
    latencies: Latencies
    assistant_audio_url: str | None
    created_at: str


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
    )


def shown_turn(turn: Turn, audio_url: str | None) -> TurnView:
    """The turn as it is shown; ``audio_url``: the signed address of its audio."""
    return TurnView(
        id=turn.id,
        turn_id=turn.id,
        conversation_id=turn.call_id,
        call_id=turn.call_id,
        number=turn.number,
        user_transcript=turn.user_text,
        assistant_text=turn.reply_text,
        heard_text=turn.heard_text,
        interrupted=turn.interrupted,
        status=turn.status,
        latencies=Latencies(
            endpointing_ms=turn.endpointing_ms,
            stt_ms=turn.stt_ms,
            llm_ms=turn.llm_ms,
            tts_ms=turn.tts_ms,
            gateway_ms=turn.gateway_ms,
            total_ms=turn.total_ms,
        ),
        assistant_audio_url=audio_url,
        created_at=timestamp(turn.created_at),
    )
