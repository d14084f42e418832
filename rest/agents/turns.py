"""Turns with an agent: one from a recording, and the history of all.

A recording goes through the same core as a live call. The order: agent and conversation (404), then
the conversation must be free (409), then a slot (503); only then is anything decoded. A turn that
fails, or whose client leaves, stores nothing and releases its slot.
"""

import asyncio
import contextlib
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
from msgspec import UNSET, Struct, UnsetType

from media.formats import SAMPLE_BYTES, milliseconds_of
from pipelines.engines.base import ModelUnavailable
from pipelines.engines.catalogue import Catalogue
from pipelines.jobs.artifacts import Artifacts
from pipelines.speech.job import CONTENT_TYPES
from rest.accounts.callers import CallerIds
from rest.http.errors import (
    AgentNotUsable,
    ApiError,
    Internal,
    NoSuchModel,
    ProviderFailed,
    Unavailable,
)
from rest.http.fields import timestamp
from rest.http.operation import Answer, AnyRequest, Request
from rest.http.pagination import Cursors, PageQuery
from rest.http.waiting import slot, unless_gone
from rest.jobs.kinds import JobViews
from rest.jobs.recordings import FORMAT, encode_reply, no_speech, read_speech
from sessions.agent_config import names_of, unrecorded, with_languages
from sessions.core.config import AUTO, SessionConfig
from sessions.core.items import ReplyStatus
from sessions.host import CallRequest, SessionHost
from sessions.live import INTERNAL_ERROR, SERVER_SHUTDOWN
from sessions.persistence import stored_turn
from sessions.recorded_channel import OUTPUT_RATE, RECORDED, RecordedChannel, RecordedTurn
from store.database import Database
from store.ids import new_id
from store.tenants.agents import Agent
from store.tenants.calls import NEWEST, NewTurn, Turn, Turns

from .conversations import Conversation, Conversations

