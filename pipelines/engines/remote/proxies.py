"""Proxies: the engines of the engine process, as sessions and resources call them.

Each does what the protocol of its role says (``base``, ``jobs``). Turn detection is not waited for
while the engine process is away: silence decides then. Partial transcripts of an utterance end with
the process that hears it; its final transcript is requested anew.
"""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from pipelines.engines.base import (
    AnswerFormat,
    ChatDelta,
    ChatMessage,
    DetectedLanguage,
    EngineError,
    HearingLoad,
    ToolOffer,
    Transcription,
)
from pipelines.engines.engine import Role
from pipelines.engines.jobs import Transcribed

from .client import EngineConnection, Place
from .messages import (
    Accept,
    Binding,
    Chat,
    Detect,
    Finish,
    OpenUtterance,
    Prefill,
    Score,
    Speak,
    Traits,
    Transcribe,
    TranscribeFile,
    Translate,
)

log = logging.getLogger(__name__)

STEP_SECONDS = 15.0
"""For a step of a streaming transcriber, or an opinion."""
TEXT_SECONDS = 60.0
"""For a final transcript, or a delta of an answer."""
LONG_SECONDS = 300.0
"""For a clause of a slow voice, or half a minute of a recording."""


class RemoteUtterance:
    """TranscriptionStream; its methods must not overlap."""

    def __init__(self, connection: EngineConnection, place: Place) -> None:
        self._connection = connection
        self._place: Place | None = place

    async def accept(self, pcm: bytes) -> str:
        """Take the next samples (HEARING_RATE) and return the partial text so far."""
        place = self._opened()
        make = partial(Accept, utterance=place.number, pcm=pcm)
        return await self._connection.ask_at(place, make, str, deadline=STEP_SECONDS)

    async def finish(self) -> Transcription:
        """End the utterance and return its final text."""
        place = self._opened()
        make = partial(Finish, utterance=place.number)
        heard = await self._connection.ask_at(place, make, Transcription, deadline=STEP_SECONDS)
        self._place = None
        return heard

    def close(self) -> None:
        """Give the recogniser back; harmless when called twice."""
        if self._place is not None:
            self._connection.leave(self._place)
            self._place = None

    def _opened(self) -> Place:
        if self._place is None:
            raise RuntimeError("the utterance is over: open a new one")
        return self._place


class RemoteEngine:
    """What all proxies have in common."""

    def __init__(self, connection: EngineConnection, traits: Traits) -> None:
        self.model_id = traits.model_id
        self.languages = traits.languages
        self._connection = connection


class RemoteStreamingTranscriber(RemoteEngine):
    """StreamingTranscriber."""

    async def open(self, language: str = "en") -> RemoteUtterance:
        """Begin an utterance; raises EngineBusy when all recognisers are taken."""
        make = partial(OpenUtterance, model_id=self.model_id, language=language)
        place = await self._connection.open(make, deadline=STEP_SECONDS)
        return RemoteUtterance(self._connection, place)


class RemoteTranscriber(RemoteEngine):
    """Transcriber."""

    def __init__(
        self, connection: EngineConnection, traits: Traits, load: Callable[[str], HearingLoad]
    ) -> None:
        """``load``: of the transcriber of that id."""
        super().__init__(connection, traits)
        self._load = load

    @property
    def load_now(self) -> HearingLoad:
        """How many utterances of all processes it has now."""
        return self._load(self.model_id)

    async def transcribe(self, pcm: bytes, language: str = "en") -> Transcription:
        """The text of an utterance, PCM16 mono at HEARING_RATE. Raises EngineError."""
        make = partial(Transcribe, model_id=self.model_id, pcm=pcm, language=language)
        return await self._connection.ask(make, Transcription, deadline=TEXT_SECONDS)


class RemoteTurnDetector(RemoteEngine):
    """TurnDetector."""

    async def score(self, pcm: bytes) -> float:
        """Probability 0..1 that the speech at the end of ``pcm`` is a complete turn."""
        make = partial(Score, model_id=self.model_id, pcm=pcm)
        return await self._connection.ask(make, float, deadline=STEP_SECONDS, wait=False)


class RemoteLanguageDetector(RemoteEngine):
    """LanguageDetector."""

    async def detect(self, pcm: bytes, languages: Sequence[str]) -> DetectedLanguage:
        """The one of ``languages`` that is spoken at the beginning of ``pcm``."""
        make = partial(Detect, model_id=self.model_id, pcm=pcm, languages=tuple(languages))
        return await self._connection.ask(make, DetectedLanguage, deadline=STEP_SECONDS)


