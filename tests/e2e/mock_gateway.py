"""A mock gateway: the demo page's other end while the page itself is tested.

It serves ``static`` under the real page's headers and speaks the real protocol (keys, a
real WebRTC peer, a WebSocket with binary audio, the event vocabulary), but it hears by loudness
and answers from a script (`mock_call`). Run it by hand to look at the page:
``python -m tests.e2e.mock_gateway [PORT]``.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import WSCloseCode, WSMsgType, web
from aioice import ice
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from gateway.http.static_files import FOR_OUR_PAGES
from tests.e2e.mock_call import MockCall, Script
from tests.e2e.mock_carriers import PeerCarrier, SocketCarrier
from tests.support.paths import STATIC

POLICY = FOR_OUR_PAGES["Content-Security-Policy"]
API_KEY = "blab_sk_mock"
EPHEMERAL = "ek_mock"
OPTIONS = {
    "voices": [
        {"id": "hibari", "name": "Hibari", "language": "en"},
        {"id": "de-DE", "name": "Pico", "language": "de"},
    ],
    "languages": ["en", "de"],
    "chat": {"model": "qwen2.5-0.5b", "note": "It is the chat model of this profile."},
}


class MockGateway:
    """One pretending server. Its switches may be thrown at any time.

    ``ready``: /readyz says 200. ``full``: calls are refused. ``session_status``: what
    /demo/session answers. ``expired``: so many keys are refused before one counts."""

    def __init__(self, script: Script | None = None) -> None:
        self.script = script or Script()
        self.ready = True
        self.full = False
        self.session_status = 200
        self.expired = 0
        self.keys = 0
        self.calls: list[MockCall] = []
        self.call_added = asyncio.Event()
        self._peers: dict[str, RTCPeerConnection] = {}
        self._sockets: dict[web.WebSocketResponse, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/", self._index)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_post("/demo/session", self._session)
        app.router.add_get("/session", self._nobody)
        for folder in ("demo", "sdk", "shared"):
            app.router.add_static(f"/{folder}/", STATIC / folder)
        app.router.add_post("/v1/realtime/client_secrets", self._client_secrets)
        app.router.add_post("/v1/realtime/calls", self._offer)
        app.router.add_post("/v1/realtime/calls/{id}/hangup", self._hangup)
        app.router.add_get("/v1/realtime", self._websocket)
        app.on_response_prepare.append(_secure)
        return app

    @asynccontextmanager
    async def running(self, port: int = 0) -> AsyncIterator[str]:
        """Serve on loopback; gives the page's address."""
        vars(ice._mdns).clear()  # aioice keeps a lock of the first loop in which two waited for it
        runner = web.AppRunner(self.application())
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", port)
            await site.start()
            yield f"http://localhost:{runner.addresses[0][1]}"
        finally:
            await self.drop()
            await runner.cleanup()

    async def next_call(self) -> MockCall:
        """The call opened last; waits for one."""
        async with asyncio.timeout(20):
            await self.call_added.wait()
        return self.calls[-1]

    async def drop(self, code: int = WSCloseCode.INTERNAL_ERROR, reason: str = "") -> None:
        """End every call as a fault would."""
        for call in self.calls:
            await call.close()
        for socket, reading in list(self._sockets.items()):
            # a reader would make aiohttp cut the connection without the closing handshake, and
            # what the page is still sending would then reset it before the code arrives
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            await socket.close(code=code, message=reason.encode())
        for peer in list(self._peers.values()):
            await peer.close()
        self._peers.clear()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def die(self) -> None:
        """Let the network of every running call die: nothing comes through, nobody says so."""
        for call in self.calls:
            call.dead = True

    # -------------------------------------------------------------- HTTP

    async def _nobody(self, _request: web.Request) -> web.Response:
        return web.json_response({"data": {"user": None}})

    async def _index(self, _request: web.Request) -> web.FileResponse:
        return web.FileResponse(STATIC / "demo" / "index.html")

    async def _readyz(self, _request: web.Request) -> web.Response:
        reasons = {} if self.ready else {"engines": "The models are being loaded."}
        if self.full:
            reasons["admission"] = "Every line is in use (2)."
        if not reasons:
            return web.json_response({"ready": True})
        body = {"ready": False, "detail": " ".join(reasons.values()), "reasons": reasons}
        return web.json_response(body, status=503)

    async def _session(self, _request: web.Request) -> web.Response:
        if self.session_status == 200:
            self.keys += 1
            return web.json_response({"value": EPHEMERAL, "expires_at": 1, "options": OPTIONS})
        return _error(self.session_status, "Only this machine gets a key without signing in")

    async def _client_secrets(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {API_KEY}":
            return _error(401, "That API key is not known here")
        return web.json_response({"value": EPHEMERAL, "expires_at": 1, "session": {}})

    async def _offer(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {EPHEMERAL}":
            return _error(401, "The key is wrong or has expired")
        if self.expired:
            self.expired -= 1
            return _error(401, "The key is wrong or has expired")
        if self.full or not self.ready:
            return _error(503, "All 2 lines are in use.")
        peer = RTCPeerConnection()
        call_id = f"rtc_{len(self.calls)}"
        carrier = PeerCarrier()
        call = self._add(MockCall(carrier, self.script))
        self._peers[call_id] = peer
        peer.addTrack(carrier.track)

        @peer.on("datachannel")
        def on_channel(channel: object) -> None:
            carrier.channel = channel
            channel.on("message", call.receive)  # type: ignore[attr-defined]
            call.open()

        @peer.on("track")
        def on_track(track: MediaStreamTrack) -> None:
            self._spawn(_listen(track, call))

        offer = RTCSessionDescription(sdp=await request.text(), type="offer")
        await peer.setRemoteDescription(offer)
        await peer.setLocalDescription(await peer.createAnswer())
        return web.Response(
            status=201,
            text=peer.localDescription.sdp,
            content_type="application/sdp",
            headers={"Location": f"/v1/realtime/calls/{call_id}"},
        )

    async def _hangup(self, request: web.Request) -> web.Response:
        peer = self._peers.pop(request.match_info["id"], None)
        if peer is not None:
            await peer.close()
        for call in self.calls:
            await call.close()
        return web.Response()

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(protocols=["blab.binary.v1"], compress=False)
        await socket.prepare(request)
        if self.full or not self.ready:
            await _turn_away(socket, 1013, "All 2 lines are in use.")
            return socket
        if self.expired:
            self.expired -= 1
            await _turn_away(socket, 4001, "The key is wrong or has expired")
            return socket
        carrier = SocketCarrier(socket)
        call = self._add(MockCall(carrier, self.script))
        call.offered = request.headers.get("Sec-WebSocket-Protocol", "")
        call.open()
        reading = self._sockets[socket] = asyncio.create_task(_read(socket, call))
        try:
            await asyncio.wait({reading})
            await call.close()
            await carrier.close()
            while not _transport_closing(request):
                await asyncio.sleep(0.01)  # whoever closes the socket takes leave first
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            await carrier.close()
            del self._sockets[socket]
        return socket

    # -------------------------------------------------------------- helpers

    def _add(self, call: MockCall) -> MockCall:
        self.calls.append(call)
        self.call_added.set()
        return call

    def _spawn(self, work: object) -> None:
        task: asyncio.Task[None] = asyncio.ensure_future(work)  # type: ignore[call-overload]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _read(socket: web.WebSocketResponse, call: MockCall) -> None:
    async for message in socket:
        if message.type is WSMsgType.BINARY:
            call.hear(message.data)
        else:
            call.receive(message.data)


async def _turn_away(socket: web.WebSocketResponse, code: int, message: str) -> None:
    """As the real gateway refuses a browser: an error that can be read, then the code."""
    await socket.send_json({"type": "error", "error": {"message": message}})
    await socket.close(code=code, message=message.encode())


def _transport_closing(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


async def _listen(track: MediaStreamTrack, call: MockCall) -> None:
    """48 kHz stereo frames of the peer to 24 kHz mono."""
    while True:
        try:
            frame = await track.recv()
        except MediaStreamError:
            return
        samples = frame.to_ndarray().reshape(-1, 2).mean(axis=1)
        call.hear(samples.reshape(-1, 2).mean(axis=1).astype("<i2").tobytes())


async def _secure(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Content-Security-Policy"] = POLICY


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": {"message": message}}, status=status)


async def _serve(port: int) -> None:
    async with MockGateway().running(port) as address:
        print(json.dumps({"page": address}), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]) if len(sys.argv) > 1 else 8485))
