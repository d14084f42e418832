"""Speech jobs: what to speak and how, whether that is possible, and doing it.

A refusal is found before any work starts: ``choose`` returns who speaks, or raises why nobody can.

``TtsKind`` makes an audio file of a text, a take. It records exactly what was spoken: ``script`` is
billed by its length. Between the engine and the object store lies a file on disk: memory never
holds the whole audio.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import msgspec
from msgspec import Struct

from media.files.encode import Encoder
from media.formats import SAMPLE_BYTES, milliseconds_of
from media.loudness import normalise
from pipelines.decoding import carried_out
from pipelines.engines.base import ChatModel, ModelUnavailable, Speaker
from pipelines.engines.catalogue import Catalogue
from pipelines.engines.jobs import UNKNOWN, SpeechChoice
from pipelines.engines.reading.text import unspoken
from pipelines.jobs.artifacts import Artifacts
from pipelines.jobs.job import ApiWarning, JobFailed, JobResult, JobRun, JobType, Unit
from store.tenants.voices import Voices

from .delivery import Delivery, Prepared, prepare, reported
from .script import recite

STABLE, EXPRESSIVE = "blab-stable", "blab-expressive"
EXPRESSIVE_FORMATS = ("mp3", "wav")
DEFAULT_VOICE = "default"
MAX_SHOWN = 100
"""Characters of the unspeakable part that a warning quotes."""


class UnknownVoice(Exception):
    """The workspace has no such voice, builtin or cloned."""


class Unspeakable(Exception):
    """The model cannot do what was requested; ``param`` names the field."""

    def __init__(self, message: str, param: str) -> None:
        super().__init__(message)
        self.param = param


class SpeechOrder(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything a speech job needs. ``language`` has been determined; ``emotion``: 0..100."""

    model: str
    input: str
    language: str
    voice: str = DEFAULT_VOICE
    format: str = "mp3"
    speed: float = 1.0
    delivery: str = "verbatim"
    polish: bool = False
    emotion: int | None = None


def check_limits(order: SpeechOrder, *, streaming: bool = False) -> None:
    """Raise Unspeakable for what the order's model does not do, by the contract."""
    if order.model == EXPRESSIVE:
        if streaming:
            raise Unspeakable(f"{EXPRESSIVE} does not stream: use {STABLE}.", "model")
        if order.format not in EXPRESSIVE_FORMATS:
            raise Unspeakable(
                f"{EXPRESSIVE} makes {' and '.join(EXPRESSIVE_FORMATS)} only.", "response_format"
            )
    elif order.emotion is not None:
        raise Unspeakable(f"emotion is for {EXPRESSIVE} only.", "emotion")


def unspoken_part(engines: Catalogue, choice: SpeechChoice, script: str) -> ApiWarning | None:
    """A warning about the parts of a script that the voice has no sounds for, and leaves out; None
    if there are none, or if the voice is an upstream's, of which this is not known.

    Raises Unspeakable if nothing is left."""
    if engines.speech_engine(choice).quality == UNKNOWN:
        return None
    lost = unspoken(script, choice.language)
    if not lost:
        return None
    shown = " ".join(lost)
    shown = f"{shown[:MAX_SHOWN]} …" if len(shown) > MAX_SHOWN else shown
    message = f"A voice for {choice.language!r} has no sounds for this and leaves it out: {shown}"
    letters = sum(map(str.isalnum, script))
    if sum(map(str.isalnum, "".join(lost))) == letters:
        raise Unspeakable(f"{message}. Nothing is left to say: send its language.", "input")
    return ApiWarning("text_not_spoken", message, "input")


async def choose(
    workspace_id: str, order: SpeechOrder, engines: Catalogue, cloned: Voices
) -> SpeechChoice:
    """Who speaks; raises UnknownVoice, ModelUnavailable and StoreError."""
    recipe = None
    voice = order.voice
    if voice != DEFAULT_VOICE and all(info.id != voice for info in engines.voices(order.model)):
        found = await cloned.get(workspace_id, voice)
        if found is None:
            # a missing model is the better reason, if that is missing too
            engines.check_speech(SpeechChoice(order.model, order.language))
            raise UnknownVoice(voice)
        voice, recipe = DEFAULT_VOICE, found.recipe
    choice = SpeechChoice(
        order.model, order.language, voice=voice, recipe=recipe, emotion=order.emotion
    )
    engines.check_speech(choice)
    return choice


async def choose_in_job(
    run: JobRun, order: SpeechOrder, engines: Catalogue, cloned: Voices
) -> SpeechChoice:
    """As ``choose``, in a job's run: the request was checked, but voices and engines may be gone
    by now. Raises JobFailed, ModelUnavailable and StoreError."""
    try:
        check_limits(order)
        return await choose(run.workspace_id, order, engines, cloned)
    except UnknownVoice as error:
        raise JobFailed("NOT_FOUND", "The voice does not exist any more.") from error
    except Unspeakable as error:
        raise JobFailed("MODEL_UNAVAILABLE", str(error), {"path": error.param}) from error