TURN_SECONDS = 120.0
"""From the upload to the answer."""
_TAG = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{1,8})*")


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

    ``heard_text``: how much of ``assistant_text`` the caller heard. ``agent_version``: the one with
    which its call began, or of the recording; null: it was before there were versions."""

    id: str
    turn_id: str
    conversation_id: str
    call_id: str
    number: int
    agent_version: int | None
    user_transcript: str
    assistant_text: str
    heard_text: str
    interrupted: bool
    status: str
    latencies: Latencies
    assistant_audio_url: str | None
    created_at: str


def shown_turn(turn: Turn, audio_url: str | None) -> TurnView:
    """The turn as it is shown; ``audio_url``: the signed URL of its audio."""
    return TurnView(
        id=turn.id,
        turn_id=turn.id,
        conversation_id=turn.call_id,
        call_id=turn.call_id,
        number=turn.number,
        agent_version=turn.agent_version,
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


class AgentTurns:
    """Answers the two operations on an agent's turns, once the agent is known. ``waiting_for``: why
    no call can be answered yet, None when one can."""

    def __init__(
        self,
        *,
        database: Database,
        conversations: Conversations,
        host: SessionHost,
        engines: Catalogue,
        artifacts: Artifacts,
        views: JobViews,
        cursors: Cursors,
        callers: CallerIds,
        waiting_for: Callable[[], str | None] = lambda: None,
        seconds: float = TURN_SECONDS,
    ) -> None:
        self._turns = Turns(database)
        self._conversations = conversations
        self._host = host
        self._engines = engines
        self._artifacts = artifacts
        self._views = views
        self._cursors = cursors
        self._callers = callers
        self._waiting_for = waiting_for
        self._seconds = seconds

    async def list(self, request: Request[None, PageQuery], agent: Agent) -> Answer:
        """The newest turns first, those of live calls among them."""
        views = self._views

        def shown(turn: Turn) -> TurnView:
            return shown_turn(turn, views.url(request, turn.audio_key) if turn.audio_key else None)

        return await self._cursors.page(
            request.query,
            lambda before, limit: self._turns.list_of_agent(
                request.workspace_id, agent.id, limit=limit, before=before or NEWEST
            ),
            shown,
        )

    async def take(self, request: AnyRequest, agent: Agent) -> Answer:
        """One turn from a recording."""
        return await unless_gone(request.http, self._take(request, agent))

    async def _take(self, request: AnyRequest, agent: Agent) -> Answer:
        upload = request.file
        config = self._config(agent, upload.model, upload.language)
        asked = upload.conversation_id
        caller = self._callers.of_request(request.workspace_id, request.http)
        conversations = self._conversations
        try:
            async with (
                conversations.turn(request.workspace_id, agent.id, asked) as conversation,
                asyncio.timeout(self._seconds),
            ):
                config = _as_found(config, conversation.language)
                turn, pcm, found = await self._hold(
                    request.workspace_id, agent.id, config, upload.path, conversation
                )
                config = _as_found(config, found)
                conversation = replace(conversation, caller=caller)
                return await self._keep(request, agent.id, config, conversation, turn, pcm)
        except TimeoutError as error:
            raise Unavailable(
                f"The turn did not finish within {self._seconds:g} s and was given up.",
                openai_code="timeout",
                reason="timeout",
                retry_after=5,
            ) from error

    # ------------------------------------------------------------------ before the turn

    def _config(self, agent: Agent, model: str | None, language: str | None) -> SessionConfig:
        """The agent's configuration with what the request sets for this turn; raises
        NoSuchModel."""
        if (waiting := self._waiting_for()) is not None:
            raise Unavailable(waiting, openai_code="warming_up", retry_after=2)
        config = replace(unrecorded(agent), turn_detection=RECORDED, tools=(), servers=())
        config = replace(config, model=model or config.model)
        if language:
            auto = language.lower() == AUTO
            config = replace(
                config, language=config.language if auto else language, detects_language=auto
            )
        config = with_languages(config, self._engines.languages_for)
        if _TAG.fullmatch(config.language) is None:
            raise NoSuchModel(
                "This is not a language: send a tag such as 'en', or 'auto'.", param="language"
            )
        given = {"model": model, "language": language}
        for fault in self._engines.name_faults(names_of(config)):
            field = fault.field if fault.field == "model" else "language"
            if given[field]:
                raise NoSuchModel(fault.message, param=field)
            raise AgentNotUsable(
                f"The agent cannot answer as it is set up. {fault.message} Change it: PATCH "
                f"/api/agents/{agent.id}.",
                param=fault.field,
            )
        return config

    # ------------------------------------------------------------------ the turn

    async def _hold(
        self,
        workspace_id: str,
        agent_id: str,
        config: SessionConfig,
        recording: Path,
        conversation: Conversation,
    ) -> tuple[NewTurn, bytearray, str | None]:
        """The turn, the reply's audio, and the language that the caller turned out to speak."""
        with slot(self._host, workspace_id):
            try:
                model = self._engines.vad_model
            except ModelUnavailable as error:
                raise Unavailable(str(error), retry_after=5) from error
            speech = await asyncio.to_thread(read_speech, recording, model)
            recorded = RecordedTurn()
            channel = RecordedChannel(speech, conversation.history, recorded)
            call = CallRequest(
                call_id=new_id("call"),
                workspace_id=workspace_id,
                agent_id=agent_id,
                config=config,
            )
            reason = await self._host.run(call, channel, recorded, recorded)
        turn = _outcome(recorded, reason, conversation.next_number)
        return turn, channel.reply, recorded.language

    async def _keep(
        self,
        request: AnyRequest,
        agent_id: str,
        config: SessionConfig,
        conversation: Conversation,
        turn: NewTurn,
        pcm: bytearray,
    ) -> Answer:
        workspace_id, artifacts = request.workspace_id, self._artifacts
        duration = milliseconds_of(len(pcm) // SAMPLE_BYTES, OUTPUT_RATE)
        result = AgentTurnResult(
            turn_id=turn.id,
            conversation_id=conversation.id,
            user_transcript=turn.user_text,
            assistant_text=turn.reply_text,
            assistant_audio_url=UNSET,
            duration_ms=duration,
        )
        async with contextlib.AsyncExitStack() as undo:
            if pcm:
                audio = await asyncio.to_thread(encode_reply, pcm)
                key = await artifacts.take_in(
                    workspace_id,
                    "turn",
                    audio,
                    content_type=CONTENT_TYPES[FORMAT],
                    filename=f"{turn.id}.{FORMAT}",
                    duration_ms=duration,
                )
                undo.push_async_callback(artifacts.delete, workspace_id, key)
                turn = replace(turn, audio_key=key)
                result.assistant_audio_url = self._views.url(request, key)
            turn = replace(turn, agent_version=config.agent_version)
            configured = msgspec.to_builtins(config)
            await self._conversations.store(workspace_id, agent_id, conversation, turn, configured)
            undo.pop_all()
        return Answer(result, call_id=conversation.id)


def _as_found(config: SessionConfig, language: str | None) -> SessionConfig:
    """The configuration with the caller's language, where it was found out and may be spoken."""
    if language is None or not config.detects_language or language not in config.languages:
        return config
    return replace(config, language=language, language_known=True)


def _outcome(recorded: RecordedTurn, reason: str, number: int) -> NewTurn:
    """The turn as it is stored; raises ApiError where there was no reply."""
    fault, record = recorded.fault, recorded.reply
    if reason == SERVER_SHUTDOWN:
        raise Unavailable("The server is shutting down. Please try again.", retry_after=5)
    if reason == INTERNAL_ERROR:
        raise Internal("Something went wrong on the server; its log has the details.")
    if fault is not None:
        raise _refusal(fault.code, fault.message)
    if not any(letter.isalnum() for letter in recorded.user_text):
        raise no_speech()
    if record is None or record.status in (ReplyStatus.CANCELLED, ReplyStatus.FAILED):
        raise ProviderFailed("The agent gave no reply. Please try again.")
    if not record.reply_text.strip():
        raise ProviderFailed("The chat model had nothing to say. Please try again.")
    return replace(stored_turn(record), number=number, user_text=recorded.user_text)


def _refusal(code: str, message: str) -> ApiError:
    if code == ModelUnavailable.code:
        return NoSuchModel(message, param="model")
    return ProviderFailed(message)
