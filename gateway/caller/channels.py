"""The caller's end of a channel: audio and events in both directions.

``CallerWebSocket`` speaks ``/v1/realtime`` (audio raw, or as base64 in JSON events);
``CallerWebRtc`` posts an offer to ``/v1/realtime/calls`` and has its events on the data channel
``oai-events``.
"""

import asyncio
import base64
import contextlib
import fractions
import json
from collections.abc import AsyncIterator
from typing import Any, Protocol

import aiohttp
import av
import numpy as np
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

CLIENT_RATE = 24_000
"""Hz of the PCM16 mono audio in both directions (the protocol's default)."""


class CallEnded(Exception):
    """The call could not be set up, or has ended; the message is the reason given."""


class ConnectionLost(CallEnded):
    """The connection broke, or could not be made for now: another one may go on with the call."""


class ServerBusy(ConnectionLost):
    """The server has no room for a call now, or is not ready: HTTP 503."""


class CallerChannel(Protocol):
    """One call, as the caller's program sees it."""

    continuous: bool
    """Whether audio arrives all the time, silence included (WebRTC)."""

    async def send_audio(self, pcm: bytes) -> None:
        """Send 20 ms of PCM16 mono at CLIENT_RATE; raises CallEnded."""
        ...

    async def send_event(self, event: dict[str, Any]) -> None:
        """Send one client event; raises CallEnded."""
        ...

    def receive(self) -> AsyncIterator[bytes | dict[str, Any]]:
        """Reply audio (PCM16 mono, CLIENT_RATE) and server events until the call ends."""
        ...

    def abandon(self) -> None:
        """Give the connection up as lost, without a goodbye; ``receive`` raises ConnectionLost."""
        ...

    async def close(self) -> None:
        """Hang up and release everything; harmless when called twice."""
        ...


# ------------------------------------------------------------------ keys

_FULL = 503
_PASSING = (409, 502, _FULL, 504)
"""Statuses of a refusal that may be another one soon. 409: the server has not noticed yet that the
connection is lost."""
REQUEST_SECONDS = 10.0


async def demo_key(url: str) -> str:
    """An ephemeral key from ``POST /demo/session``; localhost only, no account.

    Raises CallEnded with what the server answered."""
    timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(f"{url.rstrip('/')}/demo/session", json={}) as response,
        ):
            if response.status >= 300:
                words = (await response.text())[:300]
                kind = ConnectionLost if response.status in _PASSING else CallEnded
                raise kind(f"the server gave no key (HTTP {response.status}): {words}")
            body = await response.json()
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise ConnectionLost(f"no server answers at {url}: {error or 'timeout'}") from error
    secret = body.get("client_secret", body)
    key = secret.get("value") if isinstance(secret, dict) else secret
    if not isinstance(key, str):
        raise CallEnded("the server's answer to POST /demo/session holds no key")
    return key


# ------------------------------------------------------------------ WebSocket

BINARY = Subprotocol("blab.binary.v1")
OPEN_SECONDS = 15.0
MAX_MESSAGE = 16 * 1024 * 1024
_FINAL = (1000, 1008, 4001)
"""Close codes with which a call is over: by agreement, or refused. After any other one (1001 and
1012: the node stops; none: the network is gone) it can be resumed."""


