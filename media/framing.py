"""Cuts a byte stream into frames of one size.

For consumers of fixed frames (20 ms for VAD, codecs and telephony). At most one frame less a byte
is kept between pushes.
"""

from collections.abc import Iterator


class Framer:
    """Frames of ``frame_bytes`` from pushes of any size, in order, none lost."""

    def __init__(self, frame_bytes: int) -> None:
        if frame_bytes <= 0:
            raise ValueError(f"a frame of {frame_bytes} bytes: a positive size is needed")
        self.frame_bytes = frame_bytes
        self._rest = b""

    @property
    def pending(self) -> int:
        """Bytes waiting for the rest of their frame."""
        return len(self._rest)

    def push(self, data: bytes | memoryview) -> Iterator[bytes]:
        """Take bytes; yields every frame that is now complete."""
        stream = self._rest + bytes(data)
        whole = len(stream) - len(stream) % self.frame_bytes
        self._rest = stream[whole:]
        return (stream[i : i + self.frame_bytes] for i in range(0, whole, self.frame_bytes))

    def flush(self, padding: bytes = b"\0") -> bytes:
        """The last, incomplete frame filled up with ``padding`` (one byte), or nothing."""
        rest, self._rest = self._rest, b""
        return rest + padding * (self.frame_bytes - len(rest)) if rest else b""

    def clear(self) -> None:
        """Forget the incomplete frame."""
        self._rest = b""
