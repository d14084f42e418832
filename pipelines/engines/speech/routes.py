"""SpeechRoutes: which engine speaks in a call or a job, and with which of its voices.

Rules
- A voice decides: a builtin one belongs to an engine, a cloned one to the engine of its recipe.
- Without a voice, a call gets the configured model, else the first engine of calls that speaks the
  language. A job gets the configured model for ``blab-stable``, else the quickest embedded engine
  for the language that can be used now; ``blab-expressive`` is the engine that speaks with feeling.
- Listed voices are those of engines that can be used now. OpenAI's voice names, which clients send
  to any server, mean the default voice of an embedded engine.
"""

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

from pipelines.engines.base import ModelUnavailable, Speaker, base_language
from pipelines.engines.engine import DEFAULT, Engine, EngineSettings, EngineStatus
from pipelines.engines.jobs import SpeechChoice, VoiceInfo, VoiceLanguages
from pipelines.engines.kokoro.voices import KOKORO

from .read_aloud import OPENAI_VOICES, own_voice

STABLE, EXPRESSIVE = "blab-stable", "blab-expressive"
AMERICAN, BRITISH = "en-us", "en-gb"
MANY = "mul"
"""BCP 47 for more than one language: what a voice behind an upstream speaks."""


@dataclass(frozen=True, slots=True)
class Route:
    """The engine that speaks, with its voice."""

    model_id: str
    voice: str


