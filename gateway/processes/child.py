"""What the processes that the supervisor starts have in common: arguments, settings, log, exit.

Settings come from the environment as in the supervisor; what it alone knows comes as arguments.
"""

import argparse
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import uvloop

from gateway import logs
from gateway.services import ServiceError
from gateway.settings import Settings, SettingsError
from pipelines.jobs.usage import PricesError
from store.errors import StoreError

log = logging.getLogger(__name__)

FAILED = 1
"""Exit status of a process that cannot start; it has said why."""


def run(
    name: str,
    argv: Sequence[str],
    work: Callable[[argparse.Namespace, Settings], Awaitable[None]],
) -> int:
    """Do ``work`` to its end in a process whose log lines begin with ``name`` and its number."""
    options = _parser().parse_args(argv)
    given = {"BLAB_HOST": options.host, "BLAB_PORT": str(options.port)}
    settings = Settings.read(os.environ, given=given)
    shown = f"{name} {options.number}" if options.number else name
    logs.configure(settings.log_level, settings.log_format, process=shown)
    show_name(f"blab {shown}")

    async def main() -> None:
        await work(options, settings)

    try:
        uvloop.run(main())
    except (ServiceError, StoreError, SettingsError, PricesError, OSError) as error:
        log.error("%s", error)
        return FAILED
    return 0


def show_name(name: str) -> None:
    """Have ``top`` and ``ps -e`` show this process as ``name``, on Linux; it has 15 characters."""
    with contextlib.suppress(FileNotFoundError):
        Path("/proc/self/comm").write_text(name)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--engines", type=Path, required=True, help="the engine process's socket")
    parser.add_argument("--metrics", type=Path, required=True, help="the shared directory")
    parser.add_argument("--descriptor", type=int, required=True, help="an inherited socket")
    parser.add_argument("--number", type=int, default=0, help="of a gateway process, from 1")
    return parser
