"""What precedes a call: who wants it, from which page, with which agent and which session.

Rules
- A key is required. A live call costs money, so an API key needs a scope of ``CALL_SCOPES``;
  ``agents:read`` may only observe. A long-lived key from a foreign web page is refused (it should
  never have been there).
- A WebSocket client offers its wire format in ``Sec-WebSocket-Protocol``: ``realtime`` is JSON with
  base64 audio, ``blab.binary.v1`` the same with raw binary audio frames.
  ``openai-insecure-api-key.<key>`` carries the key of a client that cannot set headers, as in
  browsers, and is never echoed; nor is ``blab-resume.<handle>``, which resumes a call.
  ``openai-beta.realtime-v1`` selects the beta's names of events;
  other ``openai-*`` names (``openai-agents-sdk.<version>``, organisation, project) are ignored.
- An agent of another workspace does not exist for the caller.
- Models, voice and language must be served here; otherwise the call is refused before it begins,
  with the place where the wrong name was given. The agent's own are checked too: the engine that
  served them may be gone.
- A locked ephemeral key's session is what it was when the key was minted. An id of OpenAI's
  realtime models in ``?model=`` is not a change: stock clients cannot leave it out.
- A key for a visitor of an embed's page is accepted from the pages that the embed names now, while
  the embed is switched on. A browser sets ``Origin`` itself and no page can forge it; a program
  can, so the embed's limits bound what a program may use.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from aiohttp import hdrs, web

from gateway.channels.wire.checks import UNCHECKED, SessionChecks, place_at_fault
from gateway.channels.wire.fields import Fields
from gateway.channels.wire.session_object import merge_session
from gateway.http.requests import is_allowed_origin
from pipelines.engines import call_names
from pipelines.engines.call_names import NameFault
from rest.accounts.auth import Authenticator, Principal, bearer_token, granted
from rest.accounts.callers import CallerIds
from rest.accounts.keys import Grant
from rest.accounts.origins import covers, origin_of
from rest.http.errors import (
    AgentNotUsable,
    Forbidden,
    NotFound,
    Unauthenticated,
    ValidationFailed,
)
from sessions.agent_config import session_config
from sessions.channel import ClientFault
from sessions.core.config import SessionConfig, SessionKind
from store.tenants.agents import Agent, Agents
from store.tenants.embeds import Embeds

# ---------------------------------------------------------------------- subprotocols


REALTIME = "realtime"
BINARY = "blab.binary.v1"
_KEY = "openai-insecure-api-key."
_RESUME = "blab-resume."
_BETA = "openai-beta.realtime-v1"


class UnknownSubprotocol(ValueError):
    """Subprotocols were offered and none of them is spoken here."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What was offered. ``chosen``: to be echoed, None where nothing was offered."""

    chosen: str | None = None
    key: str | None = field(default=None, repr=False)
    beta: bool = False
    """It knows events by the beta's names (``openai-beta.realtime-v1``, or the header
    ``OpenAI-Beta: realtime=v1``)."""
    resume: str | None = field(default=None, repr=False)
    """The handle of the call to resume."""

    @property
    def binary(self) -> bool:
        """Whether audio goes as binary frames."""
        return self.chosen == BINARY


def read_offer(header: str | None, beta: str | None = None) -> Offer:
    """The offer in the header's value, and in that of OpenAI-Beta; raises UnknownSubprotocol."""
    names = [name.strip() for name in (header or "").split(",") if name.strip()]
    old = _BETA in names or "realtime=v1" in [name.strip() for name in (beta or "").split(",")]
    if not names:
        return Offer(beta=old)
    key = next((name.removeprefix(_KEY) for name in names if name.startswith(_KEY)), None)
    resume = next((name.removeprefix(_RESUME) for name in names if name.startswith(_RESUME)), None)
    for protocol in (BINARY, REALTIME):
        if protocol in names:
            return Offer(protocol, key, old, resume)
    raise UnknownSubprotocol(
        f"None of the subprotocols offered is spoken here: offer '{REALTIME}' or '{BINARY}'."
    )


# ---------------------------------------------------------------------- the call


CALL_SCOPES = frozenset({"agents:write", "*"})
"""An API key needs one of these to make calls."""
OBSERVER_SCOPES = CALL_SCOPES | {"agents:read"}
"""An API key needs one of these to observe calls."""
_MAX_QUERY_CHARS = 256


