"""The language that a tag names, as engines know it."""

import re

from .errors import ValidationFailed

_TAG = re.compile(r"([A-Za-z]{2,3})(?:-[A-Za-z0-9]{1,8})*")
_MAX_TAG = 35


def language_named(tag: str | None) -> str | None:
    """The first part of a BCP 47 tag; None where none was sent. Raises ValidationFailed."""
    if not tag:
        return None
    found = _TAG.fullmatch(tag) if len(tag) <= _MAX_TAG else None
    if found is None:
        raise ValidationFailed("language is a BCP 47 tag, such as en or pt-BR.", param="language")
    return found[1].lower()
