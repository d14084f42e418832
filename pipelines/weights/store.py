"""ModelStore: the directory in which model weights lie, ``<models_dir>/<model>/<file>``.

Rules
- A model is ready when every file has its size and sha256. A file that was hashed is noted in
  ``<model>/.verified.json`` with size and modification time, so that a start does not read half a
  gigabyte; one that has changed since is hashed again.
- One process fetches at a time, under an advisory lock on ``<models_dir>/.lock``, which is released
  when its holder dies. Another one waits, and then finds the work done.
- Blocking: call it on the command line or in a thread.
"""

import fcntl
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from .fetch import Fetch, Progress, sha256_of
from .manifest import MODELS, FetchStopped, Joined, Model, ModelFile, WeightsError

log = logging.getLogger(__name__)

STAMP = ".verified.json"
LOCK_WAIT = 3600.0
"""Seconds to wait for another process that is fetching."""

MARGIN = 64 << 20
"""Bytes of disk that must stay free."""


class State(StrEnum):
    """How much of a model is there."""

    READY = "ready"
    UNVERIFIED = "unverified"
    """All files have the right size, but were not hashed since they changed."""
    INCOMPLETE = "incomplete"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """What ``blab models`` shows of a model. Sizes in bytes."""

    model: Model
    state: State
    present: int
    missing: tuple[str, ...]
    """Paths of files that are not there or have a wrong size."""


class ModelStore:
    """The models of one directory."""

    def __init__(
        self,
        models_dir: Path,
        *,
        mirrors: Sequence[Path] = (),
        models: Mapping[str, Model] = MODELS,
        pause: float = 1.0,
    ) -> None:
        """``mirrors`` are other models directories to copy from before any network is asked;
        ``pause`` the first wait in seconds between attempts at a source."""
        self._dir = models_dir.absolute()
        self._mirrors = mirrors
        self.models = models
        """The models that it holds or can fetch, by their names."""
        self._pause = pause

    @property
    def directory(self) -> Path:
        """The models directory."""
        return self._dir

    def path(self, name: str) -> Path:
        """The directory of a model, whether it is there or not."""
        return self._dir / self._model(name).name

    def status(self, name: str) -> ModelStatus:
        """Which files of a model are present, by sizes and the stamp; quick, hashes nothing."""
        model = self._model(name)
        stamp = self._read_stamp(model)
        sized = [file for file in model.files if self._size(model, file) == file.size]
        missing = tuple(file.path for file in model.files if file not in sized)
        if not sized:
            state = State.ABSENT
        elif missing:
            state = State.INCOMPLETE
        elif all(self._stamped(model, file, stamp) for file in model.files):
            state = State.READY
        else:
            state = State.UNVERIFIED
        return ModelStatus(model, state, sum(file.size for file in sized), missing)

    def ready(self, name: str) -> bool:
        """Whether a model can be used; hashes it when that has not been done yet."""
        state = self.status(name).state
        return state is State.READY or (state is State.UNVERIFIED and not self.verify(name))

    def verify(self, name: str) -> tuple[str, ...]:
        """Hash every file again; the paths of those that are missing or wrong."""
        model = self._model(name)
        good = [file for file in model.files if self._is_good(model, file)]
        self._write_stamp(model, good)
        return tuple(file.path for file in model.files if file not in good)

    def fetch(
        self,
        name: str,
        progress: Progress = lambda *_: None,
        *,
        stop: Callable[[], bool] = lambda: False,
        wait: float = LOCK_WAIT,
    ) -> None:
        """Make a model ready; at once when it is.

        ``progress`` is called with (model, file, bytes done, bytes in all) in this thread, ``stop``
        now and then; ``wait`` is how many seconds to wait for another process that fetches.
        Raises WeightsError (no source, no disk, no permission), FetchStopped."""
        model = self._model(name)
        if self.ready(name):
            return
        try:
            self._dir.mkdir(parents=True, exist_ok=True)
            with self._locked(stop, wait):
                self._fetch(model, progress, stop)
        except OSError as error:
            raise WeightsError(f"{self._dir}: {error.strerror or error}") from error

    def _fetch(self, model: Model, progress: Progress, stop: Callable[[], bool]) -> None:
        home = self.path(model.name)
        bad = self.verify(model.name)
        for path in bad:
            (home / path).unlink(missing_ok=True)
        files = [file for file in model.files if file.path in bad]
        if files:
            self._check_disk(model, files)
            workshop = self._dir / ".fetching" / model.name
            fetch = Fetch(
                model,
                home,
                workshop,
                mirrors=self._mirrors,
                progress=progress,
                stop=stop,
                pause=self._pause,
            )
            log.info("fetching %s (%.0f MB)", model.name, sum(f.size for f in files) / 1e6)
            fetch.run(files)
            self._write_stamp(model, list(model.files))

    def _check_disk(self, model: Model, files: Sequence[ModelFile]) -> None:
        size = sum(file.size for file in files)
        in_parts = any(isinstance(source, Joined) for source in model.sources)
        need = size + (size // 4 if in_parts else size) + MARGIN
        free = shutil.disk_usage(self._dir).free
        if free < need:
            raise WeightsError(
                f"{model.name} needs {need / 1e6:.0f} MB of disk in {self._dir}, where "
                f"{free / 1e6:.0f} MB are free: make room, or set BLAB_MODELS_DIR to a larger disk"
            )

    @contextmanager
    def _locked(self, stop: Callable[[], bool], wait: float) -> Iterator[None]:
        expires = time.monotonic() + wait
        with (self._dir / ".lock").open("ab") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if stop():
                        raise FetchStopped("stopped") from None
                    if time.monotonic() >= expires:
                        raise WeightsError(
                            f"another process is fetching models into {self._dir}: wait for it"
                        ) from None
                    time.sleep(0.1)
            yield

    def _model(self, name: str) -> Model:
        try:
            return self.models[name]
        except KeyError:
            raise WeightsError(
                f"no model {name!r}: choose one of {', '.join(self.models)}"
            ) from None

    def _size(self, model: Model, file: ModelFile) -> int:
        try:
            return (self._dir / model.name / file.path).stat().st_size
        except OSError:
            return -1

    def _is_good(self, model: Model, file: ModelFile) -> bool:
        if self._size(model, file) != file.size:
            return False
        try:
            return sha256_of(self._dir / model.name / file.path) == file.sha256
        except OSError:
            return False

    def _stamped(self, model: Model, file: ModelFile, stamp: Mapping[str, object]) -> bool:
        return stamp.get(file.path) == self._mark(model, file)

    def _mark(self, model: Model, file: ModelFile) -> list[object]:
        stat = (self._dir / model.name / file.path).stat()
        return [stat.st_size, stat.st_mtime_ns, file.sha256]

    def _read_stamp(self, model: Model) -> Mapping[str, object]:
        try:
            stamp = json.loads((self._dir / model.name / STAMP).read_text())
        except (OSError, ValueError):
            return {}
        return stamp if isinstance(stamp, dict) else {}

    def _write_stamp(self, model: Model, good: Sequence[ModelFile]) -> None:
        """Note what is verified; a read-only directory is hashed at each start instead."""
        home = self._dir / model.name
        if not home.is_dir():
            return
        marks = {file.path: self._mark(model, file) for file in good}
        fresh = home / f"{STAMP}.{os.getpid()}"
        try:
            fresh.write_text(json.dumps(marks))
            os.replace(fresh, home / STAMP)
        except OSError as error:
            log.info("cannot note that %s is verified: %s", model.name, error)
