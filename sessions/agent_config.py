"""Configurations of calls: from an agent's record, and the names that one gives."""

from pipelines.engines.call_names import CallNames
from sessions.core.config import SessionConfig, SessionKind
from store.tenants.agents import Agent

from .tools import tools_of


def session_config(agent: Agent) -> SessionConfig:
    """What a conversation with ``agent`` is, before anybody changes it."""
    tools, servers = tools_of(agent.tools)
    return SessionConfig(
        model=agent.model,
        instructions=agent.system_prompt,
        agent_name=agent.name,
        voice=agent.voice,
        speech_model=agent.tts_model,
        language=agent.language or SessionConfig().language,
        tools=tools,
        servers=servers,
    )


def names_of(config: SessionConfig) -> CallNames:
    """The names that a configuration gives; live captions are neither answered nor spoken."""
    if config.kind is SessionKind.TRANSCRIPTION:
        return CallNames(
            transcription_model=config.transcription_model, language=config.language, speaks=False
        )
    return CallNames(
        model=config.model,
        transcription_model=config.transcription_model,
        speech_model=config.speech_model,
        voice=config.voice,
        language=config.language,
    )
