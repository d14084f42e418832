"""WHIP (RFC 9725): a second endpoint for the same calls, for encoders that speak only HTTP and SDP.

``POST /v1/whip[?agent_id=…]`` takes an ``application/sdp`` offer and responds 201 with the SDP
answer, the session's ``Location`` and an ``ETag``; ``PATCH`` with ``If-Match`` adds candidates
(``application/trickle-ice-sdpfrag``, RFC 8840), ``DELETE`` ends the call. ICE restarts are
refused (422). ``Link`` headers name STUN and TURN servers.

Bounds: those of ``calls.py``; a fragment has at most ``MAX_FRAGMENT_BYTES``.
"""

import hmac
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import hdrs, web
from aiortc import RTCIceCandidate
from aiortc.sdp import candidate_from_sdp

from gateway.processes.neighbours import Neighbours

from .calls import (
    ALLOWED_HEADERS,
    RequestError,
    WebRTCCalls,
    read_text,
    within_body_timeout,
)
from .channel import WebRTCChannel
from .ice import IceSettings, client_servers
from .offer import MAX_OFFER_BYTES, PARSER_FAULTS

ENDPOINT = "/v1/whip"
SESSION = ENDPOINT + "/{call_id}"
MAX_FRAGMENT_BYTES = 16 * 1024
MAX_CANDIDATES = 32
OFFER = "application/sdp"
FRAGMENT = "application/trickle-ice-sdpfrag"

OwnsCall = Callable[[web.Request, str], Awaitable[bool]]
"""Authorizes the request; whether the caller's workspace has that call on this node."""
EndCall = Callable[[web.Request, str], Awaitable[bool]]
"""Authorizes the request and ends the call; False if there is no such call."""


@dataclass(frozen=True, slots=True)
class _WhipSession:
    channel: WebRTCChannel
    ufrag: str
    etag: str


class Whip:
    """The handlers."""

    def __init__(
        self,
        calls: WebRTCCalls,
        owns: OwnsCall,
        end: EndCall,
        ice: IceSettings,
        neighbours: Neighbours | None = None,
    ) -> None:
        """``neighbours``: the other processes of this server, which may have a session."""
        self._neighbours = neighbours
        if neighbours is not None:
            neighbours.serve("PATCH", SESSION, self._trickle)
        self._calls = calls
        self._owns = owns
        self._end = end
        self._ice = ice
        self._sessions: dict[str, _WhipSession] = {}

    def routes(self) -> list[web.RouteDef]:
        """What to add to the application's router."""
        return [
            web.post(ENDPOINT, self.create),
            web.options(ENDPOINT, self.describe),
            web.patch(SESSION, self.trickle),
            web.delete(SESSION, self.end),
            web.options(SESSION, self.describe),
        ]

    async def create(self, request: web.Request) -> web.Response:
        """Answer an offer and start the call."""
        try:
            _need_type(request, OFFER)
            sdp = await within_body_timeout(read_text(request, MAX_OFFER_BYTES, "sdp"))
            call = await self._calls.connect(request, sdp, None)
        except RequestError as fault:
            return self._refusal(fault)
        self._forget_the_ended()
        etag = f'"{secrets.token_hex(8)}"'
        self._sessions[call.call_id] = _WhipSession(call.channel, call.ufrag, etag)
        response = web.Response(
            status=201, text=call.answer, content_type=OFFER, headers=_cors() | {hdrs.ETAG: etag}
        )
        response.headers[hdrs.LOCATION] = f"{ENDPOINT}/{call.call_id}"
        for link in _links(self._ice):
            response.headers.add(hdrs.LINK, link)
        return response

    async def trickle(self, request: web.Request) -> web.Response:
        """Add candidates of the caller, whichever process has the session."""
        answer = await self._trickle(request)
        if answer.status == 404 and self._neighbours is not None:
            try:
                text = await within_body_timeout(read_text(request, MAX_FRAGMENT_BYTES, "sdpfrag"))
            except RequestError as fault:
                return self._refusal(fault)
            return await self._neighbours.ask(request, text.encode()) or answer
        return answer

    async def _trickle(self, request: web.Request) -> web.Response:
        call_id = request.match_info["call_id"]
        try:
            owned = await self._owns(request, call_id)
            session = self._sessions.get(call_id) if owned else None
            if session is None:
                raise _absent(call_id)
            _need_type(request, FRAGMENT)
            _check_match(request.headers.get(hdrs.IF_MATCH), session.etag)
            text = await within_body_timeout(read_text(request, MAX_FRAGMENT_BYTES, "sdpfrag"))
            for candidate in read_fragment(text, session.ufrag):
                await session.channel.add_candidate(candidate)
        except RequestError as fault:
            return self._refusal(fault)
        return web.Response(status=204, headers=_cors() | {hdrs.ETAG: session.etag})

    async def end(self, request: web.Request) -> web.Response:
        """End the call."""
        call_id = request.match_info["call_id"]
        if not await self._end(request, call_id):
            return self._refusal(_absent(call_id))
        self._sessions.pop(call_id, None)
        return web.Response(headers=_cors())

    async def describe(self, request: web.Request) -> web.Response:  # noqa: ARG002
        """Answer what may be sent, or a browser's preflight."""
        headers = {
            "Accept-Post": OFFER,
            "Accept-Patch": FRAGMENT,
            "Access-Control-Allow-Methods": "POST, PATCH, DELETE, OPTIONS",
            "Access-Control-Allow-Headers": f"{ALLOWED_HEADERS}, If-Match",
            "Access-Control-Max-Age": "600",
        }
        return web.Response(status=204, headers=_cors() | headers)

    def _refusal(self, fault: RequestError) -> web.Response:
        return self._calls.refusal(fault)

    def _forget_the_ended(self) -> None:
        for call_id, session in list(self._sessions.items()):
            if session.channel.closed_reason is not None:
                del self._sessions[call_id]


