"""What the engines of jobs are, beside those of ``base``: protocols, and what they are given and
give."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from .base import Word


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
class CallLanguage:
    """How a call is held in a language now. ``hearing``, ``speech``: the engines, None where it is
    not heard or spoken; ``word_errors``: the share of words heard wrongly, as measured."""

    hearing: str | None = None
    speech: str | None = None
    word_errors: float | None = None
    reason: str | None = None
    """Why no call can be held in it."""


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
class Transcribed:
    """How far a recording is transcribed: up to ``done`` samples, with the segment that ended
    there, or none where there was silence. ``language``: the recording's, once it is known."""

    done: int
    segment: Segment | None = None
    language: str | None = None


class FileTranscriber(Protocol):
    """Speech-to-text of whole recordings, hours long, with segments and word times."""

    model_id: str
    languages: tuple[str, ...]

    @property
    def translates(self) -> bool:
        """Whether it can write in English what it hears in another language."""
        ...

    def transcribe_file(
        self, pcm: AsyncIterator[bytes], language: str | None = None, *, english: bool = False
    ) -> AsyncGenerator[Transcribed, None]:
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


ShareDone = Callable[[float], Awaitable[None]]


async def nobody_asks(_share: float) -> None:
    """Where nobody wants to know how much is done."""


class Cloner(Protocol):
    """Makes a voice after a sample of speech."""

    model_id: str

    async def match(
        self, pcm: bytes, language: str = "en", *, done: ShareDone = nobody_asks
    ) -> VoiceMatch:
        """``pcm``: the sample at HEARING_RATE mono, some seconds to a minute. ``done`` is called
        with the share of the work that is done, rising from 0 to 1."""
        ...
