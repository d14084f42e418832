"""UploadFile: an upload's bytes on disk, private from the first one on."""

import contextlib
import hashlib
import os
from pathlib import Path


class UploadFile:
    """A file that grows and is deleted. All methods block and raise OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self.digest = hashlib.sha256()

    def create(self) -> None:
        """Make it, empty, and its folder where that is missing."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))

    def append(self, block: bytearray) -> None:
        """Write ``block`` to its end. Never makes the file: it may have been deleted while this
        waited for a thread, and then nobody wants it."""
        number = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        with os.fdopen(number, "ab") as file:
            file.write(block)
        self.digest.update(block)
        self.size += len(block)

    def delete(self) -> None:
        """Delete it, if it is there."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            self.path.unlink()
