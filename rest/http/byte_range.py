"""ByteRange: which part of a file a request asks for (RFC 9110, section 14).

One range is answered as one; several, and what is no range of bytes, are answered with the whole
file, as the RFC allows.
"""

import re
from dataclasses import dataclass

from .errors import RangeNotSatisfiable

_ONE = re.compile(r"\s*bytes\s*=\s*(\d{0,19})\s*-\s*(\d{0,19})\s*", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes ``start`` up to, not including, ``end`` of ``size``; never empty."""

    start: int
    end: int
    size: int

    @property
    def length(self) -> int:
        """How many bytes they are."""
        return self.end - self.start

    @property
    def content_range(self) -> str:
        """The value of the header Content-Range."""
        return f"bytes {self.start}-{self.end - 1}/{self.size}"


def read_range(header: str | None, size: int) -> ByteRange | None:
    """The part of a file of ``size`` bytes that the header Range asks for; None: all of it.

    Raises RangeNotSatisfiable where the file has none of those bytes."""
    found = _ONE.fullmatch(header or "")
    if found is None:
        return None
    first, last = found.groups()
    if not first and not last:
        return None
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(size, int(last) + 1) if last else size
        if last and int(last) < int(first):
            return None
    if start >= size or start >= end:
        raise RangeNotSatisfiable(f"The file has {size} bytes.", param="Range")
    return ByteRange(start, end, size)
