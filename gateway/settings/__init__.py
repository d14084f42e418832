"""Settings: everything a deployment may choose, read once from the environment.

The only reader of ``os.environ`` in Blab (through ``Settings.read(os.environ)`` in the command
line). The fields of ``Settings`` are the declarations, by subject in ``server``, ``calls`` and
``platform``: the variable, its parser, default, accepted form and meaning stand together, and the
table in ``docs/configuration.md`` is generated from them.

Rules: a value is accepted, or refused with its variable's name and the accepted form; all errors
are reported at once; an undeclared ``BLAB_`` variable is an error, because a misspelt setting that
is silently ignored is worse. A secret's value is in no message and no ``repr``. An empty value
counts as not set. A secret may also be in a file, named by its variable with ``_FILE`` behind it.
"""

import difflib
import sys
from collections.abc import Mapping
from dataclasses import Field, dataclass, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipelines.engines.resources import usable_cores, usable_memory

from .calls import CallSettings
from .parsers import Declaration, absolute
from .platform import PlatformSettings
from .server import ServerSettings

CHECKOUT = Path(__file__).resolve().parent.parent.parent
"""The folder of the packages: a checkout's root, or site-packages when installed."""

BOOTSTRAP_VARIABLES = frozenset({"BLAB_VENV"})
"""Read by the bootstrap script ``./blab`` before this program runs."""


class SettingsError(Exception):
    """One or more variables hold values that cannot be accepted; the message names each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


GROUPS = (ServerSettings, CallSettings, PlatformSettings)
"""The settings by subject, in the order of the documentation."""


@dataclass(frozen=True)
class Settings(ServerSettings, CallSettings, PlatformSettings):
    """A deployment's choices; ``Settings()`` is what an empty environment gives, unresolved."""

    @classmethod
    def read(
        cls,
        environ: Mapping[str, str],
        *,
        given: Mapping[str, str] | None = None,
        cores: int | None = None,
    ) -> "Settings":
        """Settings from ``environ``; ``cores`` (default: this process's) decides some defaults.

        ``given``: variables from the command line, in place of the environment's. Raises
        SettingsError naming every variable that is wrong."""
        values: dict[str, Any] = {}
        given = given or {}
        replaced = {f"{variable}_FILE" for variable in given}
        environ = {name: value for name, value in environ.items() if name not in replaced}
        environ, problems = _with_files({**environ, **given})
        for name, declaration in _declared():
            raw = environ.get(declaration.variable, "").strip()
            if not raw:
                continue
            try:
                values[name] = declaration.parse(raw)
            except ValueError as error:
                problems.append(declaration.refusal(raw, error))
        problems += _unknown(environ)
        if not problems:
            problems = _contradictions(cls(**values))
        if problems:
            raise SettingsError(problems)
        return _resolve(cls(**values), environ, cores or usable_cores())


def declarations() -> list[Declaration]:
    """Every variable, in the order of the documentation."""
    return [declaration for _, declaration in _declared()]


def _declared() -> list[tuple[str, Declaration]]:
    members: list[Field[Any]] = [member for group in GROUPS for member in fields(group)]
    return [(member.name, member.metadata["declaration"]) for member in members]


MOST_SECRET_BYTES = 64 * 1024


def _with_files(environ: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """``environ`` with the secrets that are in files, and what is wrong with those."""
    values, problems = dict(environ), []
    for declaration in declarations():
        path = environ.get(declaration.file_variable or "", "").strip()
        if declaration.file_variable is None or not path:
            continue
        if values.get(declaration.variable, "").strip():
            both = f"{declaration.variable}, {declaration.file_variable}"
            problems.append(f"{both}: both are set; set one of them")
            continue
        try:
            values[declaration.variable] = _secret_in(absolute(path))
        except OSError as error:
            reason = error.strerror or "it cannot be read"
            problems.append(f"{declaration.file_variable}: {path!r}: {reason}")
        except ValueError as error:
            problems.append(f"{declaration.file_variable}: {path!r}: {error}")
    return values, problems


def _secret_in(path: Path) -> str:
    """A file's text without the line's end; raises OSError, or ValueError for what is no secret."""
    with path.open("rb") as file:
        content = file.read(MOST_SECRET_BYTES + 1)
    if len(content) > MOST_SECRET_BYTES:
        raise ValueError("it is too large for a secret")
    try:
        text = content.decode().strip()
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 text") from None
    if not text:
        raise ValueError("it is empty")
    return text


def _unknown(environ: Mapping[str, str]) -> list[str]:
    known = [declaration.variable for declaration in declarations()]
    known += [name for declaration in declarations() if (name := declaration.file_variable)]
    problems = []
    for variable in sorted(environ):
        if not variable.startswith("BLAB_") or variable in known:
            continue
        if variable in BOOTSTRAP_VARIABLES:
            continue
        near = difflib.get_close_matches(variable, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else "; docs/configuration.md lists them all"
        problems.append(f"{variable}: there is no such setting{hint}")
    return problems


def _contradictions(settings: Settings) -> list[str]:
    """Values that are valid by themselves and not together."""
    if settings.tls_key is not None and settings.tls_certificate is None:
        return ["BLAB_TLS_KEY: it has no effect without BLAB_TLS_CERTIFICATE"]
    if settings.processes > 1 and sys.platform != "linux":
        return ["BLAB_PROCESSES: more than one is supported on Linux only"]
    open_turns = [
        server
        for server in settings.ice_servers
        if server.url.startswith("turn") and server.username is None
    ]
    if open_turns and settings.turn_secret is None:
        return [
            "BLAB_ICE_SERVERS: a TURN server needs user:password@, or BLAB_TURN_SECRET must be set"
        ]
    return []


def _resolve(settings: Settings, environ: Mapping[str, str], cores: int) -> Settings:
    data_dir = settings.data_dir if settings.data_dir != Path() else _default_data_dir(environ)
    return replace(
        settings,
        data_dir=data_dir,
        models_dir=settings.models_dir if settings.models_dir != Path() else data_dir / "models",
        profile=settings.profile or ("small" if cores <= 2 else "standard"),
        max_calls=settings.max_calls or 2 * cores,
        processes=settings.processes or _processes(cores, usable_memory()),
        registration=settings.registration
        or ("open" if serves_this_machine_only(settings) else "closed"),
        objects_url=settings.objects_url or (data_dir / "objects").as_uri(),
    )


SHARED_BYTES = 3_000_000_000
"""What the engine process, Postgres, Valkey, a worker and the system need."""
PROCESS_BYTES = 400_000_000
"""What a gateway process needs with its calls."""


def _processes(cores: int, memory: int) -> int:
    """Half the cores: the engines need the others. One where several are not supported."""
    if sys.platform != "linux":
        return 1
    return max(1, min(cores // 2, (memory - SHARED_BYTES) // PROCESS_BYTES))


def serves_this_machine_only(settings: Settings) -> bool:
    """Whether the server listens on a loopback address and is not announced under another."""
    announced = urlsplit(settings.public_url).hostname if settings.public_url else settings.host
    return is_loopback(settings.host) and is_loopback(announced or "")


def is_loopback(host: str) -> bool:
    """Whether an address to listen on can be reached from this machine only."""
    return host in ("127.0.0.1", "::1", "localhost")


def _default_data_dir(environ: Mapping[str, str]) -> Path:
    if (CHECKOUT / "pyproject.toml").is_file():
        return CHECKOUT / ".blab"
    base = environ.get("XDG_DATA_HOME", "")
    return (Path(base) if base else Path.home() / ".local" / "share") / "blab"
