"""JobLookUps: the engines of jobs; see ``jobs.JobEngines``.

Rules
- What a call uses and a job asks for is one engine, loaded once.
- The checks answer from what is known: which engines there are, what they can do, whether their
  weights lie on this disk. An engine that is loading counts as there.
"""

from itertools import permutations
from typing import cast

from pipelines.engines.kokoro.voices import ENGINE as KOKORO
from pipelines.engines.kokoro.voices import quality
from pipelines.engines.speech.bound_speaker import BoundSpeaker
from pipelines.engines.speech.routes import SpeechRoutes
from pipelines.engines.translation.chat_translator import LANGUAGES as CHAT_LANGUAGES
from pipelines.engines.translation.chat_translator import ChatTranslator
from pipelines.engines.translation.fast_translator import LANGUAGES as FAST_LANGUAGES
from pipelines.engines.translation.fast_translator import MODEL_ID as FAST_TRANSLATE
from pipelines.engines.translation.fast_translator import speaks

from .base import EngineFailed, ModelUnavailable, Speaker
from .engine_settings import EngineSettings
from .jobs import (
    UNKNOWN,
    Cloner,
    FileTranscriber,
    SpeechChoice,
    SpeechEngine,
    TranslationEngine,
    Translator,
    VoiceInfo,
    VoiceLanguages,
)
from .look_ups import LookUps
from .shelf import LOADING, Shelf
from .status import EngineStatus, Role
from .upstream_models import DEFAULT, UpstreamModels


class JobLookUps(LookUps):
    """Implements JobEngines over a shelf and an upstream."""

    def __init__(self, settings: EngineSettings, shelf: Shelf, upstream: UpstreamModels) -> None:
        super().__init__(settings, shelf, upstream)
        self._routes = SpeechRoutes(settings, self._expected)

    # ------------------------------------------------------------------------------ speech

    async def speech(self, choice: SpeechChoice) -> Speaker:
        """See JobEngines."""
        await self._upstream.refresh()
        route = self._routes.route(choice)
        engine = await self.fetch(Role.SPEECH, route.model_id)
        voice = route.voice
        if route.model_id == KOKORO:
            try:
                engine = engine.bound(
                    voice, recipe=choice.recipe, emotion=choice.emotion, language=choice.language
                )
            except EngineFailed as error:
                raise ModelUnavailable(str(error)) from error
            voice = DEFAULT
        return BoundSpeaker(engine, voice, choice.language)

    def check_speech(self, choice: SpeechChoice) -> None:
        """See JobEngines."""
        self._routes.route(choice)

    def speech_engine(self, choice: SpeechChoice) -> SpeechEngine:
        """See JobEngines."""
        model_id = self._routes.route(choice).model_id
        if self.status(Role.SPEECH, model_id).upstream:
            return SpeechEngine(model_id, UNKNOWN)
        measured = quality(choice.language) if model_id == KOKORO else "good"
        return SpeechEngine(model_id, measured)

    def voices(self, model_id: str) -> tuple[VoiceInfo, ...]:
        """See JobEngines."""
        return self._routes.voices(model_id)

    def voice_languages(self, model_id: str, voice: str) -> VoiceLanguages:
        """See JobEngines."""
        return self._routes.voice_languages(model_id, voice)

    # ------------------------------------------------------------------------------ hearing

    async def file_transcriber(
        self, model_id: str = DEFAULT, language: str | None = None
    ) -> FileTranscriber:
        """See JobEngines."""
        await self._upstream.refresh()
        model_id = self._check_transcription(model_id, language)
        return cast(FileTranscriber, await self.fetch(Role.FILES, model_id))

    def check_transcription(self, model_id: str, language: str | None) -> None:
        """See JobEngines."""
        self._check_transcription(model_id, language)

    def _check_transcription(self, model_id: str, language: str | None) -> str:
        """The id of the engine."""
        model_id = self._settings.transcription_names.get(model_id, model_id)
        if model_id == DEFAULT:
            model_id = self.best(Role.FILES, DEFAULT)
            configured = self._settings.transcription_model
            if configured is not None and not self._expected(Role.FILES, model_id).live:
                model_id = configured
        status = self.check(Role.FILES, model_id)
        if language is not None and status.languages and _base(language) not in status.languages:
            heard = ", ".join(sorted(status.languages))
            raise ModelUnavailable(f"{model_id} does not hear {language!r}: it hears {heard}")
        return model_id

    # ------------------------------------------------------------------------------ translation

    async def translator(self, model_id: str, source: str, target: str) -> Translator:
        """See JobEngines."""
        await self._upstream.refresh()
        model_id = self._check_translation(model_id, source, target)
        if model_id == FAST_TRANSLATE:
            return cast(Translator, await self.fetch(Role.TRANSLATION, model_id))
        return ChatTranslator(await self.fetch(Role.CHAT, model_id))

    def translation_engine(self, model_id: str, source: str, target: str) -> TranslationEngine:
        """See JobEngines."""
        found = self._check_translation(model_id, source, target)
        return TranslationEngine(found, draft=found != FAST_TRANSLATE)

    def translated_pairs(self) -> tuple[tuple[str, str], ...]:
        """See JobEngines."""
        live = self._expected(Role.TRANSLATION, FAST_TRANSLATE).live
        return tuple(permutations(FAST_LANGUAGES, 2)) if live else ()

    def _check_translation(self, model_id: str, source: str, target: str) -> str:
        """The id of the engine: the embedded translator for its pair, else a chat model."""
        pair = _base(source), _base(target)
        if pair[0] == pair[1]:
            raise ModelUnavailable(f"there is nothing to translate from {source!r} to {target!r}")
        best = self._settings.chat_names.get(model_id, model_id) == DEFAULT
        if best and speaks(*pair) and self._expected(Role.TRANSLATION, FAST_TRANSLATE).live:
            return FAST_TRANSLATE
        if model_id == FAST_TRANSLATE:
            self.check(Role.TRANSLATION, model_id)
            if speaks(*pair):
                return model_id
            raise ModelUnavailable(f"{model_id} does not translate {source!r} to {target!r}")
        for language, tag in zip(pair, (source, target), strict=True):
            if language not in CHAT_LANGUAGES:
                raise ModelUnavailable(
                    f"{tag!r} is not translated; these are: {', '.join(CHAT_LANGUAGES)}"
                )
        model_id = self.chat_id(model_id)
        self.check(Role.CHAT, model_id)
        return model_id

    # ------------------------------------------------------------------------------ cloning

    async def cloner(self) -> Cloner:
        """See JobEngines."""
        model_id = self.best(Role.CLONING, DEFAULT)
        self.check(Role.CLONING, model_id)
        return cast(Cloner, await self.fetch(Role.CLONING, model_id))

    def check_cloning(self) -> None:
        """See JobEngines."""
        self.check(Role.CLONING, self.best(Role.CLONING, DEFAULT))

    # ------------------------------------------------------------------------------ inside

    def _expected(self, role: Role, model_id: str) -> EngineStatus:
        """The status of an engine, live where it is just being loaded."""
        status = self.status(role, model_id)
        if status.reason != LOADING or status.upstream:
            return status
        return EngineStatus(model_id, role, live=True, languages=status.languages, loaded=False)


def _base(language: str) -> str:
    return language.lower().partition("-")[0]
