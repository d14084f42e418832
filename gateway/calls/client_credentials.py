"""What a browser needs before it calls: an ephemeral key, and STUN and TURN servers.

``POST /v1/realtime/client_secrets`` and the beta's two addresses mint a key bound to a workspace,
an agent and a session, which is checked here as a call's would be. ``locked``, our addition, keeps
the holder of the key from changing what the agent is.

``GET /v1/realtime/ice_servers`` is for everyone who may make calls; it gives out time-limited
credentials only.
"""

import asyncio
import time
from typing import Any

from aiohttp import web

from gateway.channels.webrtc.calls import ALLOWED_HEADERS
from gateway.channels.webrtc.ice import LIFETIME_SECONDS, IceSettings, client_servers
from gateway.channels.wire.client_events import read_message
from gateway.channels.wire.fields import Fields
from gateway.channels.wire.session_object import render_session
from gateway.channels.wire.wire_format import beta_session
from gateway.http.responses import json_response
from rest.accounts.keys import DEFAULT_SECONDS, MAX_SECONDS, MIN_SECONDS, EphemeralKeys, Grant
from rest.http.errors import Forbidden, Unavailable, ValidationFailed
from sessions.channel import ClientFault
from sessions.core.config import SessionConfig
from store.ids import new_id

from .authorization import Authorization

MAX_BODY_BYTES = 256 * 1024
BODY_SECONDS = 10.0
_BETA_OWN = ("expires_after", "expires_at", "client_secret", "agent_id")


class RealtimeKeys:
    """The handlers of ephemeral keys."""

    def __init__(self, authorization: Authorization, ephemeral: EphemeralKeys) -> None:
        self._authorization = authorization
        self._ephemeral = ephemeral

    def routes(self) -> list[web.RouteDef]:
        """What to add to the application's router."""
        return [
            route
            for name, handler in (
                ("client_secrets", self.client_secrets),
                ("sessions", self.beta_session),
                ("transcription_sessions", self.beta_session),
            )
            for route in (
                web.post(f"/v1/realtime/{name}", handler),
                web.options(f"/v1/realtime/{name}", self.preflight),
            )
        ]

    async def client_secrets(self, request: web.Request) -> web.Response:
        """POST /v1/realtime/client_secrets → ``{value, expires_at, session}``.

        Our extensions: ``agent_id`` binds the key to an agent; ``locked``."""
        body = Fields(await _read_json(request), "", None)
        body.only(("expires_after", "session", "agent_id", "locked"))
        session = body.child("session")
        config, key = await self._mint(
            request, body, session, body.raw("session"), locked=body.flag("locked") or False
        )
        shown = render_session(config, new_id("sess")) | {"expires_at": key["expires_at"]}
        return json_response(key | {"session": shown})

    async def beta_session(self, request: web.Request) -> web.Response:
        """POST /v1/realtime/sessions and …/transcription_sessions, as in the beta.

        The body is the session; so is the response, with the key as its ``client_secret``."""
        body = await _read_json(request)
        session = {name: value for name, value in body.items() if name not in _BETA_OWN}
        if request.path.endswith("transcription_sessions"):
            session["type"] = "transcription"
        given = Fields(session, "", None)
        config, key = await self._mint(request, Fields(body, "", None), given, session)
        secret = {"value": key["value"], "expires_at": key["expires_at"]}
        shown = beta_session(render_session(config, new_id("sess")))
        captions = session.get("type") == "transcription"
        kind = "realtime.transcription_session" if captions else "realtime.session"
        return json_response(shown | {"object": kind, "client_secret": secret})

    async def preflight(self, request: web.Request) -> web.Response:  # noqa: ARG002
        """Answer a browser's preflight."""
        headers = {
            "Access-Control-Allow-Methods": "POST, OPTIONS",
            "Access-Control-Allow-Headers": ALLOWED_HEADERS,
            "Access-Control-Max-Age": "600",
        }
        return web.Response(status=204, headers=headers)

    async def _mint(
        self,
        request: web.Request,
        body: Fields,
        given: Fields | None,
        session: dict[str, Any] | None,
        *,
        locked: bool = False,
    ) -> tuple[SessionConfig, dict[str, Any]]:
        """The session as it will start, and the key; raises ApiError or ClientFault."""
        principal = await self._authorization.principal(request)
        if principal.kind == "ephemeral":
            raise Forbidden(
                "An ephemeral key cannot mint others: use an API key.",
                openai_code="insufficient_permissions",
            )
        seconds = _lifetime(body)
        agent_id = body.text("agent_id", max_chars=64) or None
        agent = await self._authorization.agent(principal.workspace_id, agent_id)
        config = self._authorization.configure(principal, agent, given=given)
        if locked:
            agent_id = agent.id  # another agent would be another session
        caller = self._authorization.caller(principal, request)
        grant = Grant(principal.workspace_id, agent_id, session, locked, caller)
        key = await self._ephemeral.mint(grant, seconds)
        return config, {"value": key.value, "expires_at": key.expires_at} | (
            {"locked": True} if locked else {}
        )


def _lifetime(body: Fields) -> int:
    expires = body.child("expires_after")
    if expires is None:
        return DEFAULT_SECONDS
    expires.only(("anchor", "seconds"))
    expires.choice("anchor", ("created_at",))
    return expires.integer("seconds", MIN_SECONDS, MAX_SECONDS) or DEFAULT_SECONDS


async def _read_json(request: web.Request) -> dict[str, Any]:
    """The body as a JSON object; an empty body counts as an empty object."""
    data = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.content.iter_any():
                data += chunk
                if len(data) > MAX_BODY_BYTES:
                    raise web.HTTPRequestEntityTooLarge(MAX_BODY_BYTES, len(data))
    except TimeoutError as error:
        raise Unavailable(
            f"The body did not arrive within {BODY_SECONDS:g} s.", openai_code="timeout"
        ) from error
    try:
        return read_message(bytes(data) or b"{}")
    except ClientFault as fault:
        raise ValidationFailed(
            "The body must be a JSON object in valid UTF-8, without unpaired surrogates.",
            openai_code="invalid_json",
        ) from fault


# ------------------------------------------------------------------ ICE servers

_ICE_SERVERS = "/v1/realtime/ice_servers"


class IceServers:
    """The handlers of ``/v1/realtime/ice_servers``."""

    def __init__(self, authorization: Authorization, ice: IceSettings) -> None:
        self._authorization = authorization
        self._ice = ice

    def routes(self) -> list[web.RouteDef]:
        """What to add to the application's router."""
        return [web.get(_ICE_SERVERS, self.list), web.options(_ICE_SERVERS, self.preflight)]

    async def list(self, request: web.Request) -> web.Response:
        """``{ice_servers: [{urls, username?, credential?}], expires_at}``."""
        await self._authorization.principal(request)
        now = time.time()
        servers = client_servers(self._ice, now)
        return json_response({"ice_servers": servers, "expires_at": int(now) + LIFETIME_SECONDS})

    async def preflight(self, request: web.Request) -> web.Response:  # noqa: ARG002
        """Answer a browser's preflight."""
        headers = {
            "Access-Control-Allow-Methods": "GET, OPTIONS",
            "Access-Control-Allow-Headers": ALLOWED_HEADERS,
            "Access-Control-Max-Age": "600",
        }
        return web.Response(status=204, headers=headers)
