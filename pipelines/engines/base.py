"""What an engine is: the protocols that sessions and jobs call, and the errors they may raise.

Rules
- An engine is loaded once per process and shared by every session; all methods are safe to
  call from many tasks at once.
- Nothing here blocks the event loop: implementations run vendor code on their own bounded
  executor, under a deadline.
- Cancelling the awaiting task (or ``aclose()`` of an async generator) stops the work and frees
  the engine.
- All audio is PCM16 LE mono; what is heard is ``media.formats.HEARING_RATE``.
"""

import secrets
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol


class EngineError(Exception):
    """Something an engine could not do. ``code`` is a code of the REST contract.

    Tree:

        EngineError
        ├── ModelUnavailable   no engine serves that model id      MODEL_UNAVAILABLE
        ├── EngineFailed       the engine or its upstream failed   PROVIDER_ERROR
        │   └── EngineTimeout  it did not answer within its deadline
        └── EngineBusy         its queue is full; try again later
    """

    code = "PROVIDER_ERROR"


class ModelUnavailable(EngineError):
    """No live engine serves the model id asked for."""

    code = "MODEL_UNAVAILABLE"


class EngineFailed(EngineError):
    """Vendor code or an upstream failed; the message is safe to show to a user."""


class EngineTimeout(EngineFailed):
    """The engine did not answer within its deadline."""


class EngineBusy(EngineError):
    """The engine's bounded queue is full."""


def base_language(tag: str) -> str:
    """The first subtag of a BCP 47 tag: ``en`` of ``en-GB``."""
    return tag.lower().partition("-")[0]


@dataclass(frozen=True, slots=True)
class Word:
    """A recognised word; ``start`` and ``end`` are sample positions at HEARING_RATE."""

    text: str
    start: int
    end: int
    confidence: float = 1.0


@dataclass(frozen=True, slots=True)
class Transcription:
    """What an utterance says. ``words`` is empty where the engine gives no times."""

    text: str
    words: tuple[Word, ...] = ()
    language: str = "en"


class TranscriptionStream(Protocol):
    """One utterance being heard. Use once; ``close()`` in any case."""

    async def accept(self, pcm: bytes) -> str:
        """Take the next samples (HEARING_RATE) and return the partial text so far."""
        ...

    async def finish(self) -> Transcription:
        """End the utterance and return its final text."""
        ...

    def close(self) -> None:
        """Give the recogniser back; harmless when called twice."""
        ...


class StreamingTranscriber(Protocol):
    """Incremental speech-to-text: partial transcripts while the caller speaks."""

    model_id: str

    async def open(self, language: str = "en") -> TranscriptionStream:
        """Begin an utterance; raises EngineBusy when all recognisers are taken."""
        ...


class Transcriber(Protocol):
    """Speech-to-text of a whole utterance (seconds to a minute, HEARING_RATE)."""

    model_id: str

    async def transcribe(self, pcm: bytes, language: str = "en") -> Transcription:
        """The text of an utterance, PCM16 mono at HEARING_RATE. Raises EngineError."""
        ...


@dataclass(frozen=True, slots=True)
class DetectedLanguage:
    """``language``: a first subtag; ``probability`` 0..1, over the languages it was chosen from."""

    language: str
    probability: float


class LanguageDetector(Protocol):
    """Which language somebody speaks."""

    async def detect(self, pcm: bytes, languages: Sequence[str]) -> DetectedLanguage:
        """The one of ``languages`` (BCP 47 tags) that is spoken at the beginning of ``pcm``
        (HEARING_RATE; the first 4 s count). A turn of a second and a half is enough, a word is
        not. Raises EngineError."""
        ...


ROUNDS = 4
"""An utterance takes 0.2 to 0.3 s: after four others, nearly a second has passed."""