class CallerWebSocket:
    """Audio as binary frames if the server accepts that, else as base64 in JSON events."""

    continuous = False

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self.binary = connection.subprotocol == BINARY

    @classmethod
    async def open(
        cls,
        url: str,
        key: str | None,
        *,
        binary: bool = True,
        query: str = "model=default",
        resume: str | None = None,
    ) -> "CallerWebSocket":
        """Connect to the server at ``url`` (http:// or https://); raises CallEnded. ``resume``: the
        handle of the call that goes on."""
        if resume is not None:
            query = f"resume={resume}"
        address = f"{url.rstrip('/').replace('http', 'ws', 1)}/v1/realtime?{query}"
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        protocols = [BINARY, Subprotocol("realtime")] if binary else [Subprotocol("realtime")]
        try:
            connection = await connect(
                address,
                additional_headers=headers,
                subprotocols=protocols,
                compression=None,
                max_size=MAX_MESSAGE,
                open_timeout=OPEN_SECONDS,
                close_timeout=2,
            )
        except InvalidStatus as error:
            body = (error.response.body or b"")[:500].decode(errors="replace")
            raise _refused(error.response.status_code, body) from error
        except (OSError, InvalidHandshake, TimeoutError) as error:
            place = address.partition("?")[0]
            raise ConnectionLost(f"no connection to {place}: {error or 'no answer'}") from error
        return cls(connection)

    async def send_audio(self, pcm: bytes) -> None:
        """Send 20 ms of PCM16."""
        if self.binary:
            await self._send(pcm)
        else:
            audio = base64.b64encode(pcm).decode()
            await self.send_event({"type": "input_audio_buffer.append", "audio": audio})

    async def send_event(self, event: dict[str, Any]) -> None:
        """Send one client event."""
        await self._send(json.dumps(event))

    async def _send(self, message: str | bytes) -> None:
        try:
            await self._connection.send(message)
        except ConnectionClosed as error:
            raise _ended(error) from error

    async def receive(self) -> AsyncIterator[bytes | dict[str, Any]]:
        """Audio and events; an audio delta is yielded as an event without audio, then as audio.

        Raises CallEnded with the code and reason with which the connection was closed."""
        try:
            async for message in self._connection:
                if isinstance(message, bytes):
                    yield message
                    continue
                event: dict[str, Any] = json.loads(message)
                pcm = b""
                if event.get("type") in ("response.output_audio.delta", "response.audio.delta"):
                    pcm = base64.b64decode(event.pop("delta"))
                    event["audio_bytes"] = len(pcm)
                yield event
                if pcm:
                    yield pcm
        except ConnectionClosed as error:
            raise _ended(error) from error
        raise _closed(self._connection.close_code, self._connection.close_reason)

    def abandon(self) -> None:
        """Cut the connection."""
        self._connection.transport.abort()

    async def close(self) -> None:
        """Close with code 1000."""
        await self._connection.close()


def _ended(error: ConnectionClosed) -> CallEnded:
    frame = error.rcvd
    return ConnectionLost("connection lost") if frame is None else _closed(frame.code, frame.reason)


def _closed(code: int | None, reason: str | None) -> CallEnded:
    kind = CallEnded if code in _FINAL else ConnectionLost
    return kind(f"closed with {code} {reason or ''}".strip())


def _refused(status: int, body: str) -> CallEnded:
    kind = ConnectionLost if status in _PASSING else CallEnded
    if status == _FULL:
        kind = ServerBusy
    return kind(f"HTTP {status}: {body[:500]}")


# ------------------------------------------------------------------ WebRTC

SETUP_SECONDS = 15.0
MAX_WAITING = 2000
"""Arrivals that may wait to be read; beyond that the call is lost."""


class _Mouth(MediaStreamTrack):
    """The outgoing track, in 20 ms frames; a full queue drops the oldest."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._frames: asyncio.Queue[bytes] = asyncio.Queue(maxsize=10)
        self._position = 0

    def put(self, pcm: bytes) -> None:
        if self._frames.full():
            self._frames.get_nowait()
        self._frames.put_nowait(pcm)

    async def recv(self) -> av.AudioFrame:
        pcm = await self._frames.get()
        samples = np.frombuffer(pcm, dtype="<i2").reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = CLIENT_RATE
        frame.pts = self._position
        frame.time_base = fractions.Fraction(1, CLIENT_RATE)
        self._position += samples.shape[1]
        return frame


_NO_SERVERS = RTCConfiguration(iceServers=[])
"""aiortc's default asks a STUN server on the internet; Blab learns our address from our packets."""


