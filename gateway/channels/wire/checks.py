"""Checks beyond the form of a session, a response or an item, made where they are given.

Rules
- Models, voice and language must be served in calls here; URLs of tools must be allowed, as far as
  that can be known without the network.
- A name is refused where it is given, or where another is given that it does not fit (the voice,
  when a language is set that it does not speak). What a message leaves alone is not checked.
- The session of a locked ephemeral key keeps its configuration. ``FREE`` may be changed: how the
  client's own audio, events and turns are handled. A new member of SessionConfig is locked until
  it is listed there.
"""

import dataclasses
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

from pipelines.engines.call_names import CallNames, NameFault
from pipelines.ssrf import UrlRefused
from sessions.agent_config import LanguagesFor, names_of, with_languages
from sessions.channel import ClientFault
from sessions.core.config import SessionConfig
from sessions.core.events import AddItem, RequestReply

from .fields import Fields

FREE = frozenset(
    {
        "input_format",
        "output_format",
        "turn_detection",
        "noise_reduction",
        "publishes_transcripts",
        "suppresses_echo",
        "output_audio",
        "speed",
        "truncation",
        "extensions",
        "max_call_ms",
    }
)

_PLACES = {
    "model": ("model",),
    "transcription_model": (
        "audio.input.transcription.model",
        "input_audio_transcription.model",
    ),
    "language": (
        "blab.language",
        "audio.input.transcription.language",
        "input_audio_transcription.language",
    ),
    "language_hints": (
        "audio.input.transcription.languages",
        "input_audio_transcription.languages",
    ),
    "speech_model": ("blab.speech_model",),
    "voice": ("audio.output.voice", "voice"),
    "max_output_tokens": ("max_output_tokens", "max_response_output_tokens"),
    "kind": ("type",),
    "servers": ("tools",),
}
"""Paths of a member of SessionConfig in the session object, the one that wins first."""
_PLACES["detects_language"] = _PLACES["language"]
_TOUCHED_BY = {"voice": ("language", "speech_model"), "language": ("transcription_model",)}


def _all_served(_names: CallNames) -> tuple[NameFault, ...]:
    return ()


def _unknown_languages(_names: CallNames) -> tuple[str, ...]:
    return ()


def _any_url(_url: str) -> None:
    return


@dataclass(frozen=True, slots=True)
class SessionChecks:
    """``name_faults``: the names that are not served; ``languages_for``: what the caller may speak;
    ``check_url`` raises UrlRefused; ``locked``: the caller came with a locked ephemeral key;
    ``free``: what such a caller may change beside ``FREE``. Every method raises ClientFault."""

    name_faults: Callable[[CallNames], tuple[NameFault, ...]] = _all_served
    check_url: Callable[[str], object] = _any_url
    languages_for: LanguagesFor = _unknown_languages
    locked: bool = False
    free: Collection[str] = ()

    def session(self, given: Fields, before: SessionConfig, after: SessionConfig) -> None:
        """A session object that turned ``before`` into ``after``."""
        if self.locked:
            for member in dataclasses.fields(SessionConfig):
                name = member.name
                free = name in FREE or name in self.free
                if not free and getattr(before, name) != getattr(after, name):
                    raise _locked(given, place_of(given, name) or name)
        self._urls(given)
        self._names(given, after)
        self._hints(given, after)

    def response(self, given: Fields, config: SessionConfig, asked: RequestReply) -> None:
        """A request for a reply in the session that ``config`` describes."""
        if self.locked:
            _refuse_overrides(given, config, asked, self.free)
        self._urls(given)
        if asked.voice is not None:
            self._names(given, replace(config, voice=asked.voice))

    def item(self, given: Fields, item: AddItem) -> None:
        """A message for the conversation: a system message works like instructions."""
        if self.locked and item.role == "system":
            raise _locked(given, "role")

    def say(self, event_id: str | None) -> None:
        """Words that the agent is to say: they work like instructions."""
        if self.locked:
            raise ClientFault(
                "session_locked",
                "'text' cannot be given: the ephemeral key was made with 'locked'.",
                param="text",
                event_id=event_id,
            )

    def _names(self, given: Fields, config: SessionConfig) -> None:
        for fault in self.faults_of(config):
            if (place := place_at_fault(given, fault)) is not None:
                raise given.fault("invalid_value", fault.message, place)

    def _hints(self, given: Fields, config: SessionConfig) -> None:
        place = place_of(given, "language_hints")
        if place is None or not config.language_hints:
            return
        accepted = self.languages_for(names_of(config))
        unknown = [tag for tag in config.language_hints if tag not in accepted]
        if unknown and accepted:
            message = (
                f"The language {unknown[0]!r} is not heard and spoken in calls here, with this "
                f"voice. Accepted: {', '.join(map(repr, accepted))}."
            )
            raise given.fault("invalid_value", message, place)

    def faults_of(self, config: SessionConfig) -> tuple[NameFault, ...]:
        """The names of a configuration that are not served."""
        return self.name_faults(names_of(with_languages(config, self.languages_for)))

    def _urls(self, given: Fields) -> None:
        tools = given.raw("tools")
        for index, entry in enumerate(tools if isinstance(tools, list) else ()):
            for name in ("url", "server_url"):
                if isinstance(entry, Mapping) and isinstance(url := entry.get(name), str):
                    try:
                        self.check_url(url)
                    except UrlRefused as refusal:
                        place = f"tools[{index}].{name}"
                        raise given.fault("invalid_value", str(refusal), place) from refusal


UNCHECKED = SessionChecks()
"""Checks nothing beyond the form: for use without a server."""


def place_of(given: Fields, name: str) -> str | None:
    """The path at which the object sets a member of SessionConfig; None where it does not."""
    for place in _PLACES.get(name, (name,)):
        value = given.raw(place.partition(".")[0])
        for step in place.split(".")[1:]:
            value = value.get(step) if isinstance(value, Mapping) else None
        if value is not None:
            return place
    return None


def place_at_fault(given: Fields, fault: NameFault) -> str | None:
    """The path at which the object sets the name at fault, or one that it does not fit."""
    for name in (fault.field, *_TOUCHED_BY.get(fault.field, ())):
        if (place := place_of(given, name)) is not None:
            return place
    return None


def _refuse_overrides(
    given: Fields, config: SessionConfig, asked: RequestReply, free: Collection[str]
) -> None:
    labels = tuple(server.label for server in config.servers)
    for name, wanted, held in (
        ("instructions", asked.instructions, config.instructions),
        ("voice", asked.voice, config.voice),
        ("tools", asked.tools, config.tools),
        ("tools", asked.servers, labels),
        ("tool_choice", asked.tool_choice, config.tool_choice),
    ):
        if wanted is not None and wanted != held and name not in free:
            raise _locked(given, place_of(given, name) or name)
    if (asked.max_output_tokens or 0) > config.max_output_tokens:
        raise _locked(given, place_of(given, "max_output_tokens") or "max_output_tokens")
    for index, line in enumerate(asked.prompt or ()):
        if line.role == "system":
            raise _locked(given, f"input[{index}].role")


def _locked(given: Fields, place: str) -> ClientFault:
    return given.fault(
        "session_locked",
        f"'{given.where(place)}' cannot be changed: the ephemeral key was made with 'locked'.",
        place,
    )
