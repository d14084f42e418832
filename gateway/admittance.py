"""What stands before a call: who asks, from which page, for which agent, with which session.

Rules: a key is needed; a long-lived key from a foreign web page is refused (it should never have
been there); an agent of another workspace is as absent as one that never was; the session that an
ephemeral key brings was validated when the key was minted.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, Protocol

from aiohttp import hdrs, web

from rest.auth import Authenticator, Principal, bearer_token
from rest.errors import Forbidden, NotFound, ValidationFailed
from sessions.agent_config import session_config
from sessions.core.config import SessionConfig, SessionKind
from store.tenants.agents import Agent

from .channels.subprotocols import Offer, UnknownSubprotocol, read_offer
from .channels.wire.fields import Fields
from .channels.wire.session_object import merge_session
from .origins import is_allowed_origin

CALL_SCOPES = frozenset({"agents:read", "agents:write", "*"})
"""An API key needs one of them to make calls."""
_MAX_QUERY_CHARS = 256


class AgentDirectory(Protocol):
    """What is needed of store.tenants.agents."""

    async def get(self, workspace_id: str, agent_id: str) -> Agent | None: ...

    async def ensure_default_agent(self, workspace_id: str) -> Agent: ...


@dataclass(frozen=True, slots=True)
class Admitted:
    """A caller who may have a call, and the call as it was asked for."""

    principal: Principal
    agent_id: str | None
    config: SessionConfig
    offer: Offer = Offer()


class Admittance:
    """Lets callers in."""

    def __init__(
        self,
        authenticator: Authenticator,
        agents: AgentDirectory,
        allowed_origins: Collection[str] = (),
    ) -> None:
        self._authenticator = authenticator
        self._agents = agents
        self._allowed_origins = frozenset(allowed_origins)

    async def principal(self, request: web.Request, key: str | None = None) -> Principal:
        """Who asks: by Authorization, else by ``key``; raises Unauthenticated or Forbidden."""
        token = bearer_token(request.headers.get(hdrs.AUTHORIZATION)) or key
        principal = await self._authenticator.authenticate(token)
        if principal.kind == "api_key":
            if not CALL_SCOPES.intersection(principal.scopes):
                raise Forbidden(
                    "The API key may not make calls: make one with the scope 'agents:write'.",
                    openai_code="insufficient_permissions",
                )
            if not is_allowed_origin(request, self._allowed_origins):
                raise Forbidden(
                    "An API key must not be used in a web page: use an ephemeral key "
                    "(POST /v1/realtime/client_secrets), or name the page's origin in "
                    "BLAB_ALLOWED_ORIGINS.",
                    openai_code="foreign_origin",
                )
        return principal

    async def asker(self, request: web.Request) -> tuple[Principal, Offer]:
        """Who asks for a WebSocket, and what it offers; raises ApiError."""
        try:
            offer = read_offer(
                request.headers.get(hdrs.SEC_WEBSOCKET_PROTOCOL), request.headers.get("OpenAI-Beta")
            )
        except UnknownSubprotocol as error:
            raise ValidationFailed(str(error), openai_code="unknown_subprotocol") from error
        return await self.principal(request, offer.key), offer

    async def caller(self, request: web.Request, session: dict[str, Any] | None = None) -> Admitted:
        """Everything that a call needs to know before it begins; raises ApiError or ClientFault.

        ``session``: session JSON that came with the request, merged last."""
        principal, offer = await self.asker(request)
        agent_id = _query(request, "agent_id") or principal.agent_id
        if principal.agent_id is not None and agent_id != principal.agent_id:
            raise no_such_agent()
        agent, config = await self.configuration(principal.workspace_id, agent_id)
        if model := _query(request, "model"):
            config = replace(config, model=model)
        if _query(request, "intent") == SessionKind.TRANSCRIPTION:
            config = replace(config, kind=SessionKind.TRANSCRIPTION)
        for changes in (principal.session, session):
            if changes is not None:
                config = merge_session(Fields(changes, "session", None), config)
        return Admitted(principal, agent.id, config, offer)

    async def configuration(
        self, workspace_id: str, agent_id: str | None
    ) -> tuple[Agent, SessionConfig]:
        """The agent that answers (the workspace's default one where none is named)."""
        if agent_id is None:
            agent = await self._agents.ensure_default_agent(workspace_id)
        else:
            found = await self._agents.get(workspace_id, agent_id)
            if found is None:
                raise no_such_agent()
            agent = found
        return agent, session_config(agent)


def _query(request: web.Request, name: str) -> str | None:
    value = request.query.get(name)
    if value is not None and (len(value) > _MAX_QUERY_CHARS or not value.isprintable()):
        raise ValidationFailed(
            f"'{name}' must be at most {_MAX_QUERY_CHARS} printable characters.", param=name
        )
    return value or None


def no_such_agent() -> NotFound:
    """The refusal of an agent that is not the caller's, whether there is one or not."""
    return NotFound(
        "There is no such agent in this workspace.", openai_code="agent_not_found", param="agent_id"
    )