class CallerWebRtc:
    """One peer connection, by unmodified aiortc (its jitter buffer adds about 80 ms)."""

    continuous = True

    def __init__(self) -> None:
        self._peer = RTCPeerConnection(_NO_SERVERS)
        self._mouth = _Mouth()
        self._arrivals: asyncio.Queue[bytes | dict[str, Any] | None] = asyncio.Queue(MAX_WAITING)
        self._opened = asyncio.Event()
        self._failed: CallEnded | None = None
        self._ear: asyncio.Task[None] | None = None
        self._peer.addTrack(self._mouth)
        self._channel = self._peer.createDataChannel("oai-events")
        self._channel.on("open", self._opened.set)
        self._channel.on("message", self._take_message)
        self._channel.on(
            "close", lambda: self._fail(CallEnded("the server closed the data channel"))
        )
        self._peer.on("track", self._take_track)
        self._peer.on("connectionstatechange", self._take_state)

    @classmethod
    async def open(
        cls, url: str, key: str | None, *, resume: str | None = None, agent_id: str | None = None
    ) -> "CallerWebRtc":
        """Call the server at ``url`` (http:// or https://); raises CallEnded. ``resume``: the
        handle of the call that goes on; ``agent_id``: who answers a new one."""
        channel = cls()
        asked = {"resume": resume, "agent_id": agent_id}
        try:
            async with asyncio.timeout(SETUP_SECONDS):
                await channel._connect(url, key, {k: v for k, v in asked.items() if v is not None})
                await channel._opened.wait()
        except TimeoutError:
            await channel.close()
            raise ConnectionLost(f"no WebRTC connection within {SETUP_SECONDS:g} s") from None
        except aiohttp.ClientError as error:
            await channel.close()
            raise ConnectionLost(f"no server answers at {url}: {error}") from error
        except BaseException:
            await channel.close()
            raise
        if channel._failed:
            await channel.close()
            raise channel._failed
        return channel

    async def _connect(self, url: str, key: str | None, params: dict[str, str]) -> None:
        await self._peer.setLocalDescription(await self._peer.createOffer())
        headers = {"Content-Type": "application/sdp"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                f"{url.rstrip('/')}/v1/realtime/calls",
                params=params,
                data=self._peer.localDescription.sdp,
                headers=headers,
            ) as response,
        ):
            body = await response.text()
            if response.status != 201:
                raise _refused(response.status, body)
        await self._peer.setRemoteDescription(RTCSessionDescription(sdp=body, type="answer"))

    async def send_audio(self, pcm: bytes) -> None:
        """Send 20 ms of PCM16."""
        self._check()
        self._mouth.put(pcm)

    async def send_event(self, event: dict[str, Any]) -> None:
        """Send one client event on the data channel."""
        self._check()
        self._channel.send(json.dumps(event))

    async def receive(self) -> AsyncIterator[bytes | dict[str, Any]]:
        """Audio (continuous, silence included) and events."""
        while (arrival := await self._arrivals.get()) is not None:
            yield arrival
        raise self._failed or CallEnded("hung up")

    def abandon(self) -> None:
        """Leave the peer connection as it is."""
        self._fail(ConnectionLost("the server does not answer"))

    async def close(self) -> None:
        """Close the peer connection."""
        self._fail(CallEnded("hung up"))
        if self._ear is not None:
            self._ear.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ear
        await self._peer.close()

    # ------------------------------------------------------------------ arrivals

    def _check(self) -> None:
        if self._failed:
            raise self._failed

    def _take_state(self) -> None:
        state = self._peer.connectionState
        if state in ("failed", "closed"):
            kind = ConnectionLost if state == "failed" else CallEnded
            self._fail(kind(f"the WebRTC connection is {state}"))

    def _take_message(self, message: str | bytes) -> None:
        try:
            event = json.loads(message)
        except ValueError:
            self._fail(CallEnded("the server sent an event that is not JSON"))
            return
        self._put(event)

    def _take_track(self, track: MediaStreamTrack) -> None:
        if self._ear is None:
            self._ear = asyncio.create_task(self._hear(track), name="caller-webrtc-ear")

    async def _hear(self, track: MediaStreamTrack) -> None:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=CLIENT_RATE)
        with contextlib.suppress(MediaStreamError):
            while True:
                heard = await track.recv()
                if isinstance(heard, av.AudioFrame):
                    for frame in resampler.resample(heard):
                        self._put(frame.to_ndarray()[0].astype("<i2").tobytes())

    def _put(self, arrival: bytes | dict[str, Any]) -> None:
        if self._arrivals.qsize() >= MAX_WAITING - 1:
            self._fail(CallEnded(f"{MAX_WAITING} arrivals were not read"))
        elif not self._failed:
            self._arrivals.put_nowait(arrival)

    def _fail(self, why: CallEnded) -> None:
        if self._failed is None:
            self._failed = why
            self._opened.set()
            with contextlib.suppress(asyncio.QueueFull):
                self._arrivals.put_nowait(None)
