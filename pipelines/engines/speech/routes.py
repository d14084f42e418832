"""SpeechRoutes: which engine speaks what a job chose, and with which of its voices.

Rules
- A voice decides: a builtin one belongs to an engine, a cloned one to the engine of its recipe.
- Without a voice ``blab-stable`` is the configured model, else the quickest embedded engine for the
  language that can be used now; ``blab-expressive`` is the engine that knows feeling.
- Voices are told for engines that can be used now. OpenAI's names of voices, which clients send
  whatever server they talk to, mean the default voice of embedded engines.
"""

from collections.abc import Callable
from dataclasses import dataclass

from pipelines.engines.base import ModelUnavailable
from pipelines.engines.engine_settings import EngineSettings
from pipelines.engines.jobs import SpeechChoice, VoiceInfo, VoiceLanguages
from pipelines.engines.kokoro.phonemes import Phonemizer
from pipelines.engines.kokoro.voices import ENGINE as KOKORO
from pipelines.engines.kokoro.voices import catalogue
from pipelines.engines.status import EngineStatus, Role
from pipelines.engines.upstream_models import DEFAULT

from .read_aloud import OPENAI_VOICES, own_voice

HIBARI, PICO = "hibari", "pico"
STABLE, EXPRESSIVE = "blab-stable", "blab-expressive"

BUILTIN = (
    VoiceInfo("heart", "Heart", "en-US", HIBARI, "female"),
    VoiceInfo("en-GB", "Pico English", "en-GB", PICO, "female"),
    VoiceInfo("de-DE", "Pico Deutsch", "de-DE", PICO, "female"),
    VoiceInfo("es-ES", "Pico Español", "es-ES", PICO, "female"),
    VoiceInfo("fr-FR", "Pico Français", "fr-FR", PICO, "female"),
    VoiceInfo("it-IT", "Pico Italiano", "it-IT", PICO, "female"),
)
"""The voices inside of packages; Kokoro's have a catalogue of their own."""

MANY = "mul"
"""BCP 47 for more than one language: what a voice behind an upstream speaks."""


@dataclass(frozen=True, slots=True)
class Route:
    """The engine that speaks, with its voice."""

    model_id: str
    voice: str


class SpeechRoutes:
    """Routes among the engines whose ``status`` is asked for; loads nothing."""

    def __init__(self, settings: EngineSettings, status: Callable[[Role, str], EngineStatus]):
        self._settings = settings
        self._status = status

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
        return {STABLE: DEFAULT, EXPRESSIVE: KOKORO}.get(model_id, model_id)

    def voices(self, model_id: str) -> tuple[VoiceInfo, ...]:
        """The builtin voices that ``model_id`` speaks with now."""
        engine = self.engine_of(model_id)
        if engine != DEFAULT:
            return self._live(engine)
        configured = self._settings.speech_model
        first = () if configured in (None, HIBARI, PICO, KOKORO) else self._live(str(configured))
        return first + self._live(HIBARI) + self._live(PICO) + self._live(KOKORO)

    def voice_languages(self, model_id: str, voice: str) -> VoiceLanguages:
        """See JobEngines."""
        info = next((info for info in self.voices(model_id) if info.id == voice), None)
        own = "en" if info is None or info.language == MANY else _base(info.language)
        if info is not None:
            engine = info.engine
        elif own_voice(voice) != DEFAULT:
            engine = KOKORO  # which speaks with cloned voices
        else:
            engine = self.engine_of(model_id)
            engine = self._settings.speech_model or DEFAULT if engine == DEFAULT else engine
        if engine == DEFAULT:
            return VoiceLanguages(own, self.languages())
        if info is not None and engine == PICO:
            return VoiceLanguages(own, frozenset((own,)))
        return VoiceLanguages(own, frozenset(self._status(Role.SPEECH, engine).languages))

    def _live(self, engine: str) -> tuple[VoiceInfo, ...]:
        return self.own(engine) if self._status(Role.SPEECH, engine).live else ()

    def own(self, engine: str) -> tuple[VoiceInfo, ...]:
        """The voices of an engine, whether it can be used now or not."""
        status = self._status(Role.SPEECH, engine)
        if status.upstream:
            names = sorted(OPENAI_VOICES)
            return tuple(VoiceInfo(name, name.capitalize(), MANY, engine) for name in names)
        if engine == KOKORO:
            return catalogue(status.languages)
        return tuple(info for info in BUILTIN if info.engine == engine)

    def _cloned(self, choice: SpeechChoice, model_id: str) -> str:
        """The engine of the recipe, where the model may use it."""
        assert choice.recipe is not None  # noqa: S101 - callers have checked
        engine = str(choice.recipe.get("engine", ""))
        if engine != KOKORO or model_id not in (DEFAULT, KOKORO):
            raise ModelUnavailable(f"{choice.model} does not speak with cloned voices")
        return engine

    def _best(self, choice: SpeechChoice) -> str:
        """The engine for a choice that names none."""
        configured = self._settings.speech_model
        for engine in (HIBARI, PICO, KOKORO):
            if choice.voice in {info.id for info in self.own(engine)}:
                return engine
        if configured is not None:
            return configured
        fitting = [e for e in _preferred(choice.language) if not self._unfit(e, choice.language)]
        if not fitting:
            reasons = [f"{e}: {self._unfit(e, choice.language)}" for e in (PICO, KOKORO)]
            raise ModelUnavailable(
                f"no voice speaks {choice.language!r} now ({'; '.join(reasons)});"
                f" spoken are: {', '.join(sorted(self.languages()))}"
            )
        return fitting[0]

    def languages(self) -> frozenset[str]:
        """What the embedded engines that can be used now speak, by first subtags."""
        statuses = [self._status(Role.SPEECH, engine) for engine in (HIBARI, PICO, KOKORO)]
        return frozenset(tag for status in statuses if status.live for tag in status.languages)

    def _usable(self, model_id: str, choice: SpeechChoice) -> EngineStatus:
        status = self._status(Role.SPEECH, model_id)
        named = {info.id for info in BUILTIN if info.engine == PICO}
        by_voice = model_id == PICO and choice.voice in named  # the voice decides its language
        reason = status.reason if by_voice else self._unfit(model_id, choice.language)
        if reason:
            raise ModelUnavailable(
                f"{choice.model} cannot speak {choice.language!r} with {model_id}: {reason}"
            )
        return status

    def _unfit(self, model_id: str, language: str) -> str:
        """Why an engine does not speak ``language`` now, or nothing."""
        status = self._status(Role.SPEECH, model_id)
        if not status.live:
            return status.reason
        if not status.languages or _base(language) in status.languages:
            return ""
        if model_id == KOKORO and (reason := Phonemizer.found().reason(language)):
            return reason
        return f"it does not speak {language!r}"


def _preferred(language: str) -> tuple[str, ...]:
    """The embedded engines for a language, quickest first."""
    if language.lower() == "en-gb":
        return (PICO, KOKORO, HIBARI)
    return (HIBARI, KOKORO, PICO) if _base(language) == "en" else (PICO, KOKORO)


def _base(language: str) -> str:
    return language.lower().partition("-")[0]
