"""DubbingKind: a recording or a video speaks another language.

It is transcribed, cut into lines, translated, spoken with the target voice in the time of the
original, and mixed over the original, which is lowered meanwhile. A video's pictures stay as they
are. Between the steps everything is on disk: only the transcript of a long recording is in memory.
"""

import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from media.files.isolated import probe
from media.files.limits import DEFAULT_LIMITS, MediaError, MediaLimits
from media.formats import HEARING_RATE, milliseconds_of
from pipelines.decoding import decoded
from pipelines.engines.base import EngineFailed, ModelUnavailable
from pipelines.engines.catalogue import Catalogue
from pipelines.engines.jobs import SpeechChoice, Translator
from pipelines.jobs.artifacts import Artifacts
from pipelines.jobs.job import JobFailed, JobResult, JobRun, JobType, Progress, Unit
from pipelines.speech.job import DEFAULT_VOICE, STABLE, SpeechOrder, choose_in_job
from pipelines.transcription.job import hear
from pipelines.transcription.timed_text import TimedSegment
from store.database import storable
from store.tenants.voices import Voices

from .track import DubbingFiles, SpeechTrack, SpokenLine
from .translation import fault, lines_of

CONCURRENCY = 1
DEADLINE_SECONDS = 12 * 3600.0
HEARING_MODEL = "default"
TRANSLATE_MODEL = "verinova-stable"
_SHOWN = 80
"""Characters of a line that a warning quotes."""
_FAILURES_IN_A_ROW = 5
"""Failures of the translator after which it counts as broken."""
_UNKNOWN_MS = 600_000
"""Assumed to lie ahead if the recording's length is unknown, so that progress never stops."""
_HEARD, _TRANSLATED, _SPOKEN, _MIXED, _STORED = 35, 50, 85, 92, 99
"""Percent done after these steps."""