@dataclass(frozen=True, slots=True)
class AuthorizedCall:
    """A call that its caller may have, as it was requested. ``caller``: as in CallRequest."""

    principal: Principal
    agent_id: str | None
    config: SessionConfig
    offer: Offer = Offer()
    caller: bytes | None = None


class Authorization:
    """Decides who may have which call."""

    def __init__(
        self,
        authenticator: Authenticator,
        agents: Agents,
        embeds: Embeds,
        allowed_origins: Collection[str] = (),
        checks: SessionChecks = UNCHECKED,
        *,
        callers: CallerIds,
    ) -> None:
        self._authenticator = authenticator
        self._agents = agents
        self._embeds = embeds
        self._allowed_origins = frozenset(allowed_origins)
        self._checks = checks
        self.callers = callers

    async def principal(
        self,
        request: web.Request,
        key: str | None = None,
        scopes: Collection[str] = CALL_SCOPES,
    ) -> Principal:
        """Who asks, by Authorization or else by ``key``; raises Unauthenticated or Forbidden."""
        token = bearer_token(request.headers.get(hdrs.AUTHORIZATION)) or key
        return await self.principal_of(request, token, scopes)

    async def principal_of(
        self,
        request: web.Request,
        token: str | None,
        scopes: Collection[str] = CALL_SCOPES,
    ) -> Principal:
        """Who asks by ``token``; raises Unauthenticated or Forbidden."""
        principal = await self._authenticator.authenticate(token)
        if principal.kind == "api_key":
            if not set(scopes).intersection(principal.scopes):
                raise Forbidden(
                    "The API key may not make calls: create one with the scope 'agents:write'.",
                    openai_code="insufficient_permissions",
                )
            if not is_allowed_origin(request, self._allowed_origins):
                raise Forbidden(
                    "An API key must not be used in a web page: use an ephemeral key "
                    "(POST /v1/realtime/client_secrets), or name the page's origin in "
                    "BLAB_ALLOWED_ORIGINS.",
                    openai_code="foreign_origin",
                )
        if principal.embed is not None:
            await self._check_page(request, principal.workspace_id, principal.embed.embed_id)
        return principal

    async def _check_page(self, request: web.Request, workspace_id: str, embed_id: str) -> None:
        """Raise Unauthenticated or Forbidden unless the page may use the embed."""
        embed = await self._embeds.get(workspace_id, embed_id)
        if embed is None or not embed.enabled:
            raise Unauthenticated(
                "The ephemeral key's embed was switched off or deleted.",
                openai_code="invalid_api_key",
            )
        origin = origin_of(request)
        if origin is None or not covers(embed.origins, origin):
            raise Forbidden(
                "The ephemeral key may be used in the web pages of its embed only.",
                openai_code="foreign_origin",
            )

    async def spend(self, token: str) -> Principal | None:
        """Who asks by an ephemeral key, which is worth nothing afterwards; None where it is worth
        nothing already, or is for web pages. Raises StoreUnavailable."""
        principal = await self._authenticator.spend(token)
        return None if principal is None or principal.embed is not None else principal

    async def websocket_principal(
        self, request: web.Request, scopes: Collection[str] = CALL_SCOPES
    ) -> tuple[Principal, Offer]:
        """Who asks for a WebSocket, and what its handshake offers; raises ApiError."""
        try:
            offer = read_offer(
                request.headers.get(hdrs.SEC_WEBSOCKET_PROTOCOL), request.headers.get("OpenAI-Beta")
            )
        except UnknownSubprotocol as error:
            raise ValidationFailed(str(error), openai_code="unknown_subprotocol") from error
        return await self.principal(request, offer.key, scopes), offer

    async def authorize(
        self, request: web.Request, session: dict[str, Any] | None = None
    ) -> AuthorizedCall:
        """The call that a request asks for; raises ApiError or ClientFault.

        ``session``: session JSON that came with the request, merged last."""
        principal, offer = await self.websocket_principal(request)
        agent_id = _query(request, "agent_id") or principal.agent_id
        if principal.agent_id is not None and agent_id != principal.agent_id:
            raise no_such_agent()
        agent = await self.agent(principal.workspace_id, agent_id, principal.agent_version)
        asked = {name: _query(request, name) for name in ("model", "intent")}
        given = None if session is None else Fields(session, "session", None)
        config = self.configure(principal, agent, asked, given)
        caller = self.caller(principal, request)
        return AuthorizedCall(principal, agent.id, config, offer, caller)

    def caller(self, principal: Principal, request: web.Request) -> bytes | None:
        """The digest of who calls, as the key says, or else the request; raises
        ValidationFailed."""
        if principal.caller is not None:
            return principal.caller
        return self.callers.of_request(principal.workspace_id, request)

    def checks(self, principal: Principal) -> SessionChecks:
        """What the messages of a caller's session are checked against."""
        free = principal.embed.free if principal.embed is not None else ()
        return replace(self._checks, locked=principal.locked, free=free)

    async def check_grant(self, grant: Grant) -> None:
        """Raise the ApiError or ClientFault with which a call by that grant would be refused for
        its configuration."""
        agent = await self.agent(grant.workspace_id, grant.agent_id, grant.agent_version)
        self.configure(granted(grant, ""), agent)

    async def agent(
        self, workspace_id: str, agent_id: str | None, version: int | None = None
    ) -> Agent:
        """The agent that answers, as it is or in a ``version``; the workspace's default one if none
        is named."""
        if agent_id is None:
            return await self._agents.ensure_default_agent(workspace_id)
        if version is None:
            found = await self._agents.get(workspace_id, agent_id)
        else:
            found = await self._agents.as_of(workspace_id, agent_id, version)
        if found is None:
            raise no_such_agent()
        return found

    def configure(
        self,
        principal: Principal,
        agent: Agent,
        query: Mapping[str, str | None] | None = None,
        given: Fields | None = None,
    ) -> SessionConfig:
        """The configuration of a call: the agent's, then what the address asks for (``model``,
        ``intent``), then the key's session, then ``given``; later ones win.

        Raises ApiError or ClientFault."""
        model, intent = ((query or {}).get(name) for name in ("model", "intent"))
        config = session_config(agent)
        if principal.embed is not None:
            config = replace(config, max_call_ms=principal.embed.seconds * 1000)
        if not principal.locked:
            config = _as_asked(config, model, intent)
        sources = []
        if principal.session is not None:
            sources.append(Fields(principal.session, "session", None))
            config = merge_session(sources[0], config)
        if principal.locked:
            _refuse_other(config, model, intent)
        if given is not None:
            before, config = config, merge_session(given, config)
            self.checks(principal).session(given, before, config)
            sources.append(given)
        for fault in self._checks.faults_of(config):
            raise _where_given(fault, sources, model, agent)
        return config


