"""``GET /v1/realtime/ice_servers``: the STUN and TURN servers that a caller's browser may use.

Rules: for whoever may make calls; time-limited credentials only (channels/webrtc/turn.py).
"""

import time

from aiohttp import web

from gateway.channels.webrtc.calls import ALLOWED_HEADERS
from gateway.channels.webrtc.ice import IceSettings
from gateway.channels.webrtc.turn import LIFETIME_SECONDS, client_servers
from gateway.http.errors import json_response

from .authorization import Admittance

_PATH = "/v1/realtime/ice_servers"


class IceServers:
    """The handlers."""

    def __init__(self, admittance: Admittance, ice: IceSettings) -> None:
        self._admittance = admittance
        self._ice = ice

    def routes(self) -> list[web.RouteDef]:
        """What to add to the application's router."""
        return [web.get(_PATH, self.list), web.options(_PATH, self.preflight)]

    async def list(self, request: web.Request) -> web.Response:
        """``{ice_servers: [{urls, username?, credential?}], expires_at}``."""
        await self._admittance.principal(request)
        now = time.time()
        servers = client_servers(self._ice, now)
        return json_response({"ice_servers": servers, "expires_at": int(now) + LIFETIME_SECONDS})

    async def preflight(self, request: web.Request) -> web.Response:  # noqa: ARG002
        """Tell a browser what it may send from another origin."""
        headers = {
            "Access-Control-Allow-Methods": "GET, OPTIONS",
            "Access-Control-Allow-Headers": ALLOWED_HEADERS,
            "Access-Control-Max-Age": "600",
        }
        return web.Response(status=204, headers=headers)
