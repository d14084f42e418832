"""Scripted engines for jobs: deterministic stand-ins, with faults and hangs as vocabulary.

Beside those of ``scripted``, whose rules they keep: no model, no thread, no clock of their own.
Every engine has a ``fault`` (what fails, when, how often) and waits through ``delay``; a ``delay``
that waits for a test's event is an engine that hangs. Each keeps a log of what it was asked.
"""

import asyncio
import dataclasses
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from media.formats import HEARING_RATE, SAMPLE_BYTES, samples_of
from pipelines.engines.base import ModelUnavailable, Word
from pipelines.engines.catalogue import Catalogue
from pipelines.engines.engine import EngineStatus, Role
from pipelines.engines.jobs import (
    CallLanguage,
    Segment,
    ShareDone,
    SpeechChoice,
    SpeechEngine,
    Transcribed,
    TranslationEngine,
    VoiceInfo,
    VoiceLanguages,
    VoiceMatch,
    nobody_asks,
)
from pipelines.speech.language import LANGUAGES

from .live import (
    WORD_MS,
    Delay,
    Fault,
    ScriptedChatModel,
    ScriptedLanguageDetector,
    ScriptedSpeaker,
)

VOICES = (
    VoiceInfo("scripted-high", "High", "en", "scripted-voice", "female"),
    VoiceInfo("scripted-low", "Low", "en", "scripted-voice", "male"),
)
PITCHES = {"default": 440.0, "scripted-high": 660.0, "scripted-low": 220.0}
"""Hz of the tone that a builtin voice speaks with."""

CLONE_PITCH = 330.0


def spoken(text: str, start_ms: float = 0.0) -> Segment:
    """A segment of ``text`` that begins at ``start_ms``, WORD_MS a word."""
    step = samples_of(WORD_MS, HEARING_RATE)
    begin = samples_of(start_ms, HEARING_RATE)
    words = tuple(
        Word(word, begin + n * step, begin + (n + 1) * step) for n, word in enumerate(text.split())
    )
    return Segment(begin, begin + len(words) * step, text, words)


@dataclass
class ScriptedFileTranscriber:
    """Hears ``segments`` at their times in any recording.

    A segment is reported once the audio has reached its end; the recording's end cuts it short, and
    what begins after that is never heard."""

    segments: Sequence[Segment] = (spoken("hello there"),)
    model_id: str = "scripted-file-ears"
    languages: tuple[str, ...] = ("en", "de", "pt")
    language: str = "en"
    """The language detected in a recording."""
    segment_delay: float = 0.0
    fault: Fault | None = None
    delay: Delay = asyncio.sleep
    heard: list[int] = field(default_factory=list)
    """Samples of each recording that was transcribed to its end."""
    running: int = 0
    english: Sequence[Segment] = ()
    """What it says in English."""

    @property
    def translates(self) -> bool:
        """Whether there is an English version."""
        return bool(self.english)

    async def transcribe_file(
        self, pcm: AsyncIterator[bytes], language: str | None = None, *, english: bool = False
    ) -> AsyncGenerator[Transcribed, None]:
        """The segments, and a Transcribed without one for every other piece of audio."""
        reported, size = 0, 0
        segments = self.english if english else self.segments
        language = language or self.language
        self.running += 1
        try:
            async for piece in pcm:
                size += len(piece)
                done = size // SAMPLE_BYTES
                before = reported
                while reported < len(segments) and segments[reported].end <= done:
                    yield await self._part(reported, segments[reported], done, language)
                    reported += 1
                if reported == before:
                    yield Transcribed(done, None, language)
            done = size // SAMPLE_BYTES
            while reported < len(segments) and segments[reported].start < done:
                yield await self._part(reported, segments[reported], done, language)
                reported += 1
            self.heard.append(done)
        finally:
            self.running -= 1

    async def _part(self, number: int, segment: Segment, done: int, language: str) -> Transcribed:
        await self.delay(self.segment_delay)
        if self.fault is not None:
            self.fault.strike(number)
        words = tuple(
            dataclasses.replace(word, end=min(word.end, done))
            for word in segment.words
            if word.start < done
        )
        return Transcribed(
            done, Segment(segment.start, min(segment.end, done), segment.text, words), language
        )