class DubbingOrder(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Everything a dubbing needs. ``source_key``: the recording; ``source_language`` None:
    detected. Languages are without a region."""

    source_key: str
    file_name: str
    target_language: str
    source_language: str | None = None
    voice: str = DEFAULT_VOICE
    model: str = STABLE
    translate_model: str = TRANSLATE_MODEL
    format: str = "mp3"
    allow_draft: bool = False
    """Whether a translation by a chat model will do."""

    def speech(self) -> SpeechOrder:
        """Its speech, except for the text."""
        return SpeechOrder(
            model=self.model,
            input="",
            language=self.target_language,
            voice=self.voice,
            format=self.format,
        )


@dataclass(frozen=True, slots=True)
class Recording:
    """A transcribed recording. ``language`` without a region; ``model``: the transcriber's."""

    segments: tuple[TimedSegment, ...]
    language: str
    duration_ms: int
    model: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line: the original, its translation, and where that is heard (None: nowhere, the original
    stays). ``problem``: why."""

    original: TimedSegment
    text: str
    spoken: SpokenLine | None = None
    problem: str | None = None


class DubbingKind:
    """Jobs of type ``dubbing``; the input is a DubbingOrder."""

    type = JobType.DUBBING
    concurrency = CONCURRENCY
    deadline = DEADLINE_SECONDS

    def __init__(
        self,
        engines: Catalogue,
        cloned: Voices,
        artifacts: Artifacts,
        limits: MediaLimits = DEFAULT_LIMITS,
    ) -> None:
        self._engines = engines
        self._cloned = cloned
        self._artifacts = artifacts
        self._limits = limits

    async def run(self, run: JobRun) -> JobResult:
        """Dub the recording; raises JobFailed, EngineError and StoreError."""
        order = msgspec.convert(run.input, DubbingOrder)
        choice = await choose_in_job(run, order.speech(), self._engines, self._cloned)
        with tempfile.TemporaryDirectory(prefix="blab-dubbing-") as folder:
            source = Path(folder) / "source"
            await self._artifacts.fetch_in_job(run, order.source_key, source, "recording")
            try:
                return await self._dub(run, order, choice, source)
            except MediaError as error:
                raise JobFailed(
                    "VALIDATION_ERROR", str(error), {"path": "sourceStorageKey"}
                ) from error

    async def _dub(
        self, run: JobRun, order: DubbingOrder, choice: SpeechChoice, source: Path
    ) -> JobResult:
        info = await asyncio.to_thread(probe, source, self._limits)
        heard = await self._heard(run, order, source, info.duration_ms)
        translator = await self._translator(run, order, heard)
        lines = await _translated(run, translator, heard, order.target_language)
        speaker = await self._engines.speech(choice)
        speech = source.with_name("speech.pcm")
        track = SpeechTrack(speech, speaker, order.target_language)
        lines = await _spoken(run, track, lines, heard.duration_ms)
        _warn_of_lines(run, lines)
        files = DubbingFiles(run, self._artifacts, source, speech, self._limits)
        await files.mix(_covered(lines), heard.duration_ms, _part(run, _SPOKEN, _MIXED))
        made = await files.audio(order.format)
        if info.has_video:
            made |= await files.video()
        await run.progress(_STORED)
        made |= await files.subtitles("source", heard.segments)
        made |= await files.subtitles("target", _target(lines))
        made |= await files.lines([_shown(line, draft=translator.draft) for line in lines])
        return _result(run, order, heard, translator, lines, track.spoken_ms, made)

    async def _heard(
        self, run: JobRun, order: DubbingOrder, source: Path, declared_ms: int | None
    ) -> Recording:
        transcriber = await self._engines.file_transcriber(HEARING_MODEL, order.source_language)
        progress = _part(run, 0, _HEARD)

        async def heard_so_far(samples: int) -> None:
            done = milliseconds_of(samples, HEARING_RATE)
            await progress(min(100, 100 * done // max(1, declared_ms or done + _UNKNOWN_MS)))

        pcm = decoded(source, limits=self._limits)
        transcript = await hear(pcm, transcriber, order.source_language, heard_so_far)
        language = order.source_language or transcript.language
        if not transcript.segments:
            raise JobFailed("VALIDATION_ERROR", "No speech was found in the recording.")
        if language is None:
            raise JobFailed(
                "VALIDATION_ERROR",
                "The recording's language was not recognised: send sourceLanguage.",
            )
        return Recording(
            segments=tuple(transcript.segments),
            language=language.split("-")[0].lower(),
            duration_ms=transcript.duration_ms,
            model=transcriber.model_id,
        )

    async def _translator(self, run: JobRun, order: DubbingOrder, heard: Recording) -> Translator:
        pair = heard.language, order.target_language
        guessed = order.source_language is None
        if heard.language == order.target_language:
            seems = "seems to be" if guessed else "is"
            raise JobFailed(
                "VALIDATION_ERROR",
                f"The recording {seems} in {heard.language!r} already: choose another"
                " targetLanguage" + (", or send sourceLanguage." if guessed else "."),
                {"path": "targetLanguage"},
            )
        try:
            if (reason := draft_reason(self._engines, order, *pair)) is not None:
                raise ModelUnavailable(reason)
            translator = await self._engines.translator(order.translate_model, *pair)
        except ModelUnavailable as error:
            note = ". The language was detected: send sourceLanguage if it is another."
            raise JobFailed(
                error.code, f"{error}{note if guessed else ''}", {"path": "targetLanguage"}
            ) from error
        if translator.draft:
            run.warn(
                "draft_translation",
                f"Translated from {pair[0]!r} to {pair[1]!r} by the chat model"
                f" {translator.model_id}: a draft, which may say something else.",
                "allowDraft",
            )
        return translator


def draft_reason(engines: Catalogue, order: DubbingOrder, source: str, target: str) -> str | None:
    """Why ``order`` is refused for this pair, whose translation is a draft; None if it is not one,
    or drafts are accepted. Raises ModelUnavailable."""
    engine = engines.translation_engine(order.translate_model, source, target)
    if not engine.draft or order.allow_draft:
        return None
    return no_translator(f"from {source!r} to {target!r}", engines.translated_pairs())


def no_translator(what: str, pairs: Sequence[tuple[str, str]], consent: str = "allowDraft") -> str:
    """Why a draft is refused, and which pairs are not drafts; ``what``: "from 'en' to 'es'",
    ``consent``: the field that accepts a draft."""
    known = ", ".join(f"{source} to {target}" for source, target in pairs) or "none"
    return (
        f"there is no translator {what}, only a chat model, which may say something else: send"
        f" {consent} true to accept that; pairs with a translator: {known}"
    )


async def _translated(
    run: JobRun, translator: Translator, heard: Recording, target: str
) -> list[Line]:
    """The translated lines. One failure does not fail the recording: the line is kept with its
    problem. Raises the translator's error if it fails at many in a row, or at all of them."""
    originals = await asyncio.to_thread(lambda: list(lines_of(heard.segments)))
    progress = _part(run, _HEARD, _TRANSLATED)
    lines: list[Line] = []
    in_a_row = 0
    for original in originals:
        try:
            text, wrong = await _line(translator, original.text, heard.language, target)
            lines.append(Line(original, text, problem=wrong))
            in_a_row = 0
        except EngineFailed as error:
            in_a_row += 1
            if in_a_row in (_FAILURES_IN_A_ROW, len(originals)):
                raise
            lines.append(Line(original, "", problem=str(error)))
        await progress(100 * len(lines) // len(originals))
    return lines


async def _line(
    translator: Translator, text: str, source: str, target: str
) -> tuple[str, str | None]:
    """The translation, and what is wrong with it: a second attempt if the first has a fault, the
    empty text if both have. Raises EngineError."""
    wrong: str | None = None
    for again in (False, True):
        try:
            made = await translator.translate(text, source, target, again=again)
        except EngineFailed:
            if again and wrong is None:
                raise
            continue
        made = storable(made).strip()
        wrong = fault(text, made, source, target)
        if wrong is None:
            return made, None
    return "", wrong


def _warn_of_lines(run: JobRun, lines: Sequence[Line]) -> None:
    for line in lines:
        if line.spoken is None:
            at = line.original.start_ms / 1000
            text = line.original.text
            short = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
            run.warn("not_dubbed", f"At {at:.1f} s the original is left ({line.problem}): {short}")


async def _spoken(
    run: JobRun, track: SpeechTrack, lines: Sequence[Line], duration_ms: int
) -> list[Line]:
    progress = _part(run, _TRANSLATED, _SPOKEN)
    ends = [line.original.start_ms for line in lines[1:]] + [duration_ms]
    made: list[Line] = []
    for line, until_ms in zip(lines, ends, strict=True):
        place = await track.speak(line.text, line.original, until_ms) if line.text else None
        if isinstance(place, str):
            made.append(replace(line, problem=place))
        else:
            made.append(replace(line, spoken=place))
        await progress(100 * len(made) // len(lines))
    if all(line.spoken is None for line in made):
        raise JobFailed("PROVIDER_ERROR", f"Nothing could be dubbed: {made[0].problem}.")
    return made


def _part(run: JobRun, begin: int, end: int) -> Progress:
    """The progress of a step that takes the job from ``begin`` to ``end`` percent."""

    async def report(percent: int) -> None:
        await run.progress(begin + (end - begin) * percent // 100)

    return report


def _covered(lines: Sequence[Line]) -> list[tuple[int, int]]:
    """Where the original is lowered (ms): over each spoken line and the line it stands for."""
    spans = []
    for line in lines:
        if line.spoken is not None:
            begin = min(line.original.start_ms, line.spoken.start_ms)
            spans.append((begin, max(line.original.end_ms, line.spoken.end_ms)))
    return spans


def _target(lines: Sequence[Line]) -> list[TimedSegment]:
    return [
        TimedSegment(line.spoken.start_ms, line.spoken.end_ms, line.text)
        for line in lines
        if line.spoken is not None
    ]


def _shown(line: Line, *, draft: bool) -> dict[str, Any]:
    """A line in the job's output; times in seconds."""
    shown: dict[str, Any] = {
        "start": line.original.start_ms / 1000,
        "end": line.original.end_ms / 1000,
        "sourceText": line.original.text,
        "targetText": line.text,
        "draft": draft,
    }
    if line.problem is not None:
        shown["problem"] = line.problem
    if line.spoken is not None:
        shown["spokenStart"] = line.spoken.start_ms / 1000
        shown["spokenEnd"] = line.spoken.end_ms / 1000
        shown["tempo"] = round(line.spoken.tempo, 3)
    return shown


def _result(
    run: JobRun,
    order: DubbingOrder,
    heard: Recording,
    translator: Translator,
    lines: Sequence[Line],
    spoken_ms: int,
    made: dict[str, Any],
) -> JobResult:
    read = sum(len(line.original.text) for line in lines if line.text)
    characters = sum(len(line.text) for line in lines if line.spoken is not None)
    output = {
        "sourceLanguage": heard.language,
        "targetLanguage": order.target_language,
        "voice": order.voice,
        "model": order.model,
        "format": order.format,
        "fileName": order.file_name,
        "characters": characters,
        "transcription": {"model": heard.model},
        "translation": {
            "model": translator.model_id,
            "draft": translator.draft,
            "failed": sum(line.spoken is None for line in lines),
        },
        **made,
    }
    units = (
        Unit(f"{run.id}:transcription", "stt", heard.model, audio_ms=heard.duration_ms),
        Unit(f"{run.id}:translation", "translation", translator.model_id, tokens=read),
        Unit(f"{run.id}:speech", "tts", order.model, tokens=characters, audio_ms=spoken_ms),
    )
    return JobResult(output, units)
