"""HTTP of WebRTC calls, as in the OpenAI Realtime API.

``POST /v1/realtime/calls`` takes the SDP offer (``application/sdp``, or multipart fields ``sdp``
and ``session``) and responds 201 with the SDP answer and ``Location: …/calls/{id}``;
``POST /v1/realtime/calls/{id}/hangup`` ends the call. ``POST /v1/realtime?model=…`` is the beta's
address for the first. Authorization, admission and the conversation itself are behind two functions
that the gateway passes in.

Bounds: a body of ``MAX_BODY_BYTES`` that arrives within ``BODY_TIMEOUT`` seconds.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from gateway.channels.wire.client_events import read_message
from sessions.channel import ClientFault

from .channel import WebRTCChannel
from .ice import DEFAULT_ICE, IceSettings
from .offer import MAX_OFFER_BYTES, OfferError, check_offer
from .peer import Network

logger = logging.getLogger(__name__)

MAX_SESSION_BYTES = 256 * 1024
MAX_BODY_BYTES = MAX_OFFER_BYTES + MAX_SESSION_BYTES + 4096
BODY_TIMEOUT = 10.0
MOST_ENDED = 1024
"""Ended calls whose network is remembered until somebody takes it."""
BETA_CALLS = "/v1/realtime"
"""Where the beta took offers; events of its calls have the beta's names."""
ALLOWED_HEADERS = (
    "Authorization, Content-Type, X-OpenAI-Agents-SDK, OpenAI-Beta, OpenAI-Safety-Identifier"
)

T = TypeVar("T")

StartCall = Callable[[web.Request, WebRTCChannel, dict[str, Any] | None], Awaitable[str]]
"""Authorizes the request, admits the call, starts its session; returns the call id.

Raises what refuses the call (401, 503 …)."""
HangUp = Callable[[web.Request, str], Awaitable[bool]]
"""Authorizes the request and ends the call; False if there is no such call."""


class RequestError(Exception):
    """A request that cannot be carried out; becomes an error envelope."""

    def __init__(self, code: str, message: str, param: str | None = None, status: int = 400):
        super().__init__(message)
        self.code, self.message, self.param, self.status = code, message, param, status


@dataclass(frozen=True, slots=True)
class ConnectedCall:
    """A call that has been answered; ``ufrag`` is the caller's (RFC 8839)."""

    call_id: str
    answer: str
    ufrag: str
    channel: WebRTCChannel


class WebRTCCalls:
    """The handlers; they own every channel they make until it is closed."""

    def __init__(
        self,
        start_call: StartCall,
        hang_up: HangUp,
        ice: IceSettings = DEFAULT_ICE,
        *,
        allow_origin: str = "*",
    ) -> None:
        self._start_call = start_call
        self._hang_up = hang_up
        self._ice = ice
        self._allow_origin = allow_origin
        self._channels: set[WebRTCChannel] = set()
        self._ended: deque[Network] = deque(maxlen=MOST_ENDED)

    @property
    def live(self) -> int:
        """Calls that are being set up or in progress."""
        return len(self._channels)

    def take_network(self) -> list[Network]:
        """How the network carries each call, also those that ended since the last time."""
        ended = list(self._ended)
        self._ended.clear()
        return [*ended, *(channel.take_network() for channel in self._channels)]

    def routes(self) -> list[web.RouteDef]:
        """What to add to the application's router."""
        calls, hangup = "/v1/realtime/calls", "/v1/realtime/calls/{call_id}/hangup"
        return [
            web.post(calls, self.create),
            web.options(calls, self.preflight),
            web.post(BETA_CALLS, self.create),
            web.options(BETA_CALLS, self.preflight),
            web.post(hangup, self.hang_up),
            web.options(hangup, self.preflight),
        ]

    async def create(self, request: web.Request) -> web.Response:
        """Answer an offer and start the call."""
        try:
            sdp, session = await within_body_timeout(_read_body(request))
            call = await self.connect(request, sdp, session)
        except RequestError as fault:
            return self.refusal(fault)
        return web.Response(
            status=201,
            text=call.answer,
            content_type="application/sdp",
            headers=self._cors() | {"Location": f"/v1/realtime/calls/{call.call_id}"},
        )

    async def hang_up(self, request: web.Request) -> web.Response:
        """End a call."""
        call_id = request.match_info["call_id"]
        if await self._hang_up(request, call_id):
            return web.Response(headers=self._cors())
        return self.refusal(
            RequestError("call_not_found", f"there is no call {call_id!r}", "call_id", 404)
        )

    async def preflight(self, request: web.Request) -> web.Response:  # noqa: ARG002
        """Answer a browser's preflight."""
        headers = {
            "Access-Control-Allow-Methods": "POST, OPTIONS",
            "Access-Control-Allow-Headers": ALLOWED_HEADERS,
            "Access-Control-Max-Age": "600",
        }
        return web.Response(status=204, headers=self._cors() | headers)

    async def close(self, reason: str = "server is shutting down") -> None:
        """Close all remaining calls."""
        await asyncio.gather(*(channel.close(reason) for channel in list(self._channels)))

    async def connect(
        self, request: web.Request, sdp: str, session: dict[str, Any] | None
    ) -> ConnectedCall:
        """Start the call that an offer asks for; raises RequestError, or what refuses the call."""
        channel = None
        try:
            offer = check_offer(sdp)
            channel = self._make_channel()
            call_id = await self._start_call(request, channel, session)
            answer = await channel.answer(offer)
        except BaseException as fault:
            if channel is not None:
                await channel.close("call could not be started")
            if isinstance(fault, web.HTTPException):
                fault.headers.update(self._cors())
            if isinstance(fault, OfferError):
                raise RequestError("invalid_sdp", str(fault), "sdp") from fault
            raise
        return ConnectedCall(call_id, answer, offer.ufrag, channel)

    def _make_channel(self) -> WebRTCChannel:
        def forget(reason: str) -> None:
            logger.info("WebRTC call closed: %s", reason)
            self._channels.discard(channel)
            self._ended.append(channel.take_network())

        channel = WebRTCChannel(self._ice, on_closed=forget)
        self._channels.add(channel)
        return channel

    def _cors(self) -> dict[str, str]:
        return {
            "Access-Control-Allow-Origin": self._allow_origin,
            "Access-Control-Expose-Headers": "Location",
        }

    def refusal(self, fault: RequestError) -> web.Response:
        """The response to a request that cannot be carried out."""
        error = {
            "type": "invalid_request_error",
            "code": fault.code,
            "message": fault.message,
            "param": fault.param,
        }
        return web.json_response({"error": error}, status=fault.status, headers=self._cors())


