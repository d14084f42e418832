"""Strict reading of JSON objects and audio: every refusal is a ClientFault with the field's path.

Rules
- Absent and null are the same here (None) unless a method says otherwise; where null means
  something of its own, ask ``has`` and ``is_null``.
- Strings must be encodable as UTF-8 and free of NUL: neither JSON out nor the database takes
  others.
- ``read`` reads an object by its declaration, a msgspec struct: a member is a string, a number, a
  boolean, a ``Literal``, an object (``Fields``, or ``dict``) or anything (``Any``), optional where
  it has a default, with its bounds in ``Meta``. Members are read in the order of their declaration.
- Audio is base64 in JSON events or raw, to and from PCM16.
"""

import binascii
import math
import re
from collections.abc import Callable, Collection, Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from media import g711
from media.formats import SAMPLE_BYTES, AudioFormat, Encoding
from sessions.channel import ClientFault

REFUSAL = "refusal"
"""Member of a ``Meta``'s ``extra``: what is said where the pattern does not match; ``{name}`` is
the field's name, ``{where}`` its path."""
MAX_CHARS = 65_536
"""Of a string whose declaration says nothing else."""

_Struct = TypeVar("_Struct", bound=msgspec.Struct)


class Fields:
    """One JSON object at ``path``; ``event_id`` goes into every fault."""

    def __init__(self, value: Mapping[str, Any], path: str, event_id: str | None) -> None:
        self._value = value
        self.path = path
        self._event_id = event_id

    def where(self, name: str) -> str:
        """The path of a field, as it stands in ``param``."""
        return f"{self.path}.{name}" if self.path else name

    def fault(self, code: str, message: str, name: str) -> ClientFault:
        """A fault about the field ``name``."""
        return ClientFault(code, message, param=self.where(name), event_id=self._event_id)

    def only(self, known: Collection[str]) -> None:
        """Refuse the first field that is none of ``known``."""
        for name in self._value:
            if name not in known:
                shown = name[:64].encode("ascii", "backslashreplace").decode()
                accepted = ", ".join(sorted(known))
                raise self.fault(
                    "unknown_parameter",
                    f"Unknown parameter '{self.where(shown)}': leave it out. Known: {accepted}.",
                    shown,
                )

    def has(self, name: str) -> bool:
        """Whether the field is there, null included."""
        return name in self._value

    def is_null(self, name: str) -> bool:
        """Whether the field is there and null."""
        return name in self._value and self._value[name] is None

    def names(self) -> list[str]:
        """The names of all fields."""
        return list(self._value)

    def raw(self, name: str) -> Any:
        """The field's value, unread."""
        return self._value.get(name)

    def need(self, name: str) -> None:
        """Refuse where the field is absent or null."""
        if self._value.get(name) is None:
            raise self.fault(
                "missing_required_parameter",
                f"Missing required parameter '{self.where(name)}'.",
                name,
            )

    def text(self, name: str, *, max_chars: int = MAX_CHARS) -> str | None:
        """A string of at most ``max_chars`` characters."""
        value = self._value.get(name)
        if value is None:
            return None
        if not isinstance(value, str):
            raise self._wrong_type(name, "a string", value)
        if len(value) > max_chars:
            raise self.fault(
                "invalid_value",
                f"'{self.where(name)}' has {len(value)} characters; at most {max_chars} are taken.",
                name,
            )
        if "\0" in value or not _encodable(value):
            raise self.fault(
                "invalid_value",
                f"'{self.where(name)}' holds a NUL or an unpaired surrogate: send plain Unicode.",
                name,
            )
        return value

    def need_text(self, name: str, *, max_chars: int = MAX_CHARS) -> str:
        """As ``text``, required."""
        self.need(name)
        return self.text(name, max_chars=max_chars) or ""

    def number(self, name: str, low: float, high: float) -> float | None:
        """A finite number in ``low``..``high``."""
        value = self._value.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong_type(name, "a number", value)
        if not _finite(value) or not low <= value <= high:
            raise self.fault(
                "invalid_value", f"'{self.where(name)}' must lie between {low} and {high}.", name
            )
        return float(value)

    def integer(self, name: str, low: int, high: int) -> int | None:
        """A whole number in ``low``..``high``; 5.0 counts as whole."""
        value = self.number(name, low, high)
        if value is None:
            return None
        if value != int(value):
            raise self._wrong_type(name, "an integer", value)
        return int(value)

    def flag(self, name: str) -> bool | None:
        """true or false."""
        value = self._value.get(name)
        if value is not None and not isinstance(value, bool):
            raise self._wrong_type(name, "a boolean", value)
        return value

    def choice(self, name: str, options: Collection[str]) -> str | None:
        """One of ``options``."""
        value = self.text(name, max_chars=256)
        if value is not None and value not in options:
            accepted = ", ".join(f"'{option}'" for option in options)
            raise self.fault(
                "invalid_value", f"'{self.where(name)}' must be one of {accepted}.", name
            )
        return value

    def child(self, name: str) -> "Fields | None":
        """An object, to be read in its turn."""
        value = self._value.get(name)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise self._wrong_type(name, "an object", value)
        return Fields(value, self.where(name), self._event_id)

    def need_child(self, name: str) -> "Fields":
        """As ``child``, required."""
        self.need(name)
        return self.child(name) or Fields({}, self.where(name), self._event_id)

    def sequence(self, name: str, *, max_items: int) -> list[Any] | None:
        """An array of at most ``max_items``."""
        value = self._value.get(name)
        if value is None:
            return None
        if not isinstance(value, list):
            raise self._wrong_type(name, "an array", value)
        if len(value) > max_items:
            raise self.fault(
                "invalid_value",
                f"'{self.where(name)}' has {len(value)} entries; at most {max_items} are taken.",
                name,
            )
        return value

    def children(self, name: str, *, max_items: int) -> "list[Fields] | None":
        """An array of objects."""
        entries = self.sequence(name, max_items=max_items)
        if entries is None:
            return None
        for index, entry in enumerate(entries):
            if not isinstance(entry, Mapping):
                raise self._wrong_type(f"{name}[{index}]", "an object", entry)
        return [
            Fields(entry, self.where(f"{name}[{index}]"), self._event_id)
            for index, entry in enumerate(entries)
        ]

    def _wrong_type(self, name: str, expected: str, value: Any) -> ClientFault:
        return self.fault(
            "invalid_type",
            f"'{self.where(name)}' must be {expected}, but {_kind(value)} was sent.",
            name,
        )


