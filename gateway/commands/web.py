"""``blab web``: answers calls, on services that run already."""

import argparse

from gateway.commands.serve import serve
from gateway.settings import Settings


def arguments(parser: argparse.ArgumentParser) -> None:
    """``blab web`` accepts nothing: settings are environment variables."""


def run(options: argparse.Namespace, settings: Settings) -> int:  # noqa: ARG001
    """Serve until SIGTERM or SIGINT."""
    return serve(settings, embedded=False)