CONCURRENCY = 2
DEADLINE_SECONDS = 6 * 3600.0
_PREPARED_PERCENT = 5
_SPOKEN_PERCENT = 95


Polish = Callable[[Path, Path, int], Awaitable[None]]
"""From a file of PCM16 mono to another, at the given rate in Hz."""


async def polish(source: Path, target: Path, rate: int) -> None:
    """The broadcast chain (``media.loudness``) as a Polish; the length stays the same to the
    sample. Raises OSError; cancelling stops the work within a second of audio."""
    await carried_out(lambda: normalise(source, target, rate))


CONTENT_TYPES = {
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
}


class TtsKind:
    """Jobs of type ``tts``; the input is a SpeechOrder."""

    type = JobType.TTS
    concurrency = CONCURRENCY
    deadline = DEADLINE_SECONDS

    def __init__(
        self,
        engines: Catalogue,
        cloned: Voices,
        artifacts: Artifacts,
        polish: Polish | None = None,
    ) -> None:
        self._engines = engines
        self._cloned = cloned
        self._artifacts = artifacts
        self._polish = polish

    async def run(self, run: JobRun) -> JobResult:
        """Speak, encode, store; raises JobFailed and EngineError."""
        order = msgspec.convert(run.input, SpeechOrder)
        if order.polish and self._polish is None:
            raise JobFailed("MODEL_UNAVAILABLE", "No polish chain is installed here.")
        choice = await choose_in_job(run, order, self._engines, self._cloned)
        speaker = await self._engines.speech(choice)
        prepared = await self._prepare(order)
        if missed := reported(cast(Delivery, order.delivery), prepared):
            run.warn("delivery_not_applied", missed, "delivery")
        if lost := self._lost(choice, prepared.script):
            run.warn(lost.code, lost.message, lost.path)
        await run.progress(_PREPARED_PERCENT)
        with tempfile.TemporaryDirectory(prefix="blab-tts-") as folder:
            raw = Path(folder) / "raw.pcm"
            size = await self._speak(run, order, speaker, prepared.script, raw)
            if not size:
                raise JobFailed("PROVIDER_ERROR", "The engine produced no sound for this text.")
            if order.polish and self._polish is not None:
                polished = Path(folder) / "polished.pcm"
                await self._polish(raw, polished, speaker.sample_rate)
                raw, size = polished, polished.stat().st_size
            made = Path(folder) / f"take.{order.format}"
            samples = size // SAMPLE_BYTES
            encoder = Encoder(order.format, speaker.sample_rate, samples)
            await asyncio.to_thread(_encode, encoder, raw, made)
            duration = milliseconds_of(samples, speaker.sample_rate)
            key = await self._artifacts.store(
                run.workspace_id,
                run.id,
                made.name,
                made,
                CONTENT_TYPES[order.format],
                duration_ms=duration,
            )
        output = _take(order, speaker, prepared) | {"audioKey": key, "durationMs": duration}
        unit = Unit(
            f"{run.id}:tts",
            "tts",
            order.model,
            tokens=len(prepared.script),
            audio_ms=duration,
        )
        return JobResult(output, (unit,))

    def _lost(self, choice: SpeechChoice, script: str) -> ApiWarning | None:
        try:
            return unspoken_part(self._engines, choice, script)
        except Unspeakable as error:
            raise JobFailed("VALIDATION_ERROR", str(error), {"path": error.param}) from error

    async def _prepare(self, order: SpeechOrder) -> Prepared:
        chat: ChatModel | None = None
        if order.delivery != "verbatim":
            with contextlib.suppress(ModelUnavailable):
                chat = await self._engines.chat("default")
        return await prepare(order.input, order.language, cast(Delivery, order.delivery), chat)

    async def _speak(
        self, run: JobRun, order: SpeechOrder, speaker: Speaker, script: str, path: Path
    ) -> int:
        size = 0
        sounds = recite(speaker, script, speed=order.speed, language=order.language)
        with path.open("wb") as file:
            async with contextlib.aclosing(sounds):
                async for sound in sounds:
                    await asyncio.to_thread(file.write, sound.pcm)
                    size += len(sound.pcm)
                    share = min(1.0, sound.said / len(script))
                    span = _SPOKEN_PERCENT - _PREPARED_PERCENT
                    await run.progress(_PREPARED_PERCENT + int(span * share))
        return size


def _take(order: SpeechOrder, speaker: Speaker, prepared: Prepared) -> dict[str, Any]:
    take: dict[str, Any] = {
        "format": order.format,
        "sampleRate": speaker.sample_rate,
        "model": order.model,
        "voice": order.voice,
        "language": order.language,
        "script": prepared.script,
        "characters": len(prepared.script),
        "delivery": prepared.applied,
        "polished": order.polish,
    }
    if prepared.by is not None:
        take["deliveryBy"] = prepared.by
    if prepared.reason is not None:
        take["deliveryFallback"] = prepared.reason
    return take


def _encode(encoder: Encoder, source: Path, target: Path) -> None:
    with source.open("rb") as pcm, target.open("wb") as file:
        while block := pcm.read(1 << 16):
            file.write(encoder.push(block))
        file.write(encoder.finish())
