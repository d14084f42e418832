"""Makes lines audible: recordings are read, texts spoken by the server's own ``/v1/audio/speech``.

Rules
- Spoken texts are kept in a private folder below the system's temporary one, named by a hash of
  server, voice, language and text, so that the next run says the same audio. Whoever changes the
  server's voices deletes the folder.
- A server that is busy, or limits the rate, is asked again after as long as it says, for
  ``SPEECH_SECONDS`` in all.
- Where the server cannot speak a text, the call fails (VoiceFault): nothing else is said instead.
"""

import asyncio
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import numpy as np
from msgspec import UnsetType

from gateway.caller import Recording
from gateway.caller.audio import Samples
from gateway.caller.channels import CLIENT_RATE
from gateway.simulation.scenarios import Line, Scenario

SPEECH_SECONDS = 60.0
MAX_AUDIO_BYTES = 50_000_000


class VoiceFault(Exception):
    """A line that cannot be said; the message says which and why."""


def kept_folder() -> Path:
    """The folder of spoken texts, made for this user alone; raises VoiceFault where it is not."""
    folder = Path(tempfile.gettempdir()) / f"blab-simulate-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise VoiceFault(f"{folder} cannot be made: {error.strerror}") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise VoiceFault(f"{folder} belongs to somebody else: remove it, or set TMPDIR")
    return folder


class Voice:
    """Speaks lines for callers of the server at ``url``. Each text is requested once."""

    def __init__(self, url: str, key: str | None, folder: Path) -> None:
        """``folder``: where spoken texts are kept; ``key``: an API key with ``tts:write``."""
        self._url = url.rstrip("/")
        self._key = key
        self._folder = folder
        self._one_at_a_time = asyncio.Lock()

    async def recording(self, scenario: Scenario, line: Line, base: Path) -> Recording:
        """A line as it is said, its pauses included; ``base``: the folder of its recordings.

        Raises VoiceFault."""
        pieces: list[Samples] = []
        for part in line.parts:
            if isinstance(part, int):
                pieces.append(np.zeros(part * CLIENT_RATE // 1000, np.int16))
            else:
                written = not isinstance(line.say, UnsetType)
                path = await self._spoken(scenario, line, part) if written else base / part
                pieces.append(await _read(path))
        return Recording.of(joined(pieces), CLIENT_RATE)

    async def _spoken(self, scenario: Scenario, line: Line, text: str) -> Path:
        body = {"model": "default", "input": text, "response_format": "wav"}
        for name, own in (("voice", scenario.voice), ("language", scenario.language)):
            given = getattr(line, name)
            if isinstance(chosen := given if isinstance(given, str) else own, str):
                body[name] = chosen
        if body.get("language") == "auto":
            del body["language"]
        digest = hashlib.sha256(json.dumps([self._url, body]).encode()).hexdigest()
        path = self._folder / f"{digest[:32]}.wav"
        async with self._one_at_a_time:
            if not path.exists():
                draft = path.with_suffix(".new")
                await asyncio.to_thread(draft.write_bytes, await self._speak(body))
                draft.replace(path)
        return path

    async def _speak(self, body: dict[str, str]) -> bytes:
        shown = f"{body['input'][:60]!r} cannot be spoken"
        if self._key is None:
            raise VoiceFault(f"{shown}: written lines need --key, an API key with tts:write")
        loop = asyncio.get_running_loop()
        deadline = loop.time() + SPEECH_SECONDS
        timeout = aiohttp.ClientTimeout(total=SPEECH_SECONDS)
        headers = {"Authorization": f"Bearer {self._key}"}
        try:
            async with aiohttp.ClientSession(timeout=timeout, headers=headers) as http:
                while True:
                    async with http.post(f"{self._url}/v1/audio/speech", json=body) as response:
                        if response.status == 200:
                            return await _at_most(response, MAX_AUDIO_BYTES, shown)
                        words = (await response.text())[:300]
                        pause = _pause(response)
                    if response.status not in _BUSY or loop.time() + pause > deadline:
                        raise VoiceFault(f"{shown}: HTTP {response.status}: {words}")
                    await asyncio.sleep(pause)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise VoiceFault(f"{shown}: {error or 'no answer'}") from error


_BUSY = (429, 503)


def _pause(response: aiohttp.ClientResponse) -> float:
    """Seconds after which to ask again."""
    said = response.headers.get("Retry-After", "")
    return float(said) if said.isascii() and said.isdigit() and len(said) < 6 else 2.0


async def _at_most(response: aiohttp.ClientResponse, limit: int, shown: str) -> bytes:
    audio = bytearray()
    async for chunk in response.content.iter_chunked(1 << 16):
        audio += chunk
        if len(audio) > limit:
            raise VoiceFault(f"{shown}: the server sent more than {limit} bytes")
    return bytes(audio)


async def _read(path: Path) -> Samples:
    try:
        return (await asyncio.to_thread(Recording.read, path, CLIENT_RATE)).samples
    except (OSError, ValueError) as error:
        raise VoiceFault(f"{path} cannot be read: {error}") from error


def joined(pieces: Sequence[Samples]) -> Samples:
    """All of them, one after the other."""
    return np.concatenate([np.zeros(0, np.int16), *pieces])


def noise(dbfs: float) -> Samples:
    """Ten seconds of noise of that RMS, softer by 3 dB an octave as a room is (pink); always the
    same."""
    count = 10 * CLIENT_RATE
    spectrum = np.fft.rfft(np.random.default_rng(1).normal(size=count))
    frequencies = np.fft.rfftfreq(count, 1 / CLIENT_RATE)
    spectrum[frequencies < 60] = 0
    spectrum[1:] /= np.sqrt(frequencies[1:])
    shaped = np.fft.irfft(spectrum, count)
    shaped *= 32768 * 10 ** (dbfs / 20) / np.sqrt(np.mean(shaped**2))
    return np.clip(np.rint(shaped), -32768, 32767).astype(np.int16)
