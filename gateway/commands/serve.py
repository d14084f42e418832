"""``blab serve``: everything that is needed, in one process and its children."""

import argparse
import errno
import sys

import uvloop

from gateway.progress import Steps
from gateway.server import Server
from gateway.services import ServiceError
from gateway.settings import Settings, SettingsError
from pipelines.jobs.prices import PricesError
from store.errors import StoreError


def arguments(parser: argparse.ArgumentParser) -> None:
    """``blab serve`` accepts nothing: settings are environment variables."""


def run(options: argparse.Namespace, settings: Settings) -> int:  # noqa: ARG001
    """Serve until SIGTERM or SIGINT."""
    return serve(settings, embedded=True)


def serve(settings: Settings, *, embedded: bool) -> int:
    """Serve and tell plainly what kept the server from starting."""
    steps = Steps()
    try:
        uvloop.run(Server(settings, embedded=embedded, steps=steps).run())
    except (ServiceError, StoreError, SettingsError, PricesError) as error:
        steps.fail()
        print(f"blab: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        steps.fail()
        advice = "choose another with BLAB_HOST and BLAB_PORT"
        if error.errno == errno.EADDRINUSE:
            advice = f"stop the program that listens there, or {advice}"
        print(
            f"blab: cannot listen on {settings.host}:{settings.port}: {error.strerror or error}; "
            f"{advice}",
            file=sys.stderr,
        )
        return 1
    return 0
