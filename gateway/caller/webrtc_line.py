"""A call over WebRTC: ``POST /v1/realtime/calls``, events on data channel ``oai-events``."""

import asyncio
import contextlib
import fractions
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import av
import numpy as np
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

from gateway.caller.line import CLIENT_RATE, LineClosed

SETUP_SECONDS = 15.0
MAX_WAITING = 2000
"""Arrivals that may wait to be taken; a caller that takes nothing loses the call."""


class _Mouth(MediaStreamTrack):
    """The outgoing track: 20 ms frames as they are put; a full queue drops the oldest."""

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


class WebRtcLine:
    """One peer connection, by aiortc as it comes (its jitter buffer adds about 80 ms)."""

    continuous = True

    def __init__(self) -> None:
        self._peer = RTCPeerConnection()
        self._mouth = _Mouth()
        self._arrivals: asyncio.Queue[bytes | dict[str, Any] | None] = asyncio.Queue(MAX_WAITING)
        self._opened = asyncio.Event()
        self._failed: str | None = None
        self._ear: asyncio.Task[None] | None = None
        self._peer.addTrack(self._mouth)
        self._channel = self._peer.createDataChannel("oai-events")
        self._channel.on("open", self._opened.set)
        self._channel.on("message", self._take_message)
        self._channel.on("close", lambda: self._fail("the server closed the data channel"))
        self._peer.on("track", self._take_track)
        self._peer.on("connectionstatechange", self._take_state)

    @classmethod
    async def open(cls, url: str, key: str | None) -> "WebRtcLine":
        """Call the server at ``url`` (http:// or https://); raises LineClosed."""
        line = cls()
        try:
            async with asyncio.timeout(SETUP_SECONDS):
                await line._connect(url, key)
                await line._opened.wait()
        except TimeoutError:
            await line.close()
            raise LineClosed(f"no WebRTC connection within {SETUP_SECONDS:g} s") from None
        except aiohttp.ClientError as error:
            await line.close()
            raise LineClosed(f"no server answers at {url}: {error}") from error
        except BaseException:
            await line.close()
            raise
        if line._failed:
            await line.close()
            raise LineClosed(line._failed)
        return line

    async def _connect(self, url: str, key: str | None) -> None:
        await self._peer.setLocalDescription(await self._peer.createOffer())
        headers = {"Content-Type": "application/sdp"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                f"{url.rstrip('/')}/v1/realtime/calls",
                data=self._peer.localDescription.sdp,
                headers=headers,
            ) as response,
        ):
            body = await response.text()
            if response.status != 201:
                raise LineClosed(f"HTTP {response.status}: {body[:500]}")
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
        raise LineClosed(self._failed or "hung up")

    async def close(self) -> None:
        """Close the peer connection."""
        self._fail("hung up")
        if self._ear is not None:
            self._ear.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ear
        await self._peer.close()

    # ------------------------------------------------------------------ arrivals

    def _check(self) -> None:
        if self._failed:
            raise LineClosed(self._failed)

    def _take_state(self) -> None:
        if self._peer.connectionState in ("failed", "closed"):
            self._fail(f"the WebRTC connection is {self._peer.connectionState}")

    def _take_message(self, message: str | bytes) -> None:
        try:
            event = json.loads(message)
        except ValueError:
            self._fail("the server sent an event that is no JSON")
            return
        self._put(event)

    def _take_track(self, track: MediaStreamTrack) -> None:
        if self._ear is None:
            self._ear = asyncio.create_task(self._hear(track), name="webrtc-line-ear")

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
            self._fail(f"{MAX_WAITING} arrivals were not taken")
        elif not self._failed:
            self._arrivals.put_nowait(arrival)

    def _fail(self, reason: str) -> None:
        if self._failed is None:
            self._failed = reason
            self._opened.set()
            with contextlib.suppress(asyncio.QueueFull):
                self._arrivals.put_nowait(None)
