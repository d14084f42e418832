"""The engines as jobs and REST requests ask for them: found by what they must be able to do,
loaded when first needed.

Protocols, beside those of ``base``. ``pipelines.engines.registry.Engines`` is the real thing.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from .base import ChatModel, Speaker, Word
from .status import EngineStatus


@dataclass(frozen=True, slots=True)
class SpeechChoice:
    """What is to speak. ``voice``: a builtin voice's id, or ``default``; ``recipe``: that of a
    cloned voice, in place of a builtin one; ``emotion``: 0..100, expressive engines only."""

    model: str
    language: str = "en"
    voice: str = "default"
    recipe: Mapping[str, Any] | None = None
    emotion: int | None = None


@dataclass(frozen=True, slots=True)
class VoiceInfo:
    """A builtin voice. ``quality``: good, weak or robotic, as measured for its language."""

    id: str
    name: str
    language: str
    engine: str
    gender: str | None = None
    quality: str = "good"


UNKNOWN = "unknown"
"""The quality of an upstream's voice."""


@dataclass(frozen=True, slots=True)
class CallOptions:
    """What a caller may choose among, and the chat model that answers where none is named;
    ``chat_note``: why it is that one."""

    voices: tuple[VoiceInfo, ...] = ()
    languages: tuple[str, ...] = ()
    chat_model: str = ""
    chat_note: str = ""


@dataclass(frozen=True, slots=True)
class SpeechEngine:
    """Who speaks something. ``quality``: good, weak or robotic, as measured for the language;
    unknown for an upstream's."""

    model_id: str
    quality: str = "good"


@dataclass(frozen=True, slots=True)
class VoiceLanguages:
    """First subtags of what a voice speaks now. ``own``: the language that it was made for;
    ``spoken`` empty: unknown, whatever an upstream's voice speaks."""

    own: str
    spoken: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a recording that was transcribed; ``start`` and ``end`` are sample positions
    at HEARING_RATE, as are those of its words."""

    start: int
    end: int
    text: str
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True)
class Hearing:
    """What has been transcribed so far: one segment, or none where ``done`` samples were
    silence. ``language`` is what the recording is in, as soon as it is known."""

    done: int
    segment: Segment | None = None
    language: str | None = None


class FileTranscriber(Protocol):
    """Speech-to-text of whole recordings, hours long, with segments and word times."""

    model_id: str
    languages: tuple[str, ...]
    translates: bool
    """Whether it can write in English what it hears in another language."""

    def transcribe_file(
        self, pcm: AsyncIterator[bytes], language: str | None = None, *, english: bool = False
    ) -> AsyncGenerator[Hearing, None]:
        """Segments as they are understood, in constant memory. ``pcm``: HEARING_RATE mono, in
        pieces of any size; ``language`` None: found out from the recording; ``english``: in
        English, where it ``translates``."""
        ...


@dataclass(frozen=True, slots=True)
class TranslationEngine:
    """Who translates a pair of languages. ``draft``: a chat model, whose quality nobody has
    measured and which may say something else."""

    model_id: str
    draft: bool


class Translator(Protocol):
    """Text into another language, sentence by sentence. ``draft``: quality is not assured."""

    model_id: str
    draft: bool

    async def translate(self, text: str, source: str, target: str, *, again: bool = False) -> str:
        """``again``: in another way than at first, where that did not do."""
        ...


@dataclass(frozen=True, slots=True)
class VoiceMatch:
    """A voice made after a sample. ``similarity``: cosine to the sample by the speaker encoder,
    ``base_similarity``: that of the default voice, for comparison."""

    recipe: Mapping[str, Any]
    similarity: float
    base_similarity: float
    details: Mapping[str, Any] = field(default_factory=dict)


class Cloner(Protocol):
    """Makes a voice after a sample of speech."""

    model_id: str

    async def match(self, pcm: bytes, language: str = "en") -> VoiceMatch:
        """``pcm``: the sample at HEARING_RATE mono, some seconds to a minute."""
        ...


class JobEngines(Protocol):
    """Look-ups raise ModelUnavailable, with a reason, where no engine can do what is asked.

    Those that are awaited may load the engine first; the others answer from what is known."""

    def chat(self, model_id: str) -> ChatModel: ...

    async def speech(self, choice: SpeechChoice) -> Speaker:
        """A speaker bound to the choice: call ``speak(text, speed=…)``."""
        ...

    def check_speech(self, choice: SpeechChoice) -> None:
        """Raise what ``speech`` would, without loading anything."""
        ...

    def speech_engine(self, choice: SpeechChoice) -> SpeechEngine:
        """Who would speak, and how well; raises what ``check_speech`` would."""
        ...

    def voice_languages(self, model_id: str, voice: str) -> VoiceLanguages:
        """What ``voice`` (a builtin's id, ``default``, or a cloned one's) speaks with the model."""
        ...

    async def file_transcriber(
        self, model_id: str = "default", language: str | None = None
    ) -> FileTranscriber: ...

    def check_transcription(self, model_id: str, language: str | None) -> None:
        """Raise what ``file_transcriber`` would, without loading anything."""
        ...

    async def translator(self, model_id: str, source: str, target: str) -> Translator: ...

    def translation_engine(self, model_id: str, source: str, target: str) -> TranslationEngine:
        """Who would translate; raises what ``translator`` would, without loading anything."""
        ...

    def translated_pairs(self) -> tuple[tuple[str, str], ...]:
        """Pairs (source, target) whose translation is no draft now."""
        ...

    async def cloner(self) -> Cloner: ...

    def check_cloning(self) -> None:
        """Raise what ``cloner`` would, without loading anything."""
        ...

    def voices(self, model_id: str) -> tuple[VoiceInfo, ...]:
        """The builtin voices that ``model_id`` speaks with now."""
        ...

    def statuses(self) -> tuple[EngineStatus, ...]:
        """Every engine: which can be used now, which are loaded, and why others are not there."""
        ...