@dataclass
class ScriptedTranslator:
    """Says what ``dictionary`` says, else the text in upper case."""

    dictionary: Mapping[str, str] = field(default_factory=dict)
    model_id: str = "scripted-translator"
    draft: bool = False
    delay_seconds: float = 0.0
    fault: Fault | None = None
    delay: Delay = asyncio.sleep
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    """Text, source and target of each request."""
    second: Mapping[str, str] = field(default_factory=dict)

    async def translate(self, text: str, source: str, target: str, *, again: bool = False) -> str:
        """The translation; a second attempt returns that of ``second``. The fault's step is the
        number of the request."""
        self.asked.append((text, source, target))
        await self.delay(self.delay_seconds)
        if self.fault is not None:
            self.fault.strike(len(self.asked) - 1)
        words = {**self.dictionary, **self.second} if again else self.dictionary
        return words.get(text, text.upper())


@dataclass
class ScriptedCloner:
    """Finds the same voice in every sample: one that speaks at CLONE_PITCH."""

    recipe: Mapping[str, Any] = field(
        default_factory=lambda: {"engine": "scripted-voice", "frequency": CLONE_PITCH}
    )
    model_id: str = "scripted-cloner"
    similarity: float = 0.75
    base_similarity: float = 0.5
    delay_seconds: float = 0.0
    fault: Fault | None = None
    delay: Delay = asyncio.sleep
    heard: list[int] = field(default_factory=list)
    """Samples of each sample it was given."""

    async def match(
        self,
        pcm: bytes,
        language: str = "en",  # noqa: ARG002
        *,
        done: ShareDone = nobody_asks,
    ) -> VoiceMatch:
        """The recipe."""
        self.heard.append(len(pcm) // SAMPLE_BYTES)
        await done(0.5)
        await self.delay(self.delay_seconds)
        if self.fault is not None:
            self.fault.strike(0)
        return VoiceMatch(self.recipe, self.similarity, self.base_similarity)


@dataclass
class ScriptedJobEngines(Catalogue):
    """A catalogue of scripted engines for jobs, which serves any id but those in ``absent``.

    ``absent`` may also name ``cloner``, a pair of languages (``en-ja``) that is not translated,
    and a language (``ja``) that is neither spoken nor heard."""

    chat_model: ScriptedChatModel = field(default_factory=ScriptedChatModel)
    voice: ScriptedSpeaker = field(default_factory=ScriptedSpeaker)
    """What every speaker is made like: its fault, its delays, its log of what was spoken."""
    ears: ScriptedFileTranscriber = field(default_factory=ScriptedFileTranscriber)
    words: ScriptedTranslator = field(default_factory=ScriptedTranslator)
    copyist: ScriptedCloner = field(default_factory=ScriptedCloner)
    builtin: tuple[VoiceInfo, ...] = VOICES
    absent: frozenset[str] = frozenset()
    choices: list[SpeechChoice] = field(default_factory=list)
    """Every choice requested of a speaker."""
    speakers: list[ScriptedSpeaker] = field(default_factory=list)
    """Those speakers; ``running`` says whether one still speaks."""

    def serves(self, role: Role, model_id: str) -> bool:  # noqa: ARG002 - as in Catalogue
        """Whether it is not absent."""
        return model_id not in self.absent

    async def chat(self, model_id: str) -> ScriptedChatModel:
        """The scripted chat model."""
        self.check_chat(model_id)
        return self.chat_model

    def check_chat(self, model_id: str) -> str:
        """The id of the scripted chat model; ModelUnavailable for an absent one."""
        self._refuse(model_id)
        return self.chat_model.model_id

    async def speech(self, choice: SpeechChoice) -> ScriptedSpeaker:
        """A speaker at the pitch of the choice's voice or recipe."""
        self.check_speech(choice)
        if choice.recipe is not None:
            pitch = float(choice.recipe.get("frequency", CLONE_PITCH))
        elif choice.voice == "default":
            pitch = self.voice.frequency
        else:
            pitch = PITCHES.get(choice.voice, self.voice.frequency)
        speaker = dataclasses.replace(self.voice, frequency=pitch)
        self.choices.append(choice)
        self.speakers.append(speaker)
        return speaker

    def check_speech(self, choice: SpeechChoice) -> None:
        """ModelUnavailable for what is absent and for voices that are not builtin."""
        self._refuse(choice.model, choice.language)
        known = {"default", *(voice.id for voice in self.builtin)}
        if choice.recipe is None and choice.voice not in known:
            raise ModelUnavailable(f"{choice.model} has no voice {choice.voice!r}")

    def speech_engine(self, choice: SpeechChoice) -> SpeechEngine:
        """The scripted voice."""
        self.check_speech(choice)
        return SpeechEngine(self.voice.model_id)

    def voice_languages(self, model_id: str, voice: str) -> VoiceLanguages:  # noqa: ARG002
        """Every language but those that are absent."""
        return VoiceLanguages("en", frozenset(LANGUAGES) - self.absent)

    async def file_transcriber(
        self, model_id: str = "default", language: str | None = None
    ) -> ScriptedFileTranscriber:
        """The scripted ears."""
        self.check_transcription(model_id, language)
        return self.ears

    def check_transcription(self, model_id: str, language: str | None) -> str:
        """The id of the scripted ears; ModelUnavailable for what is absent."""
        self._refuse(model_id, language or "")
        return self.ears.model_id

    async def translator(self, model_id: str, source: str, target: str) -> ScriptedTranslator:
        """The scripted translator."""
        self.translation_engine(model_id, source, target)
        return self.words

    def translation_engine(self, model_id: str, source: str, target: str) -> TranslationEngine:
        """The scripted translator; ModelUnavailable for what is absent."""
        self._refuse(model_id, f"{source}-{target}")
        return TranslationEngine(self.words.model_id, self.words.draft)

    def translated_pairs(self) -> tuple[tuple[str, str], ...]:
        """English into German and Portuguese, unless all are drafts."""
        return () if self.words.draft else (("en", "de"), ("en", "pt"))

    async def cloner(self) -> ScriptedCloner:
        """The scripted cloner."""
        self._refuse("cloner")
        return self.copyist

    def check_cloning(self) -> str:
        """The id of the scripted cloner; ModelUnavailable when ``cloner`` is absent."""
        self._refuse("cloner")
        return self.copyist.model_id

    def voices(self, model_id: str) -> tuple[VoiceInfo, ...]:
        """The builtin voices; none of an absent model."""
        return () if model_id in self.absent else self.builtin

    @property
    def language_detector(self) -> ScriptedLanguageDetector:
        """One that takes everybody for English."""
        return ScriptedLanguageDetector()

    def call_languages(self) -> dict[str, CallLanguage]:
        """English, as far as calls go."""
        return {"en": CallLanguage(hearing="scripted-ears", speech="scripted-voice")}

    def statuses(self) -> tuple[EngineStatus, ...]:
        """All live."""
        languages = self.ears.languages
        return (
            EngineStatus(self.chat_model.model_id, Role.CHAT, live=True, languages=()),
            EngineStatus(self.voice.model_id, Role.SPEECH, live=True, languages=("en",)),
            EngineStatus(
                self.ears.model_id, Role.FILE_TRANSCRIPTION, live=True, languages=languages
            ),
            EngineStatus(self.words.model_id, Role.TRANSLATION, live=True, languages=()),
            EngineStatus(self.copyist.model_id, Role.CLONING, live=True, languages=()),
        )

    def _refuse(self, *names: str) -> None:
        for name in names:
            if name in self.absent:
                raise ModelUnavailable(f"no live engine serves {name!r}")


def scripted_job_engines(
    *,
    hears: Sequence[Segment] = (spoken("hello there"),),
    translate: Mapping[str, str] | None = None,
    answer: Callable[..., str] | None = None,
    delay: Delay = asyncio.sleep,
) -> ScriptedJobEngines:
    """A whole set: what recordings say, how it is translated, what the chat model answers."""
    return ScriptedJobEngines(
        ScriptedChatModel(answer=answer, delay=delay),
        ScriptedSpeaker(delay=delay),
        ScriptedFileTranscriber(hears, delay=delay),
        ScriptedTranslator(translate or {}, delay=delay),
        ScriptedCloner(delay=delay),
    )
