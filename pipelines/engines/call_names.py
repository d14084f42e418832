"""CallNames: the names that a call's configuration gives, and which of them nothing here serves.

Every place that takes such names (sessions, replies, agents, addresses) asks ``name_faults`` when
they are given: a wrong name is refused there and then, not at every turn of the call.

Among the names are the ids of OpenAI's own models, which its clients send to any server
(``?model=gpt-realtime``, ``gpt-4o-mini``, transcription by ``whisper-1``, speech by ``tts-1``). An
engine that really serves such an id goes first; where none does, it means the default of its kind
(``is_stock``). Any other unknown id is an error.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from pipelines.engines.speech.read_aloud import own_voice

from .base import base_language
from .engine import DEFAULT, EngineStatus, Role
from .jobs import CallLanguage

if TYPE_CHECKING:
    from .catalogue import Catalogue

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


def upstream_roles(names: CallNames, engines: "Catalogue") -> frozenset[Role]:
    """What an upstream does in a call with these names."""
    ids = {
        Role.CHAT: engines.chat_id(names.model),
        Role.TRANSCRIPTION: engines.transcription_id(names.transcription_model, names.language),
        Role.SPEECH: engines.speech_id(names.speech_model, names.language, names.voice),
    }
    return frozenset(role for role, name in ids.items() if engines.status(role, name).upstream)


def name_faults(names: CallNames, engines: "Catalogue") -> tuple[NameFault, ...]:
    """Every name that is not served in calls; empty where all are. Loads nothing."""
    names = replace(
        names,
        model=engines.resolve(Role.CHAT, names.model),
        transcription_model=engines.resolve(Role.TRANSCRIPTION, names.transcription_model),
        speech_model=engines.resolve(Role.SPEECH, names.speech_model),
    )
    chat = engines.chat_id(names.model)
    transcriber = engines.transcription_id(names.transcription_model, names.language)
    speech = engines.speech_id(names.speech_model, names.language, names.voice)
    faults = [
        *_no_model("model", names.model, engines.status(Role.CHAT, chat), engines),
        *_no_model(
            "transcription_model",
            names.transcription_model,
            engines.status(Role.TRANSCRIPTION, transcriber),
            engines,
        ),
        *_no_model(
            "speech_model", names.speech_model, engines.status(Role.SPEECH, speech), engines
        ),
    ]
    broken = {fault.field for fault in faults}
    unheard, unspoken = [], []
    if names.hears and "transcription_model" not in broken:
        status = engines.status(Role.TRANSCRIPTION, transcriber)
        unheard = _no_language(names, "understood", status, engines)
    if names.speaks and "speech_model" not in broken:
        status = engines.status(Role.SPEECH, speech)
        unspoken = _no_language(names, "spoken", status, engines)
        if not unspoken:
            faults += _no_voice(names, speech, engines)
    return (*faults, *(unheard or unspoken))


def _no_model(
    field: NameField, name: str, status: EngineStatus, engines: "Catalogue"
) -> list[NameFault]:
    """``status``: that of the engine that ``name`` stands for."""
    if name == DEFAULT or status.in_calls:
        return []
    key = status.role, status.model_id
    known = any((one.role, one.model_id) == key for one in engines.statuses())
    reason = status.reason or "it is not loaded for calls"
    kind = status.role.value.replace("_", " ")
    accepted = listed([DEFAULT, *_names_in_calls(status.role, engines)])
    message = f"No {kind} model {name!r} serves calls here ({reason}). Accepted: {accepted}."
    return [NameFault(field, name, message, known=known and not status.live)]


def _names_in_calls(role: Role, engines: "Catalogue") -> list[str]:
    """The model ids of a role that calls can use; a streaming transcriber may be named as a
    transcription model."""
    roles = {role}
    if role is Role.TRANSCRIPTION:
        roles.add(Role.STREAMING_TRANSCRIPTION)
    usable = [s.model_id for s in engines.statuses() if s.role in roles and s.in_calls]
    settings = engines.settings
    contract = {
        Role.CHAT: settings.chat_names,
        Role.SPEECH: settings.speech_names,
        Role.TRANSCRIPTION: settings.transcription_names,
    }
    return [*contract[role], *usable]


def spoken_in_calls(engines: "Catalogue") -> list[str]:
    """The languages of all engines that speak in calls, sorted."""
    return _served_in_calls(Role.SPEECH, engines)


def _served_in_calls(role: Role, engines: "Catalogue") -> list[str]:
    usable = [status for status in engines.statuses() if status.role is role and status.in_calls]
    return sorted({language for status in usable for language in status.languages})


def languages_for(names: CallNames, engines: "Catalogue") -> tuple[str, ...]:
    """See ``Catalogue.languages_for``. Where no voice limits them, these are the languages in which
    hearing was measured."""
    candidates = _languages_of(names, engines)
    if candidates is None or not names.speaks:
        statuses = [s for s in engines.statuses() if s.role is Role.TRANSCRIPTION]
        measured = {language for status in statuses for language in status.word_errors}
        candidates = measured if candidates is None else candidates & measured
    fit = [
        language
        for language in candidates
        if all(
            fault.field not in ("language", "voice")
            for fault in name_faults(replace(names, language=language), engines)
        )
    ]
    return tuple(sorted(fit, key=lambda language: (language != "en", language)))


def languages_coming(names: CallNames, engines: "Catalogue") -> tuple[str, ...]:
    """See ``Catalogue.languages_coming``."""
    measured = {
        language
        for status in engines.statuses()
        if status.role is Role.TRANSCRIPTION
        for language in status.word_errors
    }
    missing = measured - set(languages_for(names, engines))
    return tuple(
        sorted(one for one in missing if _is_coming(replace(names, language=one), engines))
    )


def _is_coming(names: CallNames, engines: "Catalogue") -> bool:
    """Whether every engine that the call's language needs is there or on its way."""
    wanted = []
    if names.hears:
        hearing = engines.transcription_id(names.transcription_model, names.language)
        wanted.append(engines.status(Role.TRANSCRIPTION, hearing))
    if names.speaks:
        speech = engines.speech_id(names.speech_model, names.language, names.voice)
        wanted.append(engines.status(Role.SPEECH, speech))
    return all(
        (status.in_calls or status.coming)
        and (not status.languages or base_language(names.language) in status.languages)
        for status in wanted
    )


