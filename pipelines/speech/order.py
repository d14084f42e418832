"""SpeechOrder: what to speak and how, as a job's input holds it; and whether that is possible.

A refusal is found before any work starts: ``choose`` returns who speaks, or raises why nobody can.
"""

from msgspec import Struct

from pipelines.engines.catalogue import Catalogue
from pipelines.engines.jobs import UNKNOWN, SpeechChoice
from pipelines.engines.reading.text import unspoken
from pipelines.jobs.job import ApiWarning, JobFailed, JobRun
from store.tenants.voices import Voices

STABLE, EXPRESSIVE = "blab-stable", "blab-expressive"
EXPRESSIVE_FORMATS = ("mp3", "wav")
DEFAULT_VOICE = "default"
MAX_SHOWN = 100
"""Characters of the unspeakable part that a warning quotes."""


class UnknownVoice(Exception):
    """The workspace has no such voice, builtin or cloned."""


class Unspeakable(Exception):
    """The model cannot do what was requested; ``param`` names the field."""

    def __init__(self, message: str, param: str) -> None:
        super().__init__(message)
        self.param = param


class SpeechOrder(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything a speech job needs. ``language`` has been determined; ``emotion``: 0..100."""

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
    """Raise Unspeakable for what the order's model does not do, by the contract."""
    if order.model == EXPRESSIVE:
        if streaming:
            raise Unspeakable(f"{EXPRESSIVE} does not stream: use {STABLE}.", "model")
        if order.format not in EXPRESSIVE_FORMATS:
            raise Unspeakable(
                f"{EXPRESSIVE} makes {' and '.join(EXPRESSIVE_FORMATS)} only.", "response_format"
            )
    elif order.emotion is not None:
        raise Unspeakable(f"emotion is for {EXPRESSIVE} only.", "emotion")


def unspoken_part(engines: Catalogue, choice: SpeechChoice, script: str) -> ApiWarning | None:
    """A warning about the parts of a script that the voice has no sounds for, and leaves out; None
    if there are none, or if the voice is an upstream's, of which this is not known.

    Raises Unspeakable if nothing is left."""
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
    workspace_id: str, order: SpeechOrder, engines: Catalogue, cloned: Voices
) -> SpeechChoice:
    """Who speaks; raises UnknownVoice, ModelUnavailable and StoreError."""
    recipe = None
    voice = order.voice
    if voice != DEFAULT_VOICE and all(info.id != voice for info in engines.voices(order.model)):
        found = await cloned.get(workspace_id, voice)
        if found is None:
            # a missing model is the better reason, if that is missing too
            engines.check_speech(SpeechChoice(order.model, order.language))
            raise UnknownVoice(voice)
        voice, recipe = DEFAULT_VOICE, found.recipe
    choice = SpeechChoice(
        order.model, order.language, voice=voice, recipe=recipe, emotion=order.emotion
    )
    engines.check_speech(choice)
    return choice


async def choose_in_job(
    run: JobRun, order: SpeechOrder, engines: Catalogue, cloned: Voices
) -> SpeechChoice:
    """As ``choose``, in a job's run: the request was checked, but voices and engines may be gone
    by now. Raises JobFailed, ModelUnavailable and StoreError."""
    try:
        check_limits(order)
        return await choose(run.workspace_id, order, engines, cloned)
    except UnknownVoice as error:
        raise JobFailed("NOT_FOUND", "The voice does not exist any more.") from error
    except Unspeakable as error:
        raise JobFailed("MODEL_UNAVAILABLE", str(error), {"path": error.param}) from error
