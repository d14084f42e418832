"""LocalFiles: writes objects into a local directory and deletes them from it.

From its first byte on only its owner can read a file, and it appears under its key once it is
complete and on disk: it is written in ``staging`` and renamed. What a crash leaves there is an
object without a record, which the cleanup deletes like any other. (obstore's own LocalStore leaves
the mode to the process's umask; it only reads here.)
"""

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

STAGING = "staging"
_TRIES = 5
"""Attempts to write: a folder that became empty may be removed just before a file is put into
it."""


class LocalFiles:
    """A directory of objects; keys are trusted to stay inside it."""

    def __init__(self, root: Path) -> None:
        """``root`` is created, for the owner only, if it is missing; raises OSError."""
        if not root.is_absolute() or root == Path(root.anchor):
            raise ValueError(f"objects need a directory of their own, not {str(root)!r}")
        self.root = root
        _make_folders(root / STAGING)

    async def put(self, key: str, content: Path | bytes) -> None:
        """Write an object, replacing the one that is there; raises OSError."""
        await asyncio.to_thread(self._put, key, content)

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete those that exist; raises OSError."""
        await asyncio.to_thread(self._delete, keys)

    def _put(self, key: str, content: Path | bytes) -> None:
        target = self.root / key
        with self._staged() as (number, staged):
            with os.fdopen(number, "wb") as file:
                if isinstance(content, Path):
                    with content.open("rb") as source:
                        shutil.copyfileobj(source, file, 1 << 20)
                else:
                    file.write(content)
                file.flush()
                os.fsync(file.fileno())
            for tries_left in reversed(range(_TRIES)):
                _make_folders(target.parent)
                try:
                    staged.replace(target)
                    break
                except FileNotFoundError:
                    if not tries_left:
                        raise
        _sync_folder(target.parent)

    @contextlib.contextmanager
    def _staged(self) -> Iterator[tuple[int, Path]]:
        folder = self.root / STAGING
        _make_folders(folder)
        number, name = tempfile.mkstemp(prefix="put_", dir=folder)
        try:
            yield number, Path(name)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def _delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            path = self.root / key
            try:
                path.unlink()
            except (FileNotFoundError, NotADirectoryError):
                continue
            for folder in path.relative_to(self.root).parents[:-1]:
                try:
                    (self.root / folder).rmdir()
                except OSError:  # not empty, or another was faster
                    break


def _make_folders(folder: Path) -> None:
    """Path.mkdir(parents=True) gives its mode to the last folder only."""
    if folder.is_dir():
        return
    _make_folders(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make the name durable, too."""
    with contextlib.suppress(FileNotFoundError):  # deleted already
        number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