def read(declaration: type[_Struct], fields: Fields) -> _Struct:
    """The object by its declaration; raises ClientFault, for unknown fields first."""
    fields.only(names_of(declaration))
    members = {}
    for name, required, reader in _members(declaration):
        if required:
            fields.need(name)
        if (value := reader(fields, name)) is not None:
            members[name] = value
    return declaration(**members)


@cache
def names_of(declaration: type[msgspec.Struct]) -> tuple[str, ...]:
    """The names of all fields that an object may have, the tag included."""
    tag = declaration.__struct_config__.tag_field
    return (*([tag] if tag else ()), *declaration.__struct_fields__)


_Reader = Callable[[Fields, str], Any]


@cache
def _members(declaration: type[msgspec.Struct]) -> tuple[tuple[str, bool, _Reader], ...]:
    hints = get_type_hints(declaration, include_extras=True)
    return tuple(
        (member.name, member.required, _reader(hints[member.name], msgspec.Meta()))
        for member in msgspec.structs.fields(declaration)
    )


def _reader(hint: Any, bounds: msgspec.Meta) -> _Reader:
    """What reads a member; a type that has no reader is a programming error."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _reader(arguments[0], arguments[1])
    if origin in (UnionType, Union):
        (only,) = (each for each in arguments if each is not NoneType)
        return _reader(only, bounds)
    if origin is Literal:
        return lambda fields, name: fields.choice(name, arguments)
    if origin is dict and arguments[1] is Any:
        return _plain_object
    if origin is dict:
        value = _reader(arguments[1], msgspec.Meta())
        return lambda fields, name: _members_of(fields, name, value)
    if hint is Any:
        return Fields.raw
    if hint is Fields:
        return Fields.child
    if hint is bool:
        return Fields.flag
    if hint is str:
        return lambda fields, name: _matching_text(fields, name, bounds)
    low, high = bounds.ge, bounds.le
    if hint not in (int, float) or low is None or high is None:
        raise TypeError(f"{hint} has no reader here; a number needs both its bounds")
    if hint is int:
        return lambda fields, name: fields.integer(name, int(low), int(high))
    return lambda fields, name: fields.number(name, low, high)


def _plain_object(fields: Fields, name: str) -> Any:
    fields.child(name)
    return fields.raw(name)


def _members_of(fields: Fields, name: str, reader: _Reader) -> dict[str, Any] | None:
    """An object of any names whose values are all of one type, none of them null."""
    if (entries := fields.child(name)) is None:
        return None
    members = {}
    for each in entries.names():
        entries.need(each)
        members[each] = reader(entries, each)
    return members


def _matching_text(fields: Fields, name: str, bounds: msgspec.Meta) -> str | None:
    text = fields.text(name, max_chars=bounds.max_length or MAX_CHARS)
    if text is not None and bounds.pattern and re.fullmatch(bounds.pattern, text) is None:
        refusal = (bounds.extra or {})[REFUSAL]
        message = refusal.format(name=name, where=fields.where(name))
        raise fields.fault("invalid_value", message, name)
    return text


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _encodable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, list):
        return "an array"
    return "an object" if isinstance(value, Mapping) else "null"


BASE64_SLICE = 256 * 1024
"""Characters of base64 decoded at a stretch (below 1 ms); a multiple of 4."""


def append_payload(message: dict[str, Any]) -> str:
    """The base64 text of an input_audio_buffer.append; raises ClientFault."""
    audio = message.get("audio")
    if audio is None:
        raise ClientFault(
            "missing_required_parameter", "Missing required parameter 'audio'.", param="audio"
        )
    if not isinstance(audio, str):
        raise ClientFault(
            "invalid_type", "'audio' must be a string of base64 characters.", param="audio"
        )
    return audio


def decode_slice(text: str, *, last: bool) -> bytes:
    """Bytes of one slice of base64; only the last may be padded. Raises ClientFault."""
    try:
        decoded = binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError) as error:
        raise _bad_base64() from error
    if not last and text.endswith("="):
        raise _bad_base64()
    return decoded


def to_pcm(payload: bytes, form: AudioFormat) -> bytes:
    """PCM16 of raw samples in ``form``; raises ClientFault where samples are cut in half."""
    match form.encoding:
        case Encoding.PCMU:
            return g711.decode_ulaw(payload)
        case Encoding.PCMA:
            return g711.decode_alaw(payload)
        case Encoding.PCM:
            if len(payload) % SAMPLE_BYTES:
                raise ClientFault(
                    "invalid_audio",
                    f"{len(payload)} bytes are not whole 16-bit samples of audio/pcm: "
                    "send an even number of bytes.",
                    param="audio",
                )
            return payload


def from_pcm(pcm: bytes | memoryview, form: AudioFormat) -> bytes | memoryview:
    """Raw samples in ``form`` of PCM16."""
    match form.encoding:
        case Encoding.PCMU:
            return g711.encode_ulaw(pcm)
        case Encoding.PCMA:
            return g711.encode_alaw(pcm)
        case Encoding.PCM:
            return pcm


def _bad_base64() -> ClientFault:
    return ClientFault(
        "invalid_base64",
        "'audio' is not base64: use the standard alphabet with padding and no line breaks.",
        param="audio",
    )