@dataclass(frozen=True, slots=True)
class HearingLoad:
    """Utterances that are transcribed now and that wait, and how many ``places`` there are."""

    running: int = 0
    waiting: int = 0
    places: int = 0

    @property
    def crowded(self) -> bool:
        """Whether another utterance would wait."""
        return self.places > 0 and self.running + self.waiting >= self.places

    @property
    def overloaded(self) -> bool:
        """Whether so many wait that another one would wait for about a second."""
        return self.places > 0 and self.waiting >= ROUNDS * self.places


class TurnDetector(Protocol):
    """Semantic end of turn from the audio itself."""

    async def score(self, pcm: bytes) -> float:
        """Probability 0..1 that the speech at the end of ``pcm`` is a complete turn.

        ``pcm`` is the turn so far at HEARING_RATE (the last 8 s count)."""
        ...


@dataclass(frozen=True, slots=True)
class ToolDefinition:
    """A tool that a chat model may call; ``parameters`` is a JSON schema, as JSON.

    ``strict``: the arguments must fit it; the embedded model's do in any case."""

    name: str
    description: str = ""
    parameters: str = "{}"
    strict: bool = False


@dataclass(frozen=True, slots=True)
class ToolOffer:
    """The tools of one answer. ``choice``: "auto", "none", "required", or one tool's name.

    ``parallel``: whether one answer may make several calls."""

    tools: tuple[ToolDefinition, ...]
    choice: str = "auto"
    parallel: bool = True


@dataclass(frozen=True, slots=True)
class AnswerFormat:
    """An answer that is one JSON value: any object, or what fits ``schema`` (as JSON)."""

    schema: str = ""
    name: str = "answer"
    strict: bool = False
    description: str = ""


def new_call_id() -> str:
    """An id for a call of a tool that no other call has, in this process or any other."""
    return f"call_{secrets.token_hex(12)}"


@dataclass(frozen=True, slots=True)
class ChatToolCall:
    """A call that a chat model made; ``arguments`` as it wrote them, JSON if all went well."""

    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of the history given to a chat model.

    ``calls``: what an assistant's message called; ``call_id``: which call a tool's answers.
    ``fact``: what answers the user's question (see ``sums``), for embedded models alone."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    calls: tuple[ChatToolCall, ...] = ()
    call_id: str = ""
    fact: str = ""


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A piece of the answer's call number ``index``; the first one has the id and the name."""

    index: int
    call_id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class ChatDelta:
    """A piece of a streamed answer; the last one carries the token counts."""

    text: str = ""
    finish_reason: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    calls: tuple[ToolCallDelta, ...] = ()
    thought: str = ""
    """What the model thought, never part of the answer (see ``engines.thoughts``)."""
    retracts: bool = False
    """All ``text`` before this delta has turned out to be a thought."""
    cached_tokens: int = 0
    """The part of ``prompt_tokens`` that the model had read before, as far as it says."""


class ChatModel(Protocol):
    """A streaming chat model. ``aclose()`` of the generator stops generation at once."""

    model_id: str

    def stream(
        self,
        messages: Sequence[ChatMessage],
        *,
        max_tokens: int = 256,
        temperature: float = 0.4,
        offer: ToolOffer | None = None,
        answer_format: AnswerFormat | None = None,
    ) -> AsyncGenerator[ChatDelta, None]:
        """An answer. A call is never part of its text, and an answer without text or calls is
        an empty one: its last delta says "stop" (see ``engines.sure_calls``)."""
        ...

    async def prefill(
        self, messages: Sequence[ChatMessage], *, offer: ToolOffer | None = None
    ) -> None:
        """Evaluate a prompt's prefix ahead of time, so that the next answer starts sooner.

        A hint: engines without a prompt cache do nothing."""
        ...


class Speaker(Protocol):
    """Text-to-speech. Yields PCM16 mono at ``sample_rate`` as soon as it has any."""

    model_id: str
    sample_rate: int
    voices: tuple[str, ...]

    def speak(
        self, text: str, *, voice: str = "default", speed: float = 1.0, language: str = "en"
    ) -> AsyncGenerator[bytes, None]:
        """Speak ``text``. Raises EngineError."""
        ...
