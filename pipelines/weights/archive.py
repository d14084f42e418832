"""Archives as data: wheels and zip files, and the gzipped tarballs of npm.

Nothing is unpacked by the archive's own paths: a caller names a member and says where its bytes
go and how many there may be at most.
"""

import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from .errors import FetchStopped, SourceFailed

CHUNK = 1 << 20
BROKEN = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError)


class _Zip:
    def __init__(self, path: Path) -> None:
        self._zip = zipfile.ZipFile(path)
        self.sizes = {i.filename: i.file_size for i in self._zip.infolist() if not i.is_dir()}

    def open(self, member: str) -> IO[bytes]:
        return self._zip.open(member)

    def close(self) -> None:
        self._zip.close()


class _Tar:
    """Reads the tarball through once, for its table of contents."""

    def __init__(self, path: Path) -> None:
        self._tar = tarfile.open(path, "r:gz")  # noqa: SIM115 - closed by close
        self._files = {info.name: info for info in self._tar.getmembers() if info.isfile()}
        self.sizes = {name: info.size for name, info in self._files.items()}

    def open(self, member: str) -> IO[bytes]:
        data = self._tar.extractfile(self._files[member])
        assert data is not None  # noqa: S101 - it is a regular file
        return data

    def close(self) -> None:
        self._tar.close()


class Archive:
    """An archive that is open; see ``opened``."""

    def __init__(self, name: str, files: _Zip | _Tar, stop: Callable[[], bool]) -> None:
        self._name = name
        self._files = files
        self._stop = stop

    def members(self) -> tuple[str, ...]:
        """Names of the files in it, in the order in which they are quickest to read."""
        return tuple(self._files.sizes)

    def copy(self, members: Iterable[str], target: Path, limit: int, mode: str) -> None:
        """Write ``members`` one after the other to ``target`` (``mode`` "wb" or "ab") and sync it.

        Raises SourceFailed when one is not there or all have more than ``limit`` bytes,
        FetchStopped."""
        with target.open(mode) as out:
            for member in members:
                size = self._files.sizes.get(member)
                if size is None:
                    raise SourceFailed(f"{self._name}: holds no {member}")
                limit -= size
                if limit < 0:
                    raise SourceFailed(f"{self._name}: {member} has {size} bytes")
                with self._files.open(member) as data:
                    while chunk := data.read(CHUNK):
                        if self._stop():
                            raise FetchStopped("stopped")
                        out.write(chunk)
            out.flush()
            os.fsync(out.fileno())


@contextmanager
def opened(path: Path, stop: Callable[[], bool]) -> Iterator[Archive]:
    """The archive, a gzipped tarball where its name ends in ``.tgz``, else a zip file.

    Raises SourceFailed when it proves broken, at once or while it is read."""
    try:
        files = _Tar(path) if path.suffix == ".tgz" else _Zip(path)
        try:
            yield Archive(path.name, files, stop)
        finally:
            files.close()
    except BROKEN as error:
        raise SourceFailed(f"{path.name}: {error}") from error
