"""The signals that end a process of ours: SIGTERM and SIGINT."""

import asyncio
import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopSignals:
    """The first signal asks to stop, the second to stop at once."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.force = asyncio.Event()

    def receive(self) -> None:
        """Handle one signal."""
        if not self.stop.is_set():
            log.info("stopping: calls in progress may finish; signal again to end them now")
            self.stop.set()
        else:
            self.force.set()

    @contextmanager
    def installed(self) -> Iterator["StopSignals"]:
        """Handle SIGTERM and SIGINT inside the block."""
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self.receive)
        try:
            yield self
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)
