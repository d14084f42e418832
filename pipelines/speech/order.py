"""SpeechOrder: what is to be spoken and how, as a job's input holds it; and whether it can be.

A refusal is found before anything is begun: ``choose`` says who speaks, or why nobody can.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from msgspec import Struct

from pipelines.engines.jobs import UNKNOWN, JobEngines, SpeechChoice
from pipelines.engines.reading.text import unspoken
from pipelines.jobs.job import ApiWarning

STABLE, EXPRESSIVE = "blab-stable", "blab-expressive"
EXPRESSIVE_FORMATS = ("mp3", "wav")
DEFAULT_VOICE = "default"
MAX_SHOWN = 100
"""Characters of what cannot be spoken that a warning shows."""


class ClonedVoice(Protocol):
    """What is needed of a cloned voice."""

    @property
    def recipe(self) -> Mapping[str, Any]: ...


class ClonedVoices(Protocol):
    """Where they are found (store.tenants.voices)."""

    async def get(self, workspace_id: str, voice_id: str, /) -> ClonedVoice | None: ...


class UnknownVoice(Exception):
    """No such voice in the workspace, builtin or cloned."""


class Unspeakable(Exception):
    """The model cannot do what was asked; ``param`` names the field."""

    def __init__(self, message: str, param: str) -> None:
        super().__init__(message)
        self.param = param


class SpeechOrder(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All that a speech job needs. ``language`` is known by then; ``emotion``: 0..100."""

    model: str
    input: str
    language: str
    voice: str = DEFAULT_VOICE
    format: str = "mp3"
    speed: float = 1.0
    delivery: str = "verbatim"
    polish: bool = False
    emotion: int | None = None


def check_limits(order: SpeechOrder, *, streaming: bool = False) -> None:
    """Raise Unspeakable for what the contract says that the order's model does not do."""
    if order.model == EXPRESSIVE:
        if streaming:
            raise Unspeakable(f"{EXPRESSIVE} does not stream: use {STABLE}.", "model")
        if order.format not in EXPRESSIVE_FORMATS:
            raise Unspeakable(
                f"{EXPRESSIVE} makes {' and '.join(EXPRESSIVE_FORMATS)} only.", "response_format"
            )
    elif order.emotion is not None:
        raise Unspeakable(f"emotion is for {EXPRESSIVE} only.", "emotion")


def unspoken_part(engines: JobEngines, choice: SpeechChoice, script: str) -> ApiWarning | None:
    """What is in a script that the voice has no sounds for, and leaves out. Nobody knows it of an
    upstream's voice.

    Raises Unspeakable where nothing is left."""
    if engines.speech_engine(choice).quality == UNKNOWN:
        return None
    lost = unspoken(script, choice.language)
    if not lost:
        return None
    shown = " ".join(lost)
    shown = f"{shown[:MAX_SHOWN]} …" if len(shown) > MAX_SHOWN else shown
    message = f"A voice for {choice.language!r} has no sounds for this and leaves it out: {shown}"
    letters = sum(map(str.isalnum, script))
    if sum(map(str.isalnum, "".join(lost))) == letters:
        raise Unspeakable(f"{message}. Nothing is left to say: send its language.", "input")
    return ApiWarning("text_not_spoken", message, "input")


async def choose(
    workspace_id: str, order: SpeechOrder, engines: JobEngines, cloned: ClonedVoices
) -> SpeechChoice:
    """Who speaks; raises UnknownVoice, ModelUnavailable and StoreError."""
    recipe = None
    voice = order.voice
    if voice != DEFAULT_VOICE and all(info.id != voice for info in engines.voices(order.model)):
        found = await cloned.get(workspace_id, voice)
        if found is None:
            # where the model itself is not there, that is what is to be said
            engines.check_speech(SpeechChoice(order.model, order.language))
            raise UnknownVoice(voice)
        voice, recipe = DEFAULT_VOICE, found.recipe
    choice = SpeechChoice(order.model, order.language, voice, recipe, order.emotion)
    engines.check_speech(choice)
    return choice
