"""Messages between a gateway process and the engine process, as MessagePack.

A request has an ``id`` that its sender has not used before on this connection. It is answered by
one ``Result`` or ``Failed``; one that streams is answered by ``Item`` before that, and no more of
them than its sender has granted (``WINDOW`` at first, then by ``Grant``). ``Cancel`` stops the
work; nothing answers it, and what is under way for that id is ignored.

Both ends are of one installation, so there is one version of this protocol.
"""

from typing import Any

import msgspec

from pipelines.engines.base import (
    AnswerFormat,
    ChatDelta,
    ChatMessage,
    DetectedLanguage,
    EngineBusy,
    EngineError,
    EngineFailed,
    EngineTimeout,
    HearingLoad,
    ModelUnavailable,
    ToolOffer,
    Transcription,
)
from pipelines.engines.chat.choice import ChatChoice
from pipelines.engines.engine import EngineStatus, Role
from pipelines.engines.jobs import Transcribed

WINDOW = 32
"""Items that may be under way for one request."""
MOST_BYTES = 64 * 2**20
"""The longest message: ten minutes of speech at HEARING_RATE are 19 MB."""


class Message(msgspec.Struct, array_like=True, tag=True):
    """Anything that is sent in either direction."""


# ------------------------------------------------------------------ from the gateway process


class Request(Message):
    """``flow``: the call it belongs to (``fair_queue``); ``patience``: seconds it may wait for an
    engine that is being loaded."""

    id: int
    flow: str
    patience: float


class Load(Request):
    """Load an engine, if it is not loaded yet."""

    role: Role
    model_id: str


class OpenUtterance(Request):
    """Begin partial transcripts. The utterance is known by this request's id."""

    model_id: str
    language: str


class Accept(Request):
    """The next samples of an utterance; answered by the partial text."""

    utterance: int
    pcm: bytes


class Finish(Request):
    """The end of an utterance; answered by its Transcription."""

    utterance: int


class Transcribe(Request):
    """See ``base.Transcriber``."""

    model_id: str
    pcm: bytes
    language: str


class Detect(Request):
    """See ``base.LanguageDetector``."""

    model_id: str
    pcm: bytes
    languages: tuple[str, ...]


class Score(Request):
    """See ``base.TurnDetector``."""

    model_id: str
    pcm: bytes


class Chat(Request):
    """See ``base.ChatModel.stream``; its items are ChatDelta."""

    model_id: str
    messages: tuple[ChatMessage, ...]
    max_tokens: int
    temperature: float
    offer: ToolOffer | None
    answer_format: AnswerFormat | None


class Prefill(Request):
    """See ``base.ChatModel.prefill``."""

    model_id: str
    messages: tuple[ChatMessage, ...]
    offer: ToolOffer | None


class Binding(msgspec.Struct, frozen=True, array_like=True):
    """What an expressive speaker is bound to before it speaks (``Engine.expressive``)."""

    voice: str
    recipe: dict[str, Any] | None
    emotion: int | None
    language: str


class Speak(Request):
    """See ``base.Speaker``; its items are PCM16."""

    model_id: str
    text: str
    voice: str
    speed: float
    language: str
    binding: Binding | None


class TranscribeFile(Request):
    """See ``jobs.FileTranscriber``; its items are Transcribed. The recording follows in ``Audio``,
    of which the engine process grants as many as it takes."""

    model_id: str
    language: str | None
    english: bool


class Translate(Request):
    """See ``jobs.Translator``; answered by the text."""

    model_id: str
    text: str
    source: str
    target: str
    again: bool


class Audio(Message):
    """The next samples of a recording that request ``id`` transcribes; empty: its end."""

    id: int
    pcm: bytes


class Cancel(Message):
    """Stop the work of a request, or give an utterance's recogniser back."""

    id: int


class Calls(Message):
    """How many calls the gateway process carries now."""

    active: int