def setup(
    app: web.Application,
    start_call: StartCall,
    hang_up: HangUp,
    ice: IceSettings = DEFAULT_ICE,
    *,
    allow_origin: str = "*",
) -> WebRTCCalls:
    """Add the routes to an application, and close remaining calls when it shuts down."""
    calls = WebRTCCalls(start_call, hang_up, ice, allow_origin=allow_origin)
    app.add_routes(calls.routes())

    async def close_all(_: web.Application) -> None:
        await calls.close()

    app.on_shutdown.append(close_all)
    return calls


async def within_body_timeout(reading: Awaitable[T]) -> T:
    """The result of reading a request's body; raises RequestError if it arrives too slowly."""
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            return await reading
    except TimeoutError:
        message = f"the body did not arrive in {BODY_TIMEOUT:.0f} s"
        raise RequestError("timeout", message, None, 408) from None


async def read_text(request: web.Request, limit: int, param: str) -> str:
    """A request's body of at most ``limit`` bytes as text; raises RequestError."""
    return _text(await _read(request.content.iter_chunked(8192), limit, param))


async def _read_body(request: web.Request) -> tuple[str, dict[str, Any] | None]:
    """The offer and the session configuration of a request."""
    if request.content_type == "application/sdp":
        return await read_text(request, MAX_OFFER_BYTES, "sdp"), None
    if not request.content_type.startswith("multipart/"):
        raise RequestError(
            "unsupported_content_type",
            f"Content-Type is {request.content_type}: send application/sdp or multipart/form-data",
            None,
            415,
        )
    parts: dict[str, bytes] = {}
    limits = {"sdp": MAX_OFFER_BYTES, "session": MAX_SESSION_BYTES}
    try:
        async for part in await request.multipart():
            if not isinstance(part, BodyPartReader) or part.name not in limits:
                raise RequestError("unknown_field", "the fields are sdp and session")
            if part.name in parts:
                raise RequestError("invalid_multipart", f"{part.name} is given twice", part.name)
            parts[part.name] = await _read(part, limits[part.name], part.name)
    except (ValueError, HttpProcessingError) as fault:
        raise RequestError(
            "invalid_multipart", "the body is not multipart/form-data: send the fields sdp, session"
        ) from fault
    if "sdp" not in parts:
        raise RequestError("missing_field", "the multipart body has no field sdp", "sdp")
    return _text(parts["sdp"]), _session(parts.get("session"))


async def _read(chunks: Any, limit: int, param: str) -> bytes:
    data = bytearray()
    async for chunk in chunks:
        data += chunk
        if len(data) > limit:
            raise RequestError("too_large", f"{param} has more than {limit} bytes", param, 413)
    return bytes(data)


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as fault:
        raise RequestError("invalid_sdp", "the SDP is not UTF-8", "sdp") from fault


def _session(data: bytes | None) -> dict[str, Any] | None:
    if data is None:
        return None
    try:
        return read_message(data)
    except ClientFault as fault:
        raise RequestError(
            "invalid_json",
            "'session' must be a JSON object in valid UTF-8, without unpaired surrogates.",
            "session",
        ) from fault
