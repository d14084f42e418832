"""PicoSpeaker: the embedded voices for German, Spanish, French, Italian and British English.

Rules
- Pico runs in a child process (see ``pico_worker``), started on load and restarted whenever it was
  lost. One phrase at a time; ``queue_limit`` wait, one more is refused with EngineBusy.
- A phrase that takes longer than its deadline ends the child, not the engine.
- Closing a phrase early lets the child finish it (10-20 ms) and discards the audio.
"""

import asyncio
import json
import logging
import re
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import numpy as np

from pipelines.engines.base import EngineBusy, EngineFailed, EngineTimeout
from pipelines.engines.engine import Engine, EngineSettings, Role
from pipelines.engines.jobs import VoiceInfo

from .read_aloud import Manner, gain_of, own_voice, pause_after, read_aloud, speakable, trimmed

log = logging.getLogger(__name__)

SAMPLE_RATE = 16_000
WORKER = Path(__file__).with_name("pico_worker.py")
VOICES = {"de": "de-DE", "en": "en-GB", "es": "es-ES", "fr": "fr-FR", "it": "it-IT"}
"""Language to the name of its voice."""
LANGUAGES = {voice: language for language, voice in VOICES.items()}

PHRASE_DEADLINE = 10.0
CLOSE_DEADLINE = 2.0
MARKUP = re.compile(r"[<>\x00-\x1f]+")
"""Pico obeys tags in angle brackets; text must not contain any."""

SENTENCES = re.compile(r"(?<=[.!?…])\s+")


class PicoSpeaker:
    """A Speaker on a child process; see ``load``."""

    sample_rate = SAMPLE_RATE

    def __init__(
        self,
        model_id: str = "pico",
        *,
        queue_limit: int = 16,
        deadline: float = PHRASE_DEADLINE,
        worker: Path = WORKER,
    ) -> None:
        self.model_id = model_id
        self.voices: tuple[str, ...] = ("default", *VOICES.values())
        self._queue_limit = queue_limit
        self._deadline = deadline
        self._worker = worker
        self._pending = 0
        self._turn = asyncio.Lock()
        self._child: Process | None = None
        self._exchanges: set[asyncio.Task[bytes]] = set()
        self._closed = False

    @classmethod
    async def load(cls, model_id: str = "pico") -> "PicoSpeaker":
        """Start the child and speak once in it. Raises EngineFailed, EngineTimeout."""
        speaker = cls(model_id)
        try:
            await speaker._phrase("Hallo.", "de-DE", 1.0)
        except EngineFailed:
            await speaker.close()
            raise
        return speaker

    async def speak(
        self, text: str, *, voice: str = "default", speed: float = 1.0, language: str = "en"
    ) -> AsyncGenerator[bytes, None]:
        """Yield one PCM16 chunk per sentence; ``voice`` overrides ``language``.

        Raises EngineBusy, EngineTimeout, EngineFailed (also for an unknown voice or language)."""
        name = self._voice(voice, language)
        manner = Manner(LANGUAGES[name], SAMPLE_RATE, speed, gain_of("pico", name))

        def say(piece: str, own: float) -> AsyncGenerator[bytes, None]:
            return self.raw(piece, name, own)

        async with aclosing(read_aloud(text, manner, say)) as audio:
            async for pcm in audio:
                yield pcm

    async def raw(self, text: str, voice: str, speed: float = 1.0) -> AsyncGenerator[bytes, None]:
        """The sentences of ``text`` as Pico speaks them."""
        for sentence in SENTENCES.split(MARKUP.sub(" ", text)):
            if speakable(sentence):
                pcm = await self._phrase(sentence, voice, speed)
                if pcm:
                    yield pcm

    async def close(self) -> None:
        """End the child and every phrase in progress."""
        self._closed = True
        for task in tuple(self._exchanges):
            task.cancel()
        await asyncio.gather(*self._exchanges, return_exceptions=True)
        await self._end_child()

    def _voice(self, voice: str, language: str) -> str:
        voice = own_voice(voice)
        name = VOICES.get(language.lower().split("-")[0]) if voice == "default" else voice
        if name is None or name not in VOICES.values():
            wanted = f"voice {voice!r}" if name else f"voice for language {language!r}"
            raise EngineFailed(f"{self.model_id} has no {wanted}; it has: {', '.join(self.voices)}")
        return name

    async def _phrase(self, text: str, voice: str, speed: float) -> bytes:
        """The trimmed audio of one sentence."""
        if self._closed:
            raise EngineFailed(f"{self.model_id}: the engine is shut down")
        if self._pending > self._queue_limit:
            raise EngineBusy(f"{self.model_id}: {self._pending} phrases are waiting; try later")
        self._pending += 1
        request = json.dumps([text, voice, None if speed == 1.0 else speed]).encode() + b"\n"
        task = asyncio.create_task(self._exchange(request), name=f"{self.model_id} phrase")
        self._exchanges.add(task)
        task.add_done_callback(self._finished)
        pcm = await asyncio.shield(task)
        samples = np.frombuffer(pcm, "<i2")
        return trimmed(samples, SAMPLE_RATE, pause_after(text)).tobytes()

    def _finished(self, task: asyncio.Task[bytes]) -> None:
        self._pending -= 1
        self._exchanges.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("%s: %s", self.model_id, error)

    async def _exchange(self, request: bytes) -> bytes:
        """One request and its answer; a task of its own, so that a cancelled listener does not
        leave half an answer in the pipe."""
        try:
            async with asyncio.timeout(self._deadline), self._turn:
                try:
                    return await self._ask(request)
                except (OSError, EOFError, ValueError) as error:
                    await self._end_child()
                    raise EngineFailed(f"{self.model_id}: the voice stopped working") from error
                except asyncio.CancelledError:
                    await self._end_child()
                    raise
        except TimeoutError:
            raise EngineTimeout(f"{self.model_id}: no audio in {self._deadline:g} s") from None

    async def _ask(self, request: bytes) -> bytes:
        child = await self._started()
        assert child.stdin is not None and child.stdout is not None  # noqa: S101, PT018 - pipes
        child.stdin.write(request)
        await child.stdin.drain()
        answer = json.loads(await child.stdout.readline())
        if "error" in answer:
            raise EngineFailed(f"{self.model_id}: the voice failed ({answer['error']})")
        return await child.stdout.readexactly(answer["bytes"])

    async def _started(self) -> Process:
        """The running child, a new one if the last has exited."""
        if self._child is None or self._child.returncode is not None:
            await self._end_child()
            self._child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                str(self._worker),
                stdin=PIPE,
                stdout=PIPE,
                start_new_session=True,
            )
        return self._child

    async def _end_child(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        if child.returncode is None:
            child.kill()
        if child.stdin is not None:
            child.stdin.close()
        async with asyncio.timeout(CLOSE_DEADLINE):
            await child.wait()


async def _load(_settings: EngineSettings) -> PicoSpeaker:
    return await PicoSpeaker.load()


ENGINE = Engine(
    role=Role.SPEECH,
    id="pico",
    languages=tuple(VOICES),
    voices=(
        VoiceInfo("en-GB", "Pico English", "en-GB", "pico", "female"),
        VoiceInfo("de-DE", "Pico Deutsch", "de-DE", "pico", "female"),
        VoiceInfo("es-ES", "Pico Español", "es-ES", "pico", "female"),
        VoiceInfo("fr-FR", "Pico Français", "fr-FR", "pico", "female"),
        VoiceInfo("it-IT", "Pico Italiano", "it-IT", "pico", "female"),
    ),
    monolingual_voices=True,
    load=_load,
)
