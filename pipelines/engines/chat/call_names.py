"""CallNames: the names that a call's configuration gives, and which of them nothing here serves.

Every place that takes such names (sessions, replies, agents, addresses) asks ``name_faults`` when
they are given: a wrong name is refused there and then, not at every turn of the call.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pipelines.engines.speech.read_aloud import own_voice
from pipelines.engines.status import Role

if TYPE_CHECKING:
    from pipelines.engines.registry import Engines

DEFAULT = "default"
MOST_LISTED = 24
"""Accepted names that an error lists; a count stands for the rest."""

NameField = Literal["model", "transcription_model", "speech_model", "language", "voice"]
"""A member of CallNames; SessionConfig calls them the same."""


@dataclass(frozen=True, slots=True)
class CallNames:
    """What a call is to use. ``hears`` and ``speaks``: whether the language must be understood,
    and whether it must be spoken."""

    model: str = DEFAULT
    transcription_model: str = DEFAULT
    speech_model: str = DEFAULT
    voice: str = DEFAULT
    language: str = "en"
    hears: bool = True
    speaks: bool = True


@dataclass(frozen=True, slots=True)
class NameFault:
    """A name that nothing here serves. ``message``: a sentence that says why and, within bounds,
    what is accepted. ``known``: the name is one of this server's and cannot be used just now."""

    field: NameField
    name: str
    message: str
    known: bool = False


def name_faults(names: CallNames, engines: "Engines") -> tuple[NameFault, ...]:
    """Every name that is not served in calls; empty where all are. Loads nothing."""
    scribe = engines.transcription_id(names.transcription_model)
    speech = engines.speech_id(names.speech_model, names.language, names.voice)
    faults = [
        *_no_model("model", names.model, Role.CHAT, engines.chat_id(names.model), engines),
        *_no_model(
            "transcription_model", names.transcription_model, Role.TRANSCRIPTION, scribe, engines
        ),
        *_no_model("speech_model", names.speech_model, Role.SPEECH, speech, engines),
    ]
    broken = {fault.field for fault in faults}
    unheard, unspoken = [], []
    if names.hears and "transcription_model" not in broken:
        unheard = _no_language(names, "understood", Role.TRANSCRIPTION, scribe, engines)
    if names.speaks and "speech_model" not in broken:
        unspoken = _no_language(names, "spoken", Role.SPEECH, speech, engines)
        if not unspoken:
            faults += _no_voice(names, speech, engines)
    return (*faults, *(unheard or unspoken))


def _no_model(
    field: NameField, name: str, role: Role, served_by: str, engines: "Engines"
) -> list[NameFault]:
    if name == DEFAULT or engines.in_calls(role, served_by):
        return []
    status = engines.status(role, served_by)
    planned = any((s.role, s.model_id) == (role, served_by) for s in engines.statuses())
    reason = status.reason or "it is not loaded for calls"
    kind = role.value.replace("_", " ")
    accepted = listed([DEFAULT, *engines.names_in_calls(role)])
    message = f"No {kind} model {name!r} serves calls here ({reason}). Accepted: {accepted}."
    return [NameFault(field, name, message, known=planned and not status.live)]


def _no_language(
    names: CallNames, what: str, role: Role, served_by: str, engines: "Engines"
) -> list[NameFault]:
    languages = engines.status(role, served_by).languages
    if not languages or base_language(names.language) in languages:
        return []
    if role is Role.SPEECH and names.speech_model == DEFAULT:
        languages = engines.spoken_in_calls()
    message = (
        f"The language {names.language!r} is not {what} in calls here. Accepted: "
        f"{listed(sorted(languages))}."
    )
    return [NameFault("language", names.language, message)]


def _no_voice(names: CallNames, served_by: str, engines: "Engines") -> list[NameFault]:
    voices = engines.voices_in_calls(served_by)
    if voices is None or own_voice(names.voice) in {DEFAULT, *(voice.id for voice in voices)}:
        return []
    base = base_language(names.language)
    if engines.voice_decides(names.speech_model):
        voices = engines.all_voices_in_calls()
    fitting = [voice.id for voice in voices if base_language(voice.language) == base]
    message = (
        f"No voice {names.voice!r} speaks {names.language!r} in calls here. Accepted: "
        f"{listed([DEFAULT, *fitting])}, and OpenAI's names, which mean the default."
    )
    return [NameFault("voice", names.voice, message)]


def base_language(tag: str) -> str:
    """The first subtag of a BCP 47 tag: ``en`` of ``en-GB``."""
    return tag.lower().partition("-")[0]


def listed(names: Iterable[str]) -> str:
    """Names for an error's text, within bounds."""
    known = list(dict.fromkeys(names))
    shown = ", ".join(f"'{name}'" for name in known[:MOST_LISTED])
    more = len(known) - MOST_LISTED
    return f"{shown} and {more} more" if more > 0 else shown
