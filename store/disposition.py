"""The header Content-Disposition: how a file is offered, and under which name (RFC 6266).

The name is given twice: in ASCII for old clients, and as ``filename*`` (RFC 8187) where that says
less than the name. Whatever the name contains, it can end neither the value nor the header.
"""

import re
import unicodedata
from urllib.parse import quote

MAX_FILENAME = 200
_UNSAFE = re.compile(r'[^ -~]|["\\%/;]')
_ATTR_CHARS = "!#$&+-.^_`|~"


def disposition(filename: str, *, attachment: bool = False) -> str:
    """The header's value for a file of that name."""
    kind = "attachment" if attachment else "inline"
    name = plain_filename(filename)
    letters = unicodedata.normalize("NFKD", name)
    bare = "".join(letter for letter in letters if unicodedata.category(letter) != "Mn")
    plain = _UNSAFE.sub("_", bare)
    value = f'{kind}; filename="{plain}"'
    return value if plain == name else f"{value}; filename*=UTF-8''{quote(name, _ATTR_CHARS)}"


def plain_filename(filename: str, default: str = "file") -> str:
    """The name without folders, control characters and broken Unicode, not too long and never
    empty."""
    last = re.split(r"[/\\]", filename)[-1]
    whole = last.encode("utf-8", "replace").decode()
    shown = "".join(letter for letter in whole if unicodedata.category(letter)[0] != "C")
    shown = shown.strip().lstrip(".")
    if len(shown) > MAX_FILENAME:
        stem, dot, ending = shown.rpartition(".")
        keep = MAX_FILENAME - len(dot + ending)
        shown = stem[:keep] + dot + ending if 0 < keep < MAX_FILENAME else shown[:MAX_FILENAME]
    return shown or default
