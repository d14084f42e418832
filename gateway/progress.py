"""Progress for a person who is waiting: bars on a terminal, occasional lines elsewhere.

Everything goes to standard error; standard output is for a command's result.
"""

import time
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
from rich.status import Status

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


class Steps:
    """Prints the steps of a start one after the other, each with the time it took."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self._status: Status | None = None
        self._began = 0.0
        self._doing = ""

    def begin(self, doing: str) -> None:
        """End the previous step and begin this one."""
        self.end()
        self._doing, self._began = doing, time.monotonic()
        if self.console.is_terminal:
            self._status = self.console.status(doing)
            self._status.start()

    def pause(self) -> None:
        """Clear the line for something else that shows progress."""
        if self._status is not None:
            self._status.stop()
            self._status = None

    def end(self) -> None:
        """The last step is done."""
        self.pause()
        if self._doing:
            self.say(f"{self._doing}: {time.monotonic() - self._began:.1f} s")
        self._doing = ""

    def fail(self) -> None:
        """The last step failed; the caller prints why."""
        self.pause()
        self._doing = ""

    def say(self, text: str) -> None:
        """Print a line."""
        self.console.print(text, highlight=False, soft_wrap=True)
