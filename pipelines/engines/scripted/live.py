"""Scripted engines: deterministic stand-ins for tests and bench, with faults as vocabulary.

Rules
- No model, no thread, no clock of their own: every delay goes through their ``Delay``
  (``asyncio.sleep`` by default; a test may pass one that waits for its events).
- An engine's behaviour depends only on its script and its input. Each logs its requests.
- The speaker's tone makes replies measurable: ``WORD_MS`` of sound per word, at a frequency that
  identifies the session (``tone_of`` reads it back).
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import get_args

import numpy as np

from media.formats import HEARING_RATE, SAMPLE_BYTES, samples_of
from media.vad import Floats, SileroModel
from pipelines.engines.base import (
    AnswerFormat,
    ChatDelta,
    ChatMessage,
    DetectedLanguage,
    EngineBusy,
    EngineError,
    HearingLoad,
    ModelUnavailable,
    ToolCallDelta,
    ToolOffer,
    Transcription,
    Word,
    new_call_id,
)
from pipelines.engines.call_names import CallNames, NameFault, NameField
from pipelines.engines.catalogue import Catalogue
from pipelines.engines.engine import EngineStatus, Role
from pipelines.engines.jobs import CallLanguage
from pipelines.engines.source import Wait, at_once

Delay = Callable[[float], Awaitable[None]]
"""Waits for a number of seconds, or as long as a test decides."""

WORD_MS = 250
"""Milliseconds of audio in which one word is heard or spoken."""


@dataclass
class Fault:
    """``error`` instead of the ``at``-th step (0: at once), in the next ``times`` uses."""

    error: EngineError
    at: int = 0
    times: int = 1

    def strike(self, step: int) -> None:
        """Raise the error if ``step`` is the one."""
        if step >= self.at and self.times > 0:
            self.times -= 1
            raise self.error


class ScriptedStream:
    """One utterance: a word of its text for every WORD_MS of audio."""

    def __init__(self, engine: "ScriptedTranscriber", text: str) -> None:
        self._engine = engine
        self._words = text.split()
        self._bytes = 0
        self._open = True

    async def accept(self, pcm: bytes) -> str:
        """The words heard so far."""
        await self._engine.delay(self._engine.partial_delay)
        self._bytes += len(pcm)
        heard = self._bytes // SAMPLE_BYTES // samples_of(WORD_MS, HEARING_RATE)
        return " ".join(self._words[:heard])

    async def finish(self) -> Transcription:
        """The whole text, however much of it was heard."""
        text = " ".join(self._words)
        heard = await self._engine.finish(text)
        self.close()
        return heard

    def close(self) -> None:
        """Free the place."""
        if self._open:
            self._open = False
            self._engine.opened -= 1


@dataclass
class ScriptedTranscriber:
    """Hears ``texts`` in order, one per utterance (then the last one for ever)."""

    texts: Sequence[str] = ("hello there",)
    model_id: str = "scripted-ears"
    partial_delay: float = 0.0
    final_delay: float = 0.0
    places: int = 1000
    load_now: HearingLoad = field(default_factory=HearingLoad)
    fault: Fault | None = None
    delay: Delay = asyncio.sleep
    opened: int = 0
    """Open utterances; 0 after a call, or something leaked."""
    utterances: int = 0
    finals: int = 0

    async def open(self, language: str = "en") -> ScriptedStream:  # noqa: ARG002 - protocol
        """Begin the next utterance."""
        if self.opened >= self.places:
            raise EngineBusy(f"{self.model_id}: all {self.places} places are taken")
        text = self._text(self.utterances)
        self.utterances += 1
        self.opened += 1
        return ScriptedStream(self, text)

    async def transcribe(self, pcm: bytes, language: str = "en") -> Transcription:  # noqa: ARG002
        """The utterance that was opened last, or the next one if none was ever opened."""
        return await self.finish(self._text(max(self.utterances - 1, self.finals)))

    async def finish(self, text: str) -> Transcription:
        """The final form of ``text``, after the delay."""
        await self.delay(self.final_delay)
        self.finals += 1
        if self.fault is not None:
            self.fault.strike(0)
        step = samples_of(WORD_MS, HEARING_RATE)
        words = (Word(word, n * step, (n + 1) * step) for n, word in enumerate(text.split()))
        return Transcription(text, tuple(words))

    def _text(self, number: int) -> str:
        return self.texts[min(number, len(self.texts) - 1)]


_CALL = re.compile(r"CALL (\S+) (.*)")


@dataclass
class ScriptedChatModel:
    """Gives ``answers`` in order (then the last one for ever), a word per token.

    ``answer`` may compute it from the messages instead. If tools are offered, a line ``CALL name
    arguments`` becomes a tool use, in two deltas."""

    answers: Sequence[str] = ("Hello, how can I help you?",)
    model_id: str = "scripted-chat"
    first_token_delay: float = 0.0
    token_delay: float = 0.0
    fault: Fault | None = None
    delay: Delay = asyncio.sleep
    answer: Callable[[Sequence[ChatMessage]], str] | None = None
    asked: list[tuple[ChatMessage, ...]] = field(default_factory=list)
    offered: list[ToolOffer | None] = field(default_factory=list)
    """The tools offered with each request in ``asked``."""
    formats: list[AnswerFormat | None] = field(default_factory=list)
    """The format of each answer."""
    prefilled: list[tuple[ChatMessage, ...]] = field(default_factory=list)
    running: int = 0
    """Answers being generated now; 0 after a call, or something leaked."""
    cancelled: int = 0

    async def stream(
        self,
        messages: Sequence[ChatMessage],
        *,
        max_tokens: int = 256,
        temperature: float = 0.4,  # noqa: ARG002 - protocol
        offer: ToolOffer | None = None,
        answer_format: AnswerFormat | None = None,
    ) -> AsyncGenerator[ChatDelta, None]:
        """The next answer; cut at ``max_tokens`` words."""
        number = len(self.asked)
        self.formats.append(answer_format)
        self.asked.append(tuple(messages))
        self.offered.append(offer)
        text = self.answer(messages) if self.answer else self._scripted(number)
        text, calls = _without_calls(text) if offer else (text, [])
        tokens = _tokens(text)
        self.running += 1
        finished = False
        try:
            for step, token in enumerate(tokens[:max_tokens] if text or not calls else ()):
                await self.delay(self.token_delay if step else self.first_token_delay)
                self._strike(step)
                yield ChatDelta(token)
            self._strike(len(tokens))
            for index, (name, arguments) in enumerate(calls):
                half = len(arguments) // 2
                begun = ToolCallDelta(index, new_call_id(), name, arguments[:half])
                yield ChatDelta(calls=(begun,))
                yield ChatDelta(calls=(ToolCallDelta(index, arguments=arguments[half:]),))
            reason = "length" if len(tokens) > max_tokens else "tool_calls" if calls else "stop"
            finished = True
            prompt = sum(len(message.content.split()) for message in messages)
            yield ChatDelta("", reason, prompt, min(len(tokens), max_tokens))
        except EngineError:
            finished = True
            raise
        finally:
            self.running -= 1
            self.cancelled += not finished

    async def prefill(
        self,
        messages: Sequence[ChatMessage],
        *,
        offer: ToolOffer | None = None,  # noqa: ARG002 - protocol
    ) -> None:
        """Log it."""
        self.prefilled.append(tuple(messages))

    def _scripted(self, number: int) -> str:
        return self.answers[min(number, len(self.answers) - 1)]

    def _strike(self, step: int) -> None:
        if self.fault is not None:
            self.fault.strike(step)


def _without_calls(text: str) -> tuple[str, list[tuple[str, str]]]:
    """The spoken text, and the tool uses."""
    calls = [(found[1], found[2]) for line in text.split("\n") if (found := _CALL.match(line))]
    said = "\n".join(line for line in text.split("\n") if not _CALL.match(line))
    return said, calls


def _tokens(text: str) -> list[str]:
    words = text.split(" ")
    return [word if n == 0 else f" {word}" for n, word in enumerate(words)]


@dataclass
class ScriptedSpeaker:
    """Says every word as WORD_MS of a tone of ``frequency`` Hz, a chunk per word."""

    frequency: float = 440.0
    model_id: str = "scripted-voice"
    sample_rate: int = 24_000
    voices: tuple[str, ...] = ("default",)
    first_audio_delay: float = 0.0
    word_delay: float = 0.0
    fault: Fault | None = None
    delay: Delay = asyncio.sleep
    frequency_of: Callable[[str], float] | None = None
    """The frequency of a text, if one speaker serves several sessions."""
    spoken: list[str] = field(default_factory=list)
    running: int = 0

    async def speak(
        self,
        text: str,
        *,
        voice: str = "default",  # noqa: ARG002 - protocol
        speed: float = 1.0,
        language: str = "en",  # noqa: ARG002 - protocol
    ) -> AsyncGenerator[bytes, None]:
        """One chunk per word; ``speed`` shortens it."""
        self.spoken.append(text)
        frequency = self.frequency_of(text) if self.frequency_of else self.frequency
        samples = samples_of(WORD_MS / speed, self.sample_rate)
        self.running += 1
        try:
            for step, _ in enumerate(text.split()):
                await self.delay(self.word_delay if step else self.first_audio_delay)
                if self.fault is not None:
                    self.fault.strike(step)
                yield tone(frequency, samples, self.sample_rate, begin=step * samples)
        finally:
            self.running -= 1


def tone(frequency: float, samples: int, rate: int, *, begin: int = 0) -> bytes:
    """PCM16 of a sine at a quarter of full scale, in phase with one that began at sample 0."""
    phase = (np.arange(begin, begin + samples) * (2 * np.pi * frequency / rate)) % (2 * np.pi)
    return bytes((8192 * np.sin(phase)).astype("<i2").tobytes())


def tone_of(pcm: bytes, rate: int) -> float:
    """Hz of the strongest frequency in ``pcm``; 0.0 for silence."""
    samples = np.frombuffer(pcm, "<i2").astype(np.float32)
    if not len(samples) or float(np.abs(samples).max()) < 100:
        return 0.0
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), n=max(len(samples), rate)))
    return float(spectrum.argmax()) * rate / max(len(samples), rate)


@dataclass
class ScriptedTurnDetector:
    """Gives ``scores`` in order, then the last one for ever."""

    scores: Sequence[float] = (1.0,)
    fault: Fault | None = None
    delay_seconds: float = 0.0
    delay: Delay = asyncio.sleep
    heard: list[int] = field(default_factory=list)
    """Samples of each scored chunk of audio."""

    async def score(self, pcm: bytes) -> float:
        """The next score."""
        number = len(self.heard)
        self.heard.append(len(pcm) // SAMPLE_BYTES)
        await self.delay(self.delay_seconds)
        if self.fault is not None:
            self.fault.strike(0)
        return self.scores[min(number, len(self.scores) - 1)]


@dataclass
class ScriptedLanguageDetector:
    """Gives ``languages`` in order, then the last one for ever, each with ``probability``.

    A language that is not among those it may choose from becomes the first of them."""

    languages: Sequence[str] = ("en",)
    probability: float = 0.9
    fault: Fault | None = None
    delay_seconds: float = 0.0
    delay: Delay = asyncio.sleep
    heard: list[tuple[int, tuple[str, ...]]] = field(default_factory=list)
    """Samples, and what there was to choose from, each time."""

    async def detect(self, pcm: bytes, languages: Sequence[str]) -> DetectedLanguage:
        """The next language."""
        number = len(self.heard)
        self.heard.append((len(pcm) // SAMPLE_BYTES, tuple(languages)))
        await self.delay(self.delay_seconds)
        if self.fault is not None:
            self.fault.strike(0)
        language = self.languages[min(number, len(self.languages) - 1)]
        found = language if language in languages else languages[0]
        return DetectedLanguage(found, self.probability)


class LoudnessModel(SileroModel):
    """A voice activity network that takes everything loud for speech."""

    def __init__(self, threshold: float = 0.02) -> None:
        """``threshold`` is the RMS, full scale being 1, from which a window is speech."""
        self._threshold = threshold

    def run_together(self, samples: Floats, states: Floats) -> tuple[list[float], Floats]:
        """1.0 for loud, 0.0 for quiet."""
        loud = np.sqrt(np.mean(samples * samples, axis=1)) >= self._threshold
        return loud.astype(float).tolist(), states


_UNSERVED = "No {field} {name!r} is served here. Accepted: 'default'."


@dataclass
class ScriptedEngines(Catalogue):
    """A catalogue of scripted engines for calls, which serves all names but those in ``absent``."""

    ears: ScriptedTranscriber = field(default_factory=ScriptedTranscriber)
    chat_model: ScriptedChatModel = field(default_factory=ScriptedChatModel)
    voice: ScriptedSpeaker = field(default_factory=ScriptedSpeaker)
    detector: ScriptedTurnDetector = field(default_factory=ScriptedTurnDetector)
    vad: SileroModel = field(default_factory=LoudnessModel)
    absent: frozenset[str] = frozenset()
    linguist: ScriptedLanguageDetector = field(default_factory=ScriptedLanguageDetector)
    languages: tuple[str, ...] = ("en",)
    unspoken: tuple[str, ...] = ()
    coming: tuple[str, ...] = ()
    """What calls can be held in, what is heard besides and not spoken, and what is loaded later."""
    upstream: frozenset[Role] = frozenset()
    """What an upstream does in calls, as ``upstream_roles`` gives it."""

    @property
    def turn_detector(self) -> ScriptedTurnDetector:
        """The scripted one."""
        return self.detector

    @property
    def language_detector(self) -> ScriptedLanguageDetector:
        """The scripted one."""
        return self.linguist

    @property
    def vad_model(self) -> SileroModel:
        """The scripted one."""
        return self.vad

    def serves(self, role: Role, model_id: str) -> bool:  # noqa: ARG002 - as in Catalogue
        """Whether it is not absent."""
        return model_id not in self.absent

    def streaming_transcriber(self, model_id: str, language: str = "en") -> ScriptedTranscriber:  # noqa: ARG002
        """The scripted ears, for any language."""
        self._refuse(Role.STREAMING_TRANSCRIPTION, model_id)
        return self.ears

    def transcriber(self, model_id: str, language: str = "en") -> ScriptedTranscriber:  # noqa: ARG002
        """The scripted ears, for any language."""
        self._refuse(Role.TRANSCRIPTION, model_id)
        return self.ears

    async def chat(self, model_id: str) -> ScriptedChatModel:
        """The scripted chat model."""
        self._refuse(Role.CHAT, model_id)
        return self.chat_model

    def speaker(
        self,
        model_id: str,
        language: str,  # noqa: ARG002 - protocol
        voice: str = "default",  # noqa: ARG002 - protocol
    ) -> ScriptedSpeaker:
        """The scripted voice."""
        self._refuse(Role.SPEECH, model_id)
        return self.voice

    def name_faults(self, names: CallNames) -> tuple[NameFault, ...]:
        """Those in ``absent``, as they stand for something here."""
        names = replace(
            names,
            model=self.resolve(Role.CHAT, names.model),
            transcription_model=self.resolve(Role.TRANSCRIPTION, names.transcription_model),
            speech_model=self.resolve(Role.SPEECH, names.speech_model),
        )
        known = {status.model_id for status in self.statuses()}
        return tuple(
            NameFault(field, name, _UNSERVED.format(field=field, name=name), name in known)
            for field in get_args(NameField)
            if (name := getattr(names, field)) in self.absent
        )

    def languages_for(self, names: CallNames) -> tuple[str, ...]:
        """The same for all names."""
        return self.languages if names.speaks else (*self.languages, *self.unspoken)

    def languages_coming(self, names: CallNames) -> tuple[str, ...]:  # noqa: ARG002 - as in Catalogue
        """The same for all names."""
        return self.coming

    def call_languages(self) -> dict[str, CallLanguage]:
        """All heard and spoken."""
        engines = CallLanguage(self.ears.model_id, self.voice.model_id)
        return dict.fromkeys(self.languages, engines)

    def hearing_loads(self) -> dict[str, HearingLoad]:
        """Nobody waits here."""
        return {self.ears.model_id: HearingLoad(running=self.ears.opened)}

    def hearing_overloaded(self) -> bool:
        """Nobody waits here."""
        return False

    def hearing_load(self, model_id: str = "default", language: str = "en") -> HearingLoad:  # noqa: ARG002
        """What the transcriber reports."""
        return self.ears.load_now

    def statuses(self) -> tuple[EngineStatus, ...]:
        """All live."""
        return (
            EngineStatus(self.ears.model_id, Role.STREAMING_TRANSCRIPTION, live=True),
            EngineStatus(self.ears.model_id, Role.TRANSCRIPTION, live=True),
            EngineStatus(self.chat_model.model_id, Role.CHAT, live=True),
            EngineStatus(self.voice.model_id, Role.SPEECH, live=True),
        )

    def upstream_roles(self, names: CallNames) -> frozenset[Role]:  # noqa: ARG002 - as in Catalogue
        """As scripted."""
        return self.upstream

    def ready(self) -> bool:
        """Always."""
        return True

    async def start(self, quiet: Wait = at_once, warm_up: Wait = at_once) -> None:
        """Nothing to load."""

    async def complete(self) -> None:
        """Nothing to wait for."""

    async def close(self) -> None:
        """Nothing to close."""

    def _refuse(self, role: Role, model_id: str) -> None:
        if self.resolve(role, model_id) in self.absent:
            raise ModelUnavailable(f"no live {role} engine serves {model_id!r}")


def scripted_engines(
    *,
    hears: Sequence[str] = ("hello there",),
    answers: Sequence[str] = ("Hello, how can I help you?",),
    frequency: float = 440.0,
    scores: Sequence[float] = (1.0,),
    delay: Delay = asyncio.sleep,
) -> ScriptedEngines:
    """A whole set: what is heard, what is answered, at what pitch, and whether turns end."""
    return ScriptedEngines(
        ScriptedTranscriber(hears, delay=delay),
        ScriptedChatModel(answers, delay=delay),
        ScriptedSpeaker(frequency, delay=delay),
        ScriptedTurnDetector(scores, delay=delay),
    )
