"""How an agent's record becomes the configuration of a conversation with it."""

from sessions.core.config import SessionConfig
from store.tenants.agents import Agent

from .agent_tools import tools_of


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