# ------------------------------------------------------------------ in both directions


class Grant(Message):
    """So many more items of request ``id`` (or ``Audio`` for it) may be sent."""

    id: int
    items: int


# ------------------------------------------------------------------ from the engine process


class Traits(msgspec.Struct, frozen=True, array_like=True):
    """What callers read from a loaded engine without calling it."""

    role: Role
    model_id: str
    languages: tuple[str, ...] = ()
    sample_rate: int = 0
    voices: tuple[str, ...] = ()
    translates: bool = False
    draft: bool = False


class State(Message):
    """Where the engines stand, best first within a role; sent at once and after every change.

    ``waiting``: why calls must wait for the start (``Startup.waiting``); ``complete``: whether what
    is loaded in the background was tried; ``calls``: those of all gateway processes."""

    statuses: tuple[EngineStatus, ...]
    loaded: tuple[Traits, ...]
    waiting: str | None
    choice: ChatChoice | None
    complete: bool
    calls: int


class Loads(Message):
    """How busy the transcribers are; sent after every change, at most every ``server.PERIOD``."""

    by_model: dict[str, HearingLoad]


Value = (
    ChatDelta | bytes | Transcribed | Transcription | DetectedLanguage | Traits | str | float | None
)
"""What engines answer."""


class Item(Message):
    """A piece of an answer that is streamed; ``value`` is read as the request wants it."""

    id: int
    value: msgspec.Raw


class Result(Message):
    """The end of a request that succeeded; ``value`` is read as the request wants it."""

    id: int
    value: msgspec.Raw


class Failed(Message):
    """The end of a request that did not; ``kind`` names the EngineError."""

    id: int
    kind: str
    message: str

    @classmethod
    def of(cls, request: int, error: EngineError) -> "Failed":
        """The message for an error."""
        kind = next((name for name, kind in _ERRORS.items() if type(error) is kind), "EngineFailed")
        return cls(request, kind, str(error))

    @property
    def error(self) -> EngineError:
        """The error, as the engine raised it."""
        return _ERRORS.get(self.kind, EngineFailed)(self.message)


_ERRORS: dict[str, type[EngineError]] = {
    kind.__name__: kind
    for kind in (EngineError, ModelUnavailable, EngineFailed, EngineTimeout, EngineBusy)
}

ToEngines = (
    Load
    | OpenUtterance
    | Accept
    | Finish
    | Transcribe
    | Detect
    | Score
    | Chat
    | Prefill
    | Speak
    | TranscribeFile
    | Translate
    | Audio
    | Cancel
    | Calls
    | Grant
)
FromEngines = State | Loads | Item | Result | Failed | Grant

_ENCODER = msgspec.msgpack.Encoder()
_TO_ENGINES: msgspec.msgpack.Decoder[ToEngines] = msgspec.msgpack.Decoder(ToEngines)
_FROM_ENGINES: msgspec.msgpack.Decoder[FromEngines] = msgspec.msgpack.Decoder(FromEngines)


def encode(message: Message) -> bytes:
    """The bytes of a message."""
    return _ENCODER.encode(message)


def packed(value: Value) -> msgspec.Raw:
    """An engine's answer, for ``Item`` and ``Result``."""
    return msgspec.Raw(_ENCODER.encode(value))


def read_request(data: bytes) -> ToEngines:
    """What a gateway process sent; raises msgspec.DecodeError or msgspec.ValidationError."""
    try:
        return _TO_ENGINES.decode(data)
    except UnicodeDecodeError as error:  # the decoder lets it through
        raise msgspec.DecodeError(str(error)) from error


def read_answer(data: bytes) -> FromEngines:
    """What the engine process sent; raises msgspec.DecodeError or msgspec.ValidationError."""
    try:
        return _FROM_ENGINES.decode(data)
    except UnicodeDecodeError as error:
        raise msgspec.DecodeError(str(error)) from error