def setup_whip(
    app: web.Application,
    calls: WebRTCCalls,
    owns: OwnsCall,
    end: EndCall,
    ice: IceSettings,
    neighbours: Neighbours | None = None,
) -> None:
    """Add the routes to an application."""
    app.add_routes(Whip(calls, owns, end, ice, neighbours).routes())


def read_fragment(text: str, ufrag: str) -> list[RTCIceCandidate]:
    """The candidates of an SDP fragment for the session of ``ufrag``; raises RequestError."""
    candidates: list[RTCIceCandidate] = []
    for line in (raw.strip() for raw in text.splitlines()):
        name, _, value = line.partition(":")
        if name == "a=ice-ufrag" and value != ufrag:
            raise RequestError(
                "ice_restart_unsupported",
                "this session does not restart ICE: end it and make a new one",
                "sdpfrag",
                422,
            )
        if name == "a=candidate":
            if len(candidates) >= MAX_CANDIDATES:
                raise RequestError(
                    "too_many_candidates", f"at most {MAX_CANDIDATES} candidates", "sdpfrag"
                )
            try:
                candidates.append(candidate_from_sdp(value))
            except PARSER_FAULTS as fault:
                raise RequestError(
                    "invalid_sdpfrag", "a candidate line cannot be read (RFC 8839)", "sdpfrag"
                ) from fault
        elif line and not line.startswith(("a=", "m=")):
            raise RequestError(
                "invalid_sdpfrag", "the lines of a fragment begin with a= or m=", "sdpfrag"
            )
    return candidates


def _check_match(given: str | None, etag: str) -> None:
    """RFC 9725, 4.3.1: If-Match names the session's ETag; ``*`` asks for an ICE restart."""
    if given is None:
        raise RequestError("if_match_required", "send If-Match with the ETag", None, 428)
    if given.strip() == "*":
        raise RequestError(
            "ice_restart_unsupported",
            "this session does not restart ICE: end it and make a new one",
            None,
            422,
        )
    tags = [tag.strip().encode() for tag in given.split(",")]
    if not any(hmac.compare_digest(tag, etag.encode()) for tag in tags):
        raise RequestError("etag_mismatch", "If-Match is not this session's ETag", None, 412)


def _need_type(request: web.Request, wanted: str) -> None:
    if request.content_type != wanted:
        raise RequestError(
            "unsupported_content_type",
            f"Content-Type is {request.content_type}: send {wanted}",
            None,
            415,
        )


def _absent(call_id: str) -> RequestError:
    return RequestError("call_not_found", f"there is no call {call_id!r}", "call_id", 404)


def _links(ice: IceSettings) -> list[str]:
    links = []
    for server in client_servers(ice, time.time()):
        link = f'<{server["urls"][0]}>; rel="ice-server"'
        if "username" in server:
            link += (
                f'; username="{server["username"]}"; credential="{server["credential"]}"'
                '; credential-type="password"'
            )
        links.append(link)
    return links


def _cors() -> dict[str, str]:
    return {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Expose-Headers": "Location, ETag, Link",
    }