def call_languages(engines: "Catalogue") -> dict[str, CallLanguage]:
    """See ``Catalogue.call_languages``."""
    measured = {
        language
        for status in engines.statuses()
        if status.role is Role.TRANSCRIPTION
        for language in status.word_errors
    }
    languages = sorted(measured | set(spoken_in_calls(engines)))
    return {language: _call_language(language, engines) for language in languages}


def _call_language(language: str, engines: "Catalogue") -> CallLanguage:
    hearing = engines.status(Role.TRANSCRIPTION, engines.transcription_id(DEFAULT, language))
    speech = engines.status(Role.SPEECH, engines.speech_id(DEFAULT, language))
    heard, spoken = (
        status.in_calls and (not status.languages or language in status.languages)
        for status in (hearing, speech)
    )
    faults = name_faults(CallNames(language=language), engines)
    reason = next((fault.message for fault in faults if fault.field == "language"), None)
    return CallLanguage(
        hearing=hearing.model_id if heard else None,
        speech=speech.model_id if spoken else None,
        word_errors=hearing.word_errors.get(language),
        reason=reason,
    )


def _languages_of(names: CallNames, engines: "Catalogue") -> set[str] | None:
    """The languages that a call with these names can have, its voice apart; None: any."""
    limits = []
    if names.hears:
        limits.append(_of_role(Role.TRANSCRIPTION, names.transcription_model, engines))
    if names.speaks:
        limits.append(_of_role(Role.SPEECH, names.speech_model, engines))
    known = [set(limit) for limit in limits if limit]
    return set.intersection(*known) if known else None