class SpeechRoutes:
    """Chooses among ``speakers``, whose ``status`` counts an engine that is loading as live."""

    def __init__(
        self,
        settings: EngineSettings,
        speakers: Callable[[], list[Engine]],
        status: Callable[[str], EngineStatus],
    ) -> None:
        self._settings = settings
        self._speakers = speakers
        self._status = status

    # ------------------------------------------------------------------------------ calls

    def for_call(self, model_id: str, language: str, voice: str) -> str:
        """The engine that speaks in a call; whether it can is for the caller to check."""
        named = self.engine_of(model_id)
        if not self.voice_decides(model_id):
            return named if named != DEFAULT else str(self._settings.speech_model)
        base = base_language(language)
        if own_voice(voice) != DEFAULT:
            for info in self.voices_in_calls():
                if info.id == voice and base_language(info.language) == base:
                    return info.engine
        known = [engine for engine in self._speakers() if not engine.on_demand]
        spoken = [engine for engine in known if not engine.languages or base in engine.languages]
        ranked = [*spoken, *known[-1:]]
        return ranked[0].id if ranked else DEFAULT

    def voice_decides(self, model_id: str) -> bool:
        """Whether a call's voice chooses the engine, no model having been named or configured."""
        named = self.engine_of(model_id)
        return named == DEFAULT and (self._settings.speech_model or DEFAULT) == DEFAULT

    def voices_in_calls(self) -> tuple[VoiceInfo, ...]:
        """The voices of all embedded engines that calls can use."""
        usable = [one for one in self._speakers() if self._status(one.id).in_calls]
        return tuple(info for engine in usable for info in engine.voices)

    # ------------------------------------------------------------------------------ jobs

    def route(self, choice: SpeechChoice) -> Route:
        """Who speaks; raises ModelUnavailable where nobody can."""
        model_id = self.engine_of(choice.model)
        voice = choice.voice
        if choice.recipe is not None:
            model_id, voice = self._cloned(choice, model_id), DEFAULT
        elif model_id == DEFAULT:
            model_id = self._best(choice)
        status = self._usable(model_id, choice)
        if status.upstream:
            return Route(model_id, voice)
        voice = own_voice(voice)
        if voice != DEFAULT and voice not in {info.id for info in self.own(model_id)}:
            raise ModelUnavailable(f"{choice.model} has no voice {choice.voice!r}")
        return Route(model_id, voice)

    def engine_of(self, model_id: str) -> str:
        """The engine that a model's name stands for; DEFAULT: that which suits."""
        names = self._settings.speech_names
        if model_id in names:
            return names[model_id]
        if model_id == EXPRESSIVE:
            return self._expressive()
        return DEFAULT if model_id == STABLE else model_id

    def voices(self, model_id: str) -> tuple[VoiceInfo, ...]:
        """The builtin voices that ``model_id`` speaks with now."""
        named = self.engine_of(model_id)
        if named != DEFAULT:
            return self._live(named)
        embedded = [engine.id for engine in self._speakers()]
        configured = self._settings.speech_model
        first = [] if configured is None or configured in embedded else [configured]
        return tuple(info for engine in (*first, *embedded) for info in self._live(engine))

    def voice_languages(self, model_id: str, voice: str) -> VoiceLanguages:
        """What ``voice`` (a builtin's id, ``default``, or a cloned one's) speaks with the model."""
        info = next((info for info in self.voices(model_id) if info.id == voice), None)
        own = "en" if info is None or info.language == MANY else base_language(info.language)
        if info is not None:
            engine = info.engine
        elif own_voice(voice) != DEFAULT:
            engine = self._expressive()  # which speaks with cloned voices
        else:
            engine = self.engine_of(model_id)
            engine = self._settings.speech_model or DEFAULT if engine == DEFAULT else engine
        if engine == DEFAULT:
            return VoiceLanguages(own, self.languages())
        declared = self._declared(engine)
        if info is not None and declared is not None and declared.monolingual_voices:
            return VoiceLanguages(own, frozenset((own,)))
        return VoiceLanguages(own, frozenset(self._status(engine).languages))

    def own(self, engine: str) -> tuple[VoiceInfo, ...]:
        """The voices of an engine, whether it can be used now or not."""
        if self._status(engine).upstream:
            names = sorted(OPENAI_VOICES)
            return tuple(VoiceInfo(name, name.capitalize(), MANY, engine) for name in names)
        declared = self._declared(engine)
        return declared.voices if declared is not None else ()

    def languages(self) -> frozenset[str]:
        """What the embedded engines that can be used now speak, by first subtags."""
        statuses = [self._status(engine.id) for engine in self._speakers()]
        return frozenset(tag for status in statuses if status.live for tag in status.languages)

    # ------------------------------------------------------------------------------ inside

    def _declared(self, engine: str) -> Engine | None:
        return next((one for one in self._speakers() if one.id == engine), None)

    def _expressive(self) -> str:
        return next((one.id for one in self._speakers() if one.expressive), KOKORO)

    def _live(self, engine: str) -> tuple[VoiceInfo, ...]:
        return self.own(engine) if self._status(engine).live else ()

    def _cloned(self, choice: SpeechChoice, model_id: str) -> str:
        """The engine of the recipe, where the model may use it."""
        assert choice.recipe is not None  # noqa: S101 - callers have checked
        engine = str(choice.recipe.get("engine", ""))
        declared = self._declared(engine)
        expressive = declared.expressive if declared is not None else engine == KOKORO
        if not expressive or model_id not in (DEFAULT, engine):
            raise ModelUnavailable(f"{choice.model} does not speak with cloned voices")
        return engine

    def _best(self, choice: SpeechChoice) -> str:
        """The engine for a choice that names none."""
        for engine in self._speakers():
            if choice.voice in {info.id for info in engine.voices}:
                return engine.id
        if self._settings.speech_model is not None:
            return self._settings.speech_model
        ranked = self._ranked(choice.language)
        fitting = [engine.id for engine in ranked if not self._unfit(engine.id, choice.language)]
        if not fitting:
            reasons = [f"{one.id}: {self._unfit(one.id, choice.language)}" for one in ranked]
            raise ModelUnavailable(
                f"no voice speaks {choice.language!r} now ({'; '.join(reasons)});"
                f" spoken are: {', '.join(sorted(self.languages()))}"
            )
        return fitting[0]

    def _ranked(self, language: str) -> list[Engine]:
        """The embedded engines for a language, best first: those with a voice of the accent that
        is requested, if it is English, and the quicker ones, which are declared first."""
        if base_language(language) != "en":
            return self._speakers()
        accent = BRITISH if language.lower() == BRITISH else AMERICAN

        def foreign(engine: Engine) -> bool:
            return accent not in {info.language.lower() for info in engine.voices}

        return sorted(self._speakers(), key=foreign)

    def _usable(self, model_id: str, choice: SpeechChoice) -> EngineStatus:
        status = self._status(model_id)
        declared = self._declared(model_id)
        by_voice = (
            declared is not None
            and declared.monolingual_voices
            and choice.voice in {info.id for info in declared.voices}
        )  # the voice decides its language
        reason = status.reason if by_voice else self._unfit(model_id, choice.language)
        if reason:
            raise ModelUnavailable(
                f"{choice.model} cannot speak {choice.language!r} with {model_id}: {reason}"
            )
        return status

    def _unfit(self, model_id: str, language: str) -> str:
        """Why an engine does not speak ``language`` now, or nothing."""
        status = self._status(model_id)
        if not status.live:
            return status.reason
        if not status.languages or base_language(language) in status.languages:
            return ""
        declared = self._declared(model_id)
        reason = declared.unspoken(language) if declared is not None else None
        return reason or f"it does not speak {language!r}"


class BoundSpeaker:
    """A Speaker that speaks with the voice and language that a job chose, whatever it is given."""

    def __init__(self, speaker: Speaker, voice: str, language: str) -> None:
        self.model_id = speaker.model_id
        self.sample_rate = speaker.sample_rate
        self.voices: tuple[str, ...] = (DEFAULT,)
        self._speaker = speaker
        self._voice = voice
        self._language = language

    def speak(
        self,
        text: str,
        *,
        voice: str = DEFAULT,  # noqa: ARG002 - it is bound
        speed: float = 1.0,
        language: str = "en",  # noqa: ARG002 - it is bound
    ) -> AsyncGenerator[bytes, None]:
        """As the speaker's own."""
        return self._speaker.speak(text, voice=self._voice, speed=speed, language=self._language)
