"""The engines, timed one after the other, with nothing else going on.

They hear speech that the embedded voice makes (noise without a live voice). A figure above
``LIMITS`` is felt in a conversation.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing

import numpy as np

from media.formats import HEARING_RATE, SAMPLE_BYTES
from media.resample import Resampler
from media.vad import CONTEXT, WINDOW
from pipelines.engines.base import ChatMessage, EngineError
from pipelines.engines.catalogue import Catalogue
from pipelines.engines.engine import DEFAULT, NEEDED, Role

from .findings import Finding, Verdict

PROBE = "What is the capital of France?"
LIMITS = {
    Role.VAD: 0.005,
    Role.TURN: 0.15,
    Role.STREAMING_TRANSCRIPTION: 0.5,
    Role.TRANSCRIPTION: 0.5,
    Role.CHAT: 1.0,
    Role.SPEECH: 0.2,
}
"""Seconds: a window, a judgement, an utterance, an utterance, a first token, a first sound."""
MEANING = {
    Role.VAD: "for a window of 32 ms",
    Role.TURN: "for a judgement",
    Role.STREAMING_TRANSCRIPTION: "for an utterance, all of it at once",
    Role.TRANSCRIPTION: "for an utterance",
    Role.CHAT: "to the first token",
    Role.SPEECH: "to the first sound",
}
DEADLINE = 60.0


async def time_engines(engines: Catalogue) -> list[Finding]:
    """A finding for each of ``engines``, which are loaded and closed here."""
    try:
        await engines.start()
        await engines.complete()
        pcm = await _probe(engines)
        seconds = {role: await _timed(role, engines, pcm) for role in LIMITS}
        return _findings(engines, seconds)
    finally:
        await engines.close()


def _findings(engines: Catalogue, seconds: dict[Role, float | None]) -> list[Finding]:
    findings = []
    timed: set[Role] = set()
    for status in engines.statuses():
        subject = f"engine {status.model_id}"
        role = str(status.role).replace("_", " ")
        if not status.live:
            needed = status.role in NEEDED and not any(
                other.live for other in engines.statuses() if other.role is status.role
            )
            verdict = Verdict.MISSING if needed else Verdict.NOTE
            findings.append(Finding(subject, verdict, f"{role}: {status.reason}"))
            continue
        detail = f"{role}, live" if status.loaded else f"{role}, loaded when a job needs it"
        verdict = Verdict.OK
        skip = status.role in timed or status.upstream or not status.loaded
        taken = None if skip else seconds.get(status.role)
        timed.add(status.role)
        if taken is not None:
            detail += f", {taken * 1000:.1f} ms {MEANING[status.role]}"
            verdict = Verdict.SLOW if taken > LIMITS[status.role] else Verdict.OK
        if status.load_seconds:
            detail += f", loaded in {status.load_seconds:.1f} s"
        if status.note:
            detail += f". {status.note}"
        findings.append(Finding(subject, verdict, detail))
    return findings


async def _timed(role: Role, engines: Catalogue, pcm: bytes) -> float | None:
    """The better of two runs; None where there is nothing to time."""
    work: dict[Role, Callable[[Catalogue, bytes], Awaitable[float]]] = {
        Role.VAD: _vad,
        Role.TURN: _turn,
        Role.STREAMING_TRANSCRIPTION: _hearing,
        Role.TRANSCRIPTION: _transcription,
        Role.CHAT: _chat,
        Role.SPEECH: _speech,
    }
    try:
        async with asyncio.timeout(DEADLINE):
            return min([await work[role](engines, pcm) for _ in range(2)])
    except (EngineError, TimeoutError):
        return None


async def _probe(engines: Catalogue) -> bytes:
    try:
        speaker = engines.speaker(DEFAULT, "en")
        async with aclosing(speaker.speak(PROBE)) as speech:
            pcm = b"".join([bytes(piece) async for piece in speech])
        return bytes(Resampler(speaker.sample_rate, HEARING_RATE).push(pcm))
    except EngineError:
        noise = np.random.default_rng(1).standard_normal(2 * HEARING_RATE) * 2000
        return noise.astype("<i2").tobytes()


async def _vad(engines: Catalogue, pcm: bytes) -> float:
    model = engines.vad_model
    samples = np.frombuffer(pcm, "<i2")[: 20 * (CONTEXT + WINDOW)]
    windows = samples.astype(np.float32) / np.float32(32768)
    state = model.initial_state()
    began = time.perf_counter()
    for window in windows.reshape(-1, 1, CONTEXT + WINDOW):
        _, state = model.run(window, state)
    return (time.perf_counter() - began) / 20


async def _turn(engines: Catalogue, pcm: bytes) -> float:
    began = time.perf_counter()
    await engines.turn_detector.score(pcm)
    return time.perf_counter() - began


async def _hearing(engines: Catalogue, pcm: bytes) -> float:
    step = HEARING_RATE // 10 * SAMPLE_BYTES
    stream = await engines.streaming_transcriber(DEFAULT).open()
    try:
        began = time.perf_counter()
        for begin in range(0, len(pcm), step):
            await stream.accept(pcm[begin : begin + step])
        await stream.finish()
        return time.perf_counter() - began
    finally:
        stream.close()


async def _transcription(engines: Catalogue, pcm: bytes) -> float:
    began = time.perf_counter()
    await engines.transcriber(DEFAULT).transcribe(pcm)
    return time.perf_counter() - began


async def _chat(engines: Catalogue, pcm: bytes) -> float:  # noqa: ARG001 - one signature for all
    began = time.perf_counter()
    answer = (await engines.chat(DEFAULT)).stream((ChatMessage("user", PROBE),), max_tokens=8)
    async with aclosing(answer):
        async for delta in answer:
            if delta.text:
                break
    return time.perf_counter() - began


async def _speech(engines: Catalogue, pcm: bytes) -> float:  # noqa: ARG001 - one signature for all
    began = time.perf_counter()
    async with aclosing(engines.speaker(DEFAULT, "en").speak(PROBE)) as speech:
        async for _ in speech:
            break
    return time.perf_counter() - began
