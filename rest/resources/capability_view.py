"""How capabilities are shown: the answer of ``GET /api/capabilities``, member by member."""

from msgspec import Struct

from .survey import SpokenLanguage


class SpeechModel(Struct, rename="camel"):
    """What one of the speech models does. ``languages``: how each is spoken; ``cloned_voices``:
    whether it speaks with them now."""

    id: str
    available: bool
    languages: dict[str, SpokenLanguage]
    formats: list[str]
    streaming: bool
    voices: int
    cloned_voices: bool
    emotion: bool


class SpeedRange(Struct):
    """Bounds of ``speed``; 1 is the voice's own."""

    minimum: float
    maximum: float


class Speech(Struct, rename="camel"):
    """``languages`` are those of ``blab-stable``. ``delivery``: what is done now; what needs a
    chat model that is not there is spoken verbatim. ``tags``: expression tags by language."""

    available: bool
    models: list[SpeechModel]
    languages: dict[str, SpokenLanguage]
    formats: list[str]
    speed: SpeedRange
    delivery: list[str]
    tags: dict[str, list[str]]
    polish: bool
    streaming: bool
    max_characters: int
    max_prepared_characters: int


class Hearing(Struct, rename="camel"):
    """``languages`` empty: whatever the upstream hears. ``models``: those of recordings."""

    available: bool
    reason: str | None
    models: list[str]
    languages: list[str]
    language_detection: bool
    word_times: bool
    exports: list[str]


class Chat(Struct, rename="camel"):
    """The chat model that ``name`` stands for; ``note``: why it is that one."""

    available: bool
    reason: str | None
    name: str
    model: str | None
    note: str | None = None


class VoiceCloning(Struct, rename="camel"):
    """``method`` ``style_match``: the nearest that the engine's own styles come to the sample."""

    available: bool
    reason: str | None
    method: str
    languages: list[str]


class Dubbing(Struct, rename="camel"):
    """``targets``: languages into which each source language is dubbed, being translated by a
    translator, and spoken. ``drafts``: those that a chat model would translate, which may say
    something else; they need ``allowDraft``."""

    available: bool
    reason: str | None
    targets: dict[str, list[str]]
    drafts: dict[str, list[str]]


class Batch(Struct, rename="camel"):
    """How many texts one batch takes."""

    max_items: int


class Realtime(Struct, rename="camel"):
    """Live calls, and the paths at which they are opened."""

    available: bool
    websocket: str
    webrtc: str


class Limits(Struct, rename="camel"):
    """``requests_per_minute`` 0: no limit."""

    max_upload_bytes: int
    max_media_seconds: float
    max_text_characters: int
    requests_per_minute: int


class CapabilitiesView(Struct, rename="camel"):
    """What this server can do now."""

    tts: Speech
    stt: Hearing
    llm: Chat
    voice_cloning: VoiceCloning
    dubbing: Dubbing
    batch: Batch
    realtime: Realtime
    limits: Limits
