"""The command line ``blab COMMAND``: reads the settings once and passes them to one command.

A command is a module of ``gateway.commands`` with ``arguments(parser)`` and
``run(options, settings) -> exit code``; it is imported only when it is used (``options.command`` is
its name). An option whose ``dest`` is a setting's variable is read in place of that variable. Exit
codes: 0 success, 1 the command found a problem, 2 the arguments or a setting are
invalid.
"""

import argparse
import importlib
import importlib.metadata
import os
import sys
from types import ModuleType
from typing import Final

from gateway import logs
from gateway.settings import Settings, SettingsError

COMMANDS: Final = {
    "serve": "Start everything needed and answer calls (the default command)",
    "web": "Answer calls using services that already run (a Procfile process type)",
    "worker": "Run jobs for the web processes (a Procfile process type)",
    "migrate": "Bring the database's tables up to date",
    "key": "Create an API key for the local workspace",
    "account": "Let somebody sign in to the local workspace",
    "models": "List, fetch and verify model weights",
    "talk": "Play a recording to a running server and hear the reply",
    "simulate": "Make the calls of a file to a running server, and check what comes of them",
    "replay": "Run a recorded call's events through the conversation core again",
    "doctor": "Report what is installed, live, slow or missing",
}


PROCESSES: Final = ("serve", "web", "worker")
"""Commands that keep running and log at the configured level; the others log only problems."""
_MODULES: Final = {"web": "serve"}
"""Commands that are in another command's module."""


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    if arguments[:1] in (["-h"], ["--help"], ["help"]):
        print(_usage())
        return 0
    if arguments[:1] == ["--version"]:
        print(f"blab {importlib.metadata.version('blab')}")
        return 0
    name, rest = ("serve", arguments)
    if arguments and not arguments[0].startswith("-"):
        name, rest = arguments[0], arguments[1:]
    if name not in COMMANDS:
        print(f"blab: there is no command {name!r}\n\n{_usage()}", file=sys.stderr)
        return 2
    command = module_of(name)
    parser = argparse.ArgumentParser(prog=f"blab {name}", description=COMMANDS[name])
    command.arguments(parser)
    options = parser.parse_args(rest, argparse.Namespace(command=name))
    try:
        settings = Settings.read(os.environ, given=_given(options))
    except SettingsError as error:
        print(f"blab: {error}", file=sys.stderr)
        return 2
    quiet = name not in PROCESSES and settings.log_level == "info"
    logs.configure("warning" if quiet else settings.log_level, settings.log_format)
    try:
        code: int = command.run(options, settings)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


def _given(options: argparse.Namespace) -> dict[str, str]:
    """The settings among the options."""
    return {
        name: str(value)
        for name, value in vars(options).items()
        if name.startswith("BLAB_") and value is not None
    }


def module_of(command: str) -> ModuleType:
    """The module of a command, imported."""
    return importlib.import_module(f"gateway.commands.{_MODULES.get(command, command)}")


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {meaning}" for name, meaning in COMMANDS.items()]
    return "usage: blab [COMMAND] [--help]\n       blab --version\n\n" + "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