class RemoteChat(RemoteEngine):
    """ChatModel."""

    def stream(
        self,
        messages: Sequence[ChatMessage],
        *,
        max_tokens: int = 256,
        temperature: float = 0.4,
        offer: ToolOffer | None = None,
        answer_format: AnswerFormat | None = None,
    ) -> AsyncGenerator[ChatDelta, None]:
        """An answer; closing it stops generation at once."""
        make = partial(
            Chat,
            model_id=self.model_id,
            messages=tuple(messages),
            max_tokens=max_tokens,
            temperature=temperature,
            offer=offer,
            answer_format=answer_format,
        )
        return self._connection.stream(make, ChatDelta, deadline=TEXT_SECONDS)

    async def prefill(
        self, messages: Sequence[ChatMessage], *, offer: ToolOffer | None = None
    ) -> None:
        """Evaluate a prompt's prefix ahead of time. Never raises an EngineError: the later answer
        would meet it itself."""
        make = partial(Prefill, model_id=self.model_id, messages=tuple(messages), offer=offer)
        try:
            await self._connection.ask(make, type(None), deadline=TEXT_SECONDS, wait=False)
        except EngineError as error:
            log.debug("%s: prefill: %s", self.model_id, error)


class RemoteSpeaker(RemoteEngine):
    """Speaker; ``bound`` where the engine is expressive."""

    def __init__(
        self, connection: EngineConnection, traits: Traits, binding: Binding | None = None
    ) -> None:
        super().__init__(connection, traits)
        self.sample_rate = traits.sample_rate
        self.voices = traits.voices
        self._traits = traits
        self._binding = binding

    def bound(
        self,
        voice: str = "default",
        *,
        recipe: Mapping[str, Any] | None = None,
        emotion: int | None = None,
        language: str = "en",
    ) -> "RemoteSpeaker":
        """A Speaker with one voice. What cannot be bound is refused when it first speaks."""
        kept = None if recipe is None else dict(recipe)
        return RemoteSpeaker(
            self._connection, self._traits, Binding(voice, kept, emotion, language)
        )

    def speak(
        self, text: str, *, voice: str = "default", speed: float = 1.0, language: str = "en"
    ) -> AsyncGenerator[bytes, None]:
        """Speak ``text``. Raises EngineError."""
        make = partial(
            Speak,
            model_id=self.model_id,
            text=text,
            voice=voice,
            speed=speed,
            language=language,
            binding=self._binding,
        )
        return self._connection.stream(make, bytes, deadline=LONG_SECONDS)


class RemoteFileTranscriber(RemoteEngine):
    """FileTranscriber."""

    def __init__(self, connection: EngineConnection, traits: Traits) -> None:
        super().__init__(connection, traits)
        self.translates = traits.translates

    def transcribe_file(
        self, pcm: AsyncIterator[bytes], language: str | None = None, *, english: bool = False
    ) -> AsyncGenerator[Transcribed, None]:
        """Segments as they are understood."""
        make = partial(TranscribeFile, model_id=self.model_id, language=language, english=english)
        return self._connection.stream(make, Transcribed, deadline=LONG_SECONDS, audio=pcm)


class RemoteTranslator(RemoteEngine):
    """Translator."""

    def __init__(self, connection: EngineConnection, traits: Traits) -> None:
        super().__init__(connection, traits)
        self.draft = traits.draft

    async def translate(self, text: str, source: str, target: str, *, again: bool = False) -> str:
        """``again``: in another way than at first, where that did not do."""
        make = partial(
            Translate,
            model_id=self.model_id,
            text=text,
            source=source,
            target=target,
            again=again,
        )
        return await self._connection.ask(make, str, deadline=TEXT_SECONDS)


def proxy(
    connection: EngineConnection, traits: Traits, load: Callable[[str], HearingLoad]
) -> RemoteEngine | None:
    """The proxy of a loaded engine; None for a role that gateway processes do not use so."""
    kinds: dict[Role, Callable[[EngineConnection, Traits], RemoteEngine]] = {
        Role.STREAMING_TRANSCRIPTION: RemoteStreamingTranscriber,
        Role.TRANSCRIPTION: partial(RemoteTranscriber, load=load),
        Role.TURN: RemoteTurnDetector,
        Role.LANGUAGE: RemoteLanguageDetector,
        Role.CHAT: RemoteChat,
        Role.SPEECH: RemoteSpeaker,
        Role.FILE_TRANSCRIPTION: RemoteFileTranscriber,
        Role.TRANSLATION: RemoteTranslator,
    }
    made = kinds.get(traits.role)
    return None if made is None else made(connection, traits)
