"""A call's configuration, from an agent's record, and the engines that it names."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from pipelines.engines.call_names import CallNames
from sessions.core.config import (
    AUTO,
    Eagerness,
    Recording,
    SessionConfig,
    SessionKind,
    TurnDetection,
)
from store.tenants.agents import Agent

from .tools import tools_of

LanguagesFor = Callable[[CallNames], tuple[str, ...]]
"""``Catalogue.languages_for``."""


def session_config(agent: Agent) -> SessionConfig:
    """The configuration of a conversation with ``agent``, before a client changes it."""
    tools, servers = tools_of(agent.tools)
    return SessionConfig(
        model=agent.model,
        instructions=agent.system_prompt,
        agent_name=agent.name,
        voice=agent.voice,
        speech_model=agent.tts_model,
        language=agent.language or SessionConfig().language,
        detects_language=not agent.language,
        tools=tools,
        servers=servers,
        recording=_recording(agent.recording),
        greeting=agent.greeting,
        turn_detection=_turn_detection(agent.turn_taking),
        agent_version=agent.version,
    )


def _turn_detection(wanted: Mapping[str, Any]) -> TurnDetection:
    return TurnDetection(
        eagerness=Eagerness(wanted.get("eagerness") or Eagerness.AUTO),
        interrupt_response=bool(wanted.get("interruptible", True)),
        idle_timeout_ms=wanted.get("idle_ms"),
    )


def _recording(wanted: Mapping[str, Any]) -> Recording | None:
    if not wanted.get("enabled"):
        return None
    return Recording(str(wanted.get("consent") or ""), wanted.get("keep_days"))


def unrecorded(agent: Agent) -> SessionConfig:
    """As ``session_config``, of a conversation that is no call: the caller begins it."""
    return replace(session_config(agent), recording=None, greeting="")


def transferred(config: SessionConfig, agent: Agent) -> SessionConfig:
    """``config`` with another agent in it. What the client chose of formats, turn taking and events
    stays, and so does the recording; its tools go with the agent before."""
    theirs = session_config(agent)
    return replace(
        config,
        model=theirs.model,
        instructions=theirs.instructions,
        agent_name=theirs.agent_name,
        voice=theirs.voice,
        speech_model=theirs.speech_model,
        language=theirs.language if agent.language else config.language,
        detects_language=theirs.detects_language,
        tools=theirs.tools,
        servers=theirs.servers,
        tool_choice=AUTO,
    )


def with_languages(config: SessionConfig, languages_for: LanguagesFor) -> SessionConfig:
    """``config`` with the languages that the caller may speak, where that is left to the caller;
    the call begins in the first of them, or in the one that is spoken already."""
    if not config.detects_language:
        return replace(config, languages=(), unspoken=())
    names = names_of(config)
    languages = languages_for(names)
    heard = languages_for(replace(names, speaks=False)) if names.speaks else languages
    unspoken = tuple(one for one in heard if one not in languages)
    if config.language_hints:
        languages = tuple(one for one in languages if one in config.language_hints)
        unspoken = ()
    begins = config.language if config.language in languages else (*languages, config.language)[0]
    known = config.language_known and begins == config.language
    return replace(
        config, languages=languages, unspoken=unspoken, language=begins, language_known=known
    )


def names_of(config: SessionConfig) -> CallNames:
    """The engines that a configuration names; live captions need only a transcriber."""
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
