"""Which engines are installed: the built-in ones, and those of other packages.

A package adds engines by an entry point of the group ``blab.engines`` that names an ``Engine``, or
an iterable of them. One that cannot be loaded, or declares an id that another package has, is left
out: its reason is logged and shown in the capabilities, and the others do not notice.
"""

import importlib.metadata
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from . import translation
from .chat import llama
from .cloning import voice_match
from .engine import Engine
from .kokoro import engine as kokoro
from .speech import hibari, pico
from .transcription import moonshine, smart_turn, voice_activity, vosk, whisper, whisper_calls

log = logging.getLogger(__name__)

GROUP = "blab.engines"
OWN = "blab"
"""The package of the built-in engines."""

BUILT_IN: tuple[Engine, ...] = (
    voice_activity.ENGINE,
    smart_turn.ENGINE,
    vosk.ENGINE,
    moonshine.ENGINE,
    hibari.ENGINE,
    pico.ENGINE,
    *llama.ENGINES,
    *whisper_calls.ENGINES,
    whisper.ENGINE,
    kokoro.ENGINE,
    translation.ENGINE,
    voice_match.ENGINE,
)
"""Best first within a role; first the engines that a call needs, in the order in which it does."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """An entry point of another package. ``engines``: the ids that it added; ``reason``: why it
    added none, or is empty."""

    distribution: str
    entry_point: str
    engines: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Installed:
    """The engines of this installation, the built-in ones first."""

    engines: tuple[Engine, ...]
    plugins: tuple[Plugin, ...]


@cache
def installed() -> Installed:
    """What is installed, looked up once per process: it imports the modules of the plugins."""
    return discover(importlib.metadata.entry_points(group=GROUP))


def discover(entry_points: Iterable[importlib.metadata.EntryPoint]) -> Installed:
    """The built-in engines and those of ``entry_points``, in the order of their names."""
    engines, plugins = list(BUILT_IN), []
    owners = {engine.id: OWN for engine in BUILT_IN}
    for point in sorted(entry_points, key=lambda point: (_distribution(point), point.name)):
        distribution = _distribution(point)
        try:
            found = _declared(point)
            _check(found, distribution, owners, {engine.key for engine in engines})
        except (Exception, SystemExit) as error:
            reason = str(error) if isinstance(error, PluginError) else f"{error!r}"
            log.exception("the engines of %s (%s) are left out", distribution, point.name)
            plugins.append(Plugin(distribution, point.name, reason=reason))
            continue
        engines += found
        owners |= {engine.id: distribution for engine in found}
        ids = tuple(dict.fromkeys(engine.id for engine in found))
        plugins.append(Plugin(distribution, point.name, ids))
        log.info("%s adds the engines %s", distribution, ", ".join(ids))
    return Installed(tuple(engines), tuple(plugins))


class PluginError(Exception):
    """An entry point that declares no usable engines; the message says why."""


def _declared(point: importlib.metadata.EntryPoint) -> list[Engine]:
    """The engines that an entry point names."""
    named = point.load()
    found = [named] if isinstance(named, Engine) else named
    if not isinstance(found, Iterable):
        raise PluginError(f"{point.value} is a {type(named).__name__}, not an Engine")
    found = list(found)
    for engine in found:
        if not isinstance(engine, Engine):
            raise PluginError(f"{point.value} holds a {type(engine).__name__}, not only Engines")
    return found


def _check(
    found: list[Engine], distribution: str, owners: dict[str, str], taken: set[object]
) -> None:
    """Raise PluginError where an id is another's, or a role is filled twice."""
    for engine in found:
        owner = owners.get(engine.id, distribution)
        if owner != distribution:
            raise PluginError(
                f"the engine id {engine.id!r} of {distribution} is already that of {owner}"
            )
        if engine.key in taken:
            raise PluginError(f"{distribution} declares {engine.role} {engine.id!r} twice")
        taken.add(engine.key)


def _distribution(point: importlib.metadata.EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "an unknown package"
