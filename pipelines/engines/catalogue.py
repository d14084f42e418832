"""Catalogue: every engine that this process can use, by role and model id. The one door to them.

Rules
- Asking loads nothing: which engines there are, what they can do and where they stand is known from
  their declarations, from the disk and from the upstream's list.
- In a server, ``start`` loads and warms the engines of calls, which all sessions share. Those of
  jobs are loaded when first needed; a worker, which never calls ``start``, loads every engine so.
- A look-up returns a live engine or raises ModelUnavailable, which names the id and what is live.
- ``default`` (and a contract's name mapped to it) is the configured model, else the best embedded
  one. A configured model that is not live is an error, not a reason to take another. Any other id
  is the upstream's, if it lists the id or the id is configured. A call's names may also be those of
  OpenAI's own models: one that no engine here serves means ``default`` (see ``call_names``).
- Upstreams have no streaming speech-to-text: partial transcripts come from the embedded engine,
  whichever model writes the final one.
- The language decides who hears a call: ``default`` is the best engine for it, a model that is
  named or configured is taken where it hears the language.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import permutations
from typing import cast

from media.vad import SileroModel

from .base import (
    ChatModel,
    EngineFailed,
    HearingLoad,
    LanguageDetector,
    ModelUnavailable,
    Speaker,
    StreamingTranscriber,
    Transcriber,
    TurnDetector,
    base_language,
)
from .call_names import (
    CallNames,
    NameFault,
    call_languages,
    languages_coming,
    languages_for,
    name_faults,
    spoken_in_calls,
    upstream_roles,
)
from .chat.choice import ChatChoice
from .discovery import Plugin, installed
from .engine import DEFAULT, NEEDED, Engine, EngineSettings, EngineStatus, Role
from .jobs import (
    UNKNOWN,
    CallLanguage,
    CallOptions,
    Cloner,
    FileTranscriber,
    SpeechChoice,
    SpeechEngine,
    TranslationEngine,
    Translator,
    VoiceInfo,
    VoiceLanguages,
)
from .lookup import Lookup
from .openai_compatible import DISCOVERY_PERIOD, UpstreamModels
from .source import EngineSource, Wait, at_once
from .speech.routes import BoundSpeaker, SpeechRoutes
from .startup import Fetch, Startup
from .transcription.voice_activity import silero_file
from .translation import CHAT_LANGUAGES, FAST_LANGUAGES, FAST_TRANSLATE, ChatTranslator, speaks


class Catalogue(Lookup):
    """``await start()`` it in a server; ``await close()`` it in the end."""

    plugins: tuple[Plugin, ...] = ()
    """The packages that add engines, with the reasons of those that could not."""

    def __init__(
        self,
        settings: EngineSettings,
        *,
        engines: Iterable[Engine] | None = None,
        source: Callable[[Sequence[Engine]], EngineSource] | None = None,
        fetch: Fetch | None = None,
        on_stage: Callable[[str], None] = lambda _: None,
        on_chat_replaced: Callable[[ChatChoice], None] = lambda _: None,
        discovery_period: float = DISCOVERY_PERIOD,
    ) -> None:
        """``engines``: declarations, best first within a role; None: the built-in ones and those of
        installed packages. ``source`` makes of them what the embedded engines come from; None: this
        process. The others are for a server: ``fetch`` fetches weights, without which
        none are; ``on_stage`` is called with each stage of the start ("fetching", "loading", then
        "ready" or "incomplete"), ``on_chat_replaced`` when the larger chat model was tried."""
        declared = tuple(engines or ())
        if engines is None:
            declared, self.plugins = installed().engines, installed().plugins
        made: EngineSource
        if source is not None:
            made = source(declared)
        else:
            made = Startup(
                settings, declared, fetch, on_stage=on_stage, on_chat_replaced=on_chat_replaced
            )
        vad = silero_file(settings.models_dir)
        super().__init__(settings, UpstreamModels(settings, vad, period=discovery_period), made)
        self.routes = SpeechRoutes(
            settings,
            lambda: self._loader.of(Role.SPEECH),
            lambda model_id: self._expected(Role.SPEECH, model_id),
        )

    # ------------------------------------------------------------------------------ life

    async def start(self, quiet: Wait = at_once, warm_up: Wait = at_once) -> None:
        """Fetch and load what calls use and ``warm_up``; returns when all is done or has failed.
        The rest is loaded when ``quiet`` returns: when nobody calls."""
        await self.source.run(self._upstream, self.ready, quiet, warm_up)

    async def complete(self) -> None:
        """Wait until what is loaded after the start is there, or was tried once."""
        await self.source.complete()

    async def close(self) -> None:
        """Close every engine and the connection to the upstream."""
        await self.source.close()
        await self._upstream.close()

    def waiting_for(self) -> str | None:
        """Why calls cannot be answered (a sentence); None when they can."""
        if self.source.waiting is not None:
            return self.source.waiting
        if self.ready():
            return None
        dead = [status for status in self.statuses() if not status.live and status.role in NEEDED]
        return "; ".join(map(_why_dead, dead)) or "An engine that calls need is not live."

    def ready(self) -> bool:
        """Whether a call would be answered: every needed role's default is live."""
        try:
            self.streaming_transcriber(DEFAULT, "en")
            self.transcriber(DEFAULT, "en")
            self._find(Role.CHAT, self.chat_id(DEFAULT))
            self.speaker(DEFAULT, "en")
            _ = self.vad_model
        except ModelUnavailable:
            return False
        usable = {status.role for status in self.statuses() if status.live and status.loaded}
        return usable >= NEEDED

    # ------------------------------------------------------------------------------ calls

    @property
    def vad_model(self) -> SileroModel:
        """The voice activity network."""
        return cast(SileroModel, self._find(Role.VAD, self._best(Role.VAD)))

    @property
    def turn_detector(self) -> TurnDetector:
        """The semantic end of turn."""
        return cast(TurnDetector, self._find(Role.TURN, self._best(Role.TURN)))

    @property
    def language_detector(self) -> LanguageDetector:
        """Which language a caller speaks."""
        return cast(LanguageDetector, self._find(Role.LANGUAGE, self._best(Role.LANGUAGE)))

    def streaming_transcriber(self, model_id: str, language: str = "en") -> StreamingTranscriber:
        """The engine of partial transcripts in ``language`` (``en``, ``de-AT``, …)."""
        role = Role.STREAMING_TRANSCRIPTION
        if model_id != DEFAULT and (role, model_id) not in self._loader.engines:
            self.transcriber(model_id, language)  # an id that nobody serves gets none
        if not self._hears(role, model_id, language):
            model_id = self._best(role, language)
        return cast(StreamingTranscriber, self._find_hearing(role, model_id, language))

    def transcriber(self, model_id: str, language: str = "en") -> Transcriber:
        """The engine of final transcripts in ``language``. A streaming one may be named too: its
        sessions get the default transcriber."""
        role = Role.TRANSCRIPTION
        model_id = self.transcription_id(model_id, language)
        return cast(Transcriber, self._find_hearing(role, model_id, language))

    def hearing_load(self, model_id: str = DEFAULT, language: str = "en") -> HearingLoad:
        """How many utterances the transcriber has now; nothing is known of an upstream's."""
        found = getattr(self.transcriber(model_id, language), "load_now", None)
        return found if isinstance(found, HearingLoad) else HearingLoad()

    def hearing_loads(self) -> dict[str, HearingLoad]:
        """That of every loaded transcriber of calls."""
        return self.source.hearing_loads()

    def hearing_overloaded(self) -> bool:
        """Whether callers already wait to be heard."""
        return any(load.overloaded for load in self.hearing_loads().values())

    async def chat(self, model_id: str) -> ChatModel:
        """The chat model, loaded first if need be."""
        model_id = self.chat_id(model_id)
        key = Role.CHAT, model_id
        model: ChatModel
        if key in self._loader.loaded or key not in self._loader.engines:
            model = self._find(*key)
        else:
            self._check(*key)
            model = await self._loader.fetch(key)
        return model

    def check_chat(self, model_id: str) -> str:
        """The id of the model that ``chat`` would give; raises what it would, and loads nothing."""
        return self._check(Role.CHAT, self.chat_id(model_id)).model_id

    def speaker(self, model_id: str, language: str, voice: str = DEFAULT) -> Speaker:
        """The engine that speaks ``language`` (``en``, ``de-AT``, …) with ``voice`` in a call."""
        model_id = self.speech_id(model_id, language, voice)
        engine = self._find(Role.SPEECH, model_id)
        status = self.status(Role.SPEECH, model_id)
        if status.languages and base_language(language) not in status.languages:
            loaded = [s for s in self.statuses() if s.role is Role.SPEECH and s.loaded]
            spoken = sorted({one for s in loaded if not s.upstream for one in s.languages})
            raise ModelUnavailable(
                f"{model_id} does not speak {language!r}; live voices speak: {', '.join(spoken)}"
            )
        return cast(Speaker, engine)

    def name_faults(self, names: CallNames) -> tuple[NameFault, ...]:
        """Every name that is not served in calls."""
        return name_faults(names, self)

    def languages_for(self, names: CallNames) -> tuple[str, ...]:
        """First subtags of the languages that a call with these names can have, whatever its own
        ``language``: both heard and spoken now. English first, then by the alphabet."""
        return languages_for(names, self)

    def languages_coming(self, names: CallNames) -> tuple[str, ...]:
        """First subtags of the languages that such a call will have once what is fetched and loaded
        in the background is there, and has not now; sorted."""
        return languages_coming(names, self)

    def call_languages(self) -> dict[str, CallLanguage]:
        """How calls are held now, by the first subtags of the languages that are spoken in calls or
        in which hearing was measured."""
        return call_languages(self)

    def call_options(self) -> CallOptions:
        """What a caller may choose among: the voices and languages that ``name_faults`` accepts."""
        chat = self.status(Role.CHAT, self.chat_id(DEFAULT))
        fit = [
            voice
            for voice in self.routes.voices_in_calls()
            if not self.name_faults(CallNames(voice=voice.id, language=voice.language))
        ]
        spoken = spoken_in_calls(self)
        languages = [one for one in spoken if not self.name_faults(CallNames(language=one))]
        return CallOptions(tuple(fit), tuple(languages), chat.model_id, chat.note)

    def upstream_roles(self, names: CallNames) -> frozenset[Role]:
        """What an upstream does in a call with these names."""
        return upstream_roles(names, self)

    def speech_id(self, model_id: str, language: str, voice: str = DEFAULT) -> str:
        """The engine that ``model_id`` stands for in a call; by default the voice decides."""
        return self.routes.for_call(self.resolve(Role.SPEECH, model_id), language, voice)

    # ------------------------------------------------------------------------------ jobs

    async def speech(self, choice: SpeechChoice) -> Speaker:
        """A speaker bound to the choice: call ``speak(text, speed=…)``."""
        await self._upstream.refresh()
        route = self.routes.route(choice)
        engine, voice = await self._fetch(Role.SPEECH, route.model_id), route.voice
        declared = self._loader.engines.get((Role.SPEECH, route.model_id))
        if declared is not None and declared.expressive:
            try:
                engine = engine.bound(
                    voice, recipe=choice.recipe, emotion=choice.emotion, language=choice.language
                )
            except EngineFailed as error:
                raise ModelUnavailable(str(error)) from error
            voice = DEFAULT
        return BoundSpeaker(engine, voice, choice.language)

    def check_speech(self, choice: SpeechChoice) -> None:
        """Raise what ``speech`` would, without loading anything."""
        self.routes.route(choice)

    def speech_engine(self, choice: SpeechChoice) -> SpeechEngine:
        """Who would speak, and how well; raises what ``check_speech`` would."""
        model_id = self.routes.route(choice).model_id
        declared = self._loader.engines.get((Role.SPEECH, model_id))
        return SpeechEngine(model_id, declared.quality(choice.language) if declared else UNKNOWN)

    def voices(self, model_id: str) -> tuple[VoiceInfo, ...]:
        """The builtin voices that ``model_id`` speaks with now."""
        return self.routes.voices(model_id)

    def voice_languages(self, model_id: str, voice: str) -> VoiceLanguages:
        """What ``voice`` (a builtin's id, ``default``, or a cloned one's) speaks with the model."""
        return self.routes.voice_languages(model_id, voice)

    async def file_transcriber(
        self, model_id: str = DEFAULT, language: str | None = None
    ) -> FileTranscriber:
        """The engine of whole recordings; ``language`` None: found out from the recording."""
        await self._upstream.refresh()
        found = self.check_transcription(model_id, language)
        return cast(FileTranscriber, await self._fetch(Role.FILE_TRANSCRIPTION, found))

    def check_transcription(self, model_id: str, language: str | None) -> str:
        """The id of what ``file_transcriber`` would give; raises what it would, and loads
        nothing."""
        role = Role.FILE_TRANSCRIPTION
        model_id = self.settings.transcription_names.get(model_id, model_id)
        if model_id == DEFAULT:
            model_id = self._best(role)
            configured = self.settings.transcription_model
            if configured is not None and not self._expected(role, model_id).live:
                model_id = configured
        languages = self._check(role, model_id).languages
        if language is not None and languages and base_language(language) not in languages:
            heard = ", ".join(sorted(languages))
            raise ModelUnavailable(f"{model_id} does not hear {language!r}: it hears {heard}")
        return model_id

    async def translator(self, model_id: str, source: str, target: str) -> Translator:
        """An engine that translates between the languages of these tags."""
        await self._upstream.refresh()
        engine = self.translation_engine(model_id, source, target)
        if engine.draft:
            return ChatTranslator(await self._fetch(Role.CHAT, engine.model_id))
        return cast(Translator, await self._fetch(Role.TRANSLATION, engine.model_id))

    def translation_engine(self, model_id: str, source: str, target: str) -> TranslationEngine:
        """Who would translate: the embedded translator for its pair, else a chat model. Raises what
        ``translator`` would, without loading anything."""
        pair = base_language(source), base_language(target)
        if pair[0] == pair[1]:
            raise ModelUnavailable(f"there is nothing to translate from {source!r} to {target!r}")
        best = self.settings.chat_names.get(model_id, model_id) == DEFAULT
        if best and speaks(*pair) and self._expected(Role.TRANSLATION, FAST_TRANSLATE).live:
            return TranslationEngine(FAST_TRANSLATE, draft=False)
        if model_id == FAST_TRANSLATE:
            self._check(Role.TRANSLATION, model_id)
            if speaks(*pair):
                return TranslationEngine(model_id, draft=False)
            raise ModelUnavailable(f"{model_id} does not translate {source!r} to {target!r}")
        for language, tag in zip(pair, (source, target), strict=True):
            if language not in CHAT_LANGUAGES:
                raise ModelUnavailable(
                    f"{tag!r} is not translated; these are: {', '.join(CHAT_LANGUAGES)}"
                )
        return TranslationEngine(self._check(Role.CHAT, self.chat_id(model_id)).model_id, True)

    def translated_pairs(self) -> tuple[tuple[str, str], ...]:
        """Pairs (source, target) whose translation is no draft now."""
        live = self._expected(Role.TRANSLATION, FAST_TRANSLATE).live
        return tuple(permutations(FAST_LANGUAGES, 2)) if live else ()

    async def cloner(self) -> Cloner:
        """The engine that makes a voice after a sample."""
        return cast(Cloner, await self._fetch(Role.CLONING, self.check_cloning()))

    def check_cloning(self) -> str:
        """The id of what ``cloner`` would give; raises what it would, and loads nothing."""
        return self._check(Role.CLONING, self._best(Role.CLONING)).model_id


def _why_dead(status: EngineStatus) -> str:
    names = {Role.STREAMING_TRANSCRIPTION: "partial transcription"}
    role = names.get(status.role, str(status.role)).replace("_", " ")
    return f"{role} ({status.model_id}): {status.reason}"
