"""``blab models [list|fetch|verify] [NAME …]``: the model weights of this machine.

Progress goes to standard error, as bars on a terminal and as occasional lines elsewhere; standard
output is for the command's result.
"""

import argparse
import sys
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from gateway.engines import model_profiles, model_store, model_uses, wanted_models
from gateway.settings import Settings
from pipelines.weights.manifest import WeightsError
from pipelines.weights.store import ModelStore

ACTIONS = ("list", "fetch", "verify")


def arguments(parser: argparse.ArgumentParser) -> None:
    """What ``blab models`` accepts."""
    parser.add_argument("action", nargs="?", choices=ACTIONS, default="list")
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="model names (default: list all; fetch and verify the ones the settings need)",
    )


def run(options: argparse.Namespace, settings: Settings) -> int:
    """0 if every model named is present and intact."""
    store = model_store(settings)
    names = options.names or [model.name for model in wanted_models(settings)]
    unknown = [name for name in options.names if name not in store.models]
    if unknown:
        print(f"blab models: no model {unknown[0]!r}; there are {', '.join(store.models)}")
        return 2
    try:
        if options.action == "fetch":
            return fetch(store, names)
        if options.action == "verify":
            return _verify(store, names)
        _list(store, options.names or list(store.models), settings)
    except WeightsError as error:
        print(f"blab models: {error}", file=sys.stderr)
        return 1
    return 0


def fetch(store: ModelStore, names: list[str]) -> int:
    """Fetch what is missing, with progress; raises WeightsError."""
    missing = [name for name in names if not store.ready(name)]
    if not missing:
        print(f"all of {', '.join(names)} is in {store.directory}", file=sys.stderr)
        return 0
    size = sum(store.models[name].size for name in missing)
    print(
        f"fetching {', '.join(missing)} ({size / 1e6:.0f} MB) into {store.directory}",
        file=sys.stderr,
    )
    with FetchProgress() as progress:
        for name in missing:
            store.fetch(name, progress.update)
    return 0


def _verify(store: ModelStore, names: list[str]) -> int:
    wrong = 0
    for name in names:
        bad = store.verify(name)
        wrong += bool(bad)
        print(f"{name}: {'all files are correct' if not bad else 'missing or wrong: '}", end="")
        print(", ".join(bad))
    return 1 if wrong else 0


def _list(store: ModelStore, names: list[str], settings: Settings) -> None:
    table = Table(box=None, pad_edge=False)
    for column in ("model", "for", "state", "MB", "licence", "profile", "upstream"):
        table.add_column(
            column,
            justify="right" if column == "MB" else "left",
            no_wrap=column in ("model", "state", "licence"),
        )
    uses, profiles = model_uses(), model_profiles()
    for name in names:
        status = store.status(name)
        model = status.model
        row = (", ".join(uses[name]), status.state, f"{model.size / 1e6:.0f}", model.licence)
        table.add_row(name, *row, profiles.get(name, ""), model.upstream)
    print(f"{store.directory}, profile {settings.profile}\n")
    Console().print(table)


STEP = 0.1
"""Without a terminal, a line is written for each tenth of a file."""
SMALL = 5_000_000
"""Without a terminal, files of fewer bytes are not mentioned."""


class FetchProgress:
    """Shows files being fetched; ``update`` may be called from any thread."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}
        self._said: dict[str, float] = {}

    def __enter__(self) -> "FetchProgress":
        if self._console.is_terminal:
            self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._console.is_terminal:
            self._bars.stop()

    def update(self, model: str, file: str, done: int, total: int) -> None:
        """``done`` of ``total`` bytes of a model's file have arrived."""
        name = f"{model}/{file}"
        if not self._console.is_terminal:
            self._say(name, done, total)
            return
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=total)
        self._bars.update(self._tasks[name], completed=done, total=total, visible=done < total)

    def _say(self, name: str, done: int, total: int) -> None:
        share = done / total if total else 1.0
        if total < SMALL or (share - self._said.get(name, -STEP) < STEP and share < 1.0):
            return
        if self._said.get(name) == share:
            return
        self._said[name] = share
        self._console.print(
            f"fetching {name}: {done / 1e6:.0f} of {total / 1e6:.0f} MB", highlight=False
        )