def _of_role(role: Role, name: str, engines: "Catalogue") -> Iterable[str]:
    """The languages that the engine of a name serves, those of all engines in calls where the
    language chooses the engine; empty: any."""
    if role is Role.SPEECH:
        chosen = engines.routes.voice_decides(name)
        served_by = engines.speech_id(name, "en")
    else:
        served_by = engines.transcription_id(name, "en")
        chosen = name != served_by and bool(engines.status(role, served_by).languages)
    if chosen:
        return _served_in_calls(role, engines)
    return engines.status(role, served_by).languages


def _no_language(
    names: CallNames, what: str, status: EngineStatus, engines: "Catalogue"
) -> list[NameFault]:
    """``status``: that of the engine that would serve the language."""
    serves = not status.languages or base_language(names.language) in status.languages
    late = serves and status.background and not status.loaded
    if serves and not late:
        return []
    accepted = sorted(_languages_of(names, engines) or ())
    now = f" now ({status.model_id}: {status.reason})" if late else ""
    message = (
        f"The language {names.language!r} is not {what} in calls here{now}. Accepted: "
        f"{listed(accepted)}."
    )
    return [NameFault("language", names.language, message, known=late)]


def _no_voice(names: CallNames, served_by: str, engines: "Catalogue") -> list[NameFault]:
    if engines.status(Role.SPEECH, served_by).upstream:
        return []  # only the upstream knows its voices
    voices = engines.routes.own(served_by)
    if own_voice(names.voice) in {DEFAULT, *(voice.id for voice in voices)}:
        return []
    base = base_language(names.language)
    if engines.routes.voice_decides(names.speech_model):
        voices = engines.routes.voices_in_calls()
    fitting = [voice.id for voice in voices if base_language(voice.language) == base]
    message = (
        f"No voice {names.voice!r} speaks {names.language!r} in calls here. Accepted: "
        f"{listed([DEFAULT, *fitting])}, and OpenAI's names, which mean the default."
    )
    return [NameFault("voice", names.voice, message)]


def listed(names: Iterable[str]) -> str:
    """Names for an error's text, within bounds."""
    known = list(dict.fromkeys(names))
    shown = ", ".join(f"'{name}'" for name in known[:MOST_LISTED])
    more = len(known) - MOST_LISTED
    return f"{shown} and {more} more" if more > 0 else shown


_DATED = r"(-\d{4}(-\d{2}-\d{2})?|-latest|-preview)?"

REALTIME = re.compile(r"gpt-(4o-|4o-mini-)?realtime(-[\w.\-]+)?|gpt-audio(-[\w.\-]+)?")
TRANSCRIPTION = re.compile(
    r"whisper-1|(?!.*diarize)gpt-(4o-|4o-mini-|live-)?transcribe(-[\w.\-]+)?|gpt-realtime-whisper"
)
SPEECH = re.compile(rf"tts-1(-hd)?{_DATED}|gpt-4o-mini-tts{_DATED}")
CHAT = re.compile(
    rf"(gpt-(3\.5-turbo|4o?|4-turbo|4\.1|5(\.\d)?)(-mini|-nano)?|o[134](-mini)?){_DATED}"
)

LISTED_REALTIME = ("gpt-realtime", "gpt-realtime-mini")
LISTED_TRANSCRIPTION = ("whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe")
LISTED_SPEECH = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts")
LISTED_CHAT = ("gpt-4o", "gpt-4o-mini")
"""Those that a list of models shows; the others that the patterns match are served all the same."""

_PATTERNS = {
    Role.STREAMING_TRANSCRIPTION: (TRANSCRIPTION,),
    Role.TRANSCRIPTION: (TRANSCRIPTION,),
    Role.CHAT: (REALTIME, CHAT),
    Role.SPEECH: (SPEECH,),
}


def is_stock(role: Role, model_id: str) -> bool:
    """Whether it is the id of one of OpenAI's models of that role; a realtime model chats."""
    return any(pattern.fullmatch(model_id) for pattern in _PATTERNS.get(role, ()))
