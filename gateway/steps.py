"""The display of a start: its steps, one after the other, and the weights being fetched.

Standard error belongs to whoever watches the start; the engine process writes there too.
"""

import logging
import sys
import time
from collections.abc import Sequence

from rich.console import Console
from rich.status import Status

from gateway.commands.models import FetchProgress
from gateway.engines import model_store
from gateway.settings import Settings
from pipelines.engines.startup import Stop
from pipelines.weights.manifest import Model

log = logging.getLogger(__name__)

STAGES = {"loading": "Loading and warming the engines"}


class Steps:
    """Prints the steps of a start one after the other, each with the time it took.

    ``logged``: as lines of the log, for whoever collects that."""

    def __init__(self, console: Console | None = None, *, logged: bool = False) -> None:
        self.console = console or Console(stderr=True)
        self._logged = logged
        self._status: Status | None = None
        self._began = 0.0
        self._doing = ""

    def begin(self, doing: str) -> None:
        """End the previous step and begin this one."""
        self.end()
        self._doing, self._began = doing, time.monotonic()
        if self.console.is_terminal and not self._logged:
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

    def fail(self, why: str) -> None:
        """The last step failed."""
        self.pause()
        self._doing = ""
        if self._logged:
            log.error("%s", why)
        else:
            sys.stderr.write(f"blab: {why}\n")

    def say(self, text: str) -> None:
        """Print a line."""
        if self._logged:
            log.info("%s", text.strip())
            return
        self.console.print(text, highlight=False, soft_wrap=True)

    def fetch(self, settings: Settings, models: Sequence[Model], stop: Stop) -> None:
        """Fetch what is missing of ``models``, with progress; see ``startup.Fetch``."""
        store = model_store(settings)
        missing = [model.name for model in models if not store.ready(model.name)]
        if not missing:
            return
        size = sum(store.models[name].size for name in missing)
        self.say(f"Fetching {', '.join(missing)} ({size / 1e6:.0f} MB) into {store.directory}")
        with FetchProgress(self.console) as progress:
            for name in missing:
                store.fetch(name, progress.update, stop=stop)