def _as_asked(config: SessionConfig, model: str | None, intent: str | None) -> SessionConfig:
    if model:
        config = replace(config, model=model)
    if intent == SessionKind.TRANSCRIPTION:
        config = replace(config, kind=SessionKind.TRANSCRIPTION)
    return config


def _refuse_other(config: SessionConfig, model: str | None, intent: str | None) -> None:
    """Refuse an address that asks a locked key for anything but its own session."""
    asked = _as_asked(
        config, model if model and not call_names.REALTIME.fullmatch(model) else None, intent
    )
    for param in ("model", "kind"):
        if getattr(asked, param) != getattr(config, param):
            raise ClientFault(
                "session_locked",
                "The ephemeral key was made with 'locked': its session cannot be changed.",
                param="model" if param == "model" else "intent",
            )


def _where_given(
    fault: NameFault, sources: list[Fields], model: str | None, agent: Agent
) -> Exception:
    """The error for a name that is not served, at the place where it was given."""
    for given in reversed(sources):
        if (place := place_at_fault(given, fault)) is not None:
            return given.fault("invalid_value", fault.message, place)
    if fault.field == "model" and model:
        return ClientFault("invalid_value", fault.message, param="model")
    return AgentNotUsable(
        f"The agent {agent.id} cannot take calls as it is set up. {fault.message} Change it: PATCH "
        f"/api/agents/{agent.id}.",
        param=fault.field,
    )


def _query(request: web.Request, name: str) -> str | None:
    value = request.query.get(name)
    if value is not None and (len(value) > _MAX_QUERY_CHARS or not value.isprintable()):
        raise ValidationFailed(
            f"'{name}' must be at most {_MAX_QUERY_CHARS} printable characters.", param=name
        )
    return value or None


def no_such_agent() -> NotFound:
    """The error for an agent that is not the caller's, whether it exists or not."""
    return NotFound(
        "There is no such agent in this workspace.", openai_code="agent_not_found", param="agent_id"
    )
