"""How a setting is declared, and parsers of its value: a string in, a typed value out.

A parser raises ValueError for anything else. Its message is a detail only ("it is out of range");
``Declaration.refusal`` adds the variable's name and the accepted form.
"""

import ipaddress
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

_ICE = re.compile(
    r"(?P<scheme>stuns?|turns?):"
    r"(?:(?P<user>[^:@\s]+):(?P<password>[^@\s]+)@)?"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:@/\s\[\]?]+)(?::(?P<port>\d{1,5}))?"
    r"(?P<query>\?transport=(?:udp|tcp))?"
)
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?")


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class IceServer:
    """A STUN or TURN server: ``url`` without credentials, as RFC 7064 and RFC 7065 write it."""

    url: str
    username: str | None = None
    credential: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Declaration:
    """One variable: how it is read and what the documentation says about it."""

    variable: str
    parse: Callable[[str], Any]
    default: str
    accepted: str
    meaning: str
    secret: bool = False

    @property
    def file_variable(self) -> str | None:
        """The variable for the path of a file that holds a secret; None for other settings."""
        return f"{self.variable}_FILE" if self.secret else None

    def refusal(self, raw: str, error: ValueError) -> str:
        """Why ``raw`` is not accepted; a secret's value is not repeated."""
        shown = "its value" if self.secret else f"{raw!r}"
        detail = "" if self.secret or not str(error) else f" ({error})"
        return f"{self.variable}: {shown} is not {self.accepted}{detail}"


def setting(
    variable: str,
    parse: Callable[[str], Any],
    value: Any,
    default: str,
    accepted: str,
    meaning: str,
    *,
    secret: bool = False,
) -> Any:
    """A field of ``Settings``; ``value`` is its default, ``default`` what the documents call it."""
    declaration = Declaration(variable, parse, default, accepted, meaning, secret)
    return field(default=value, repr=not secret, metadata={"declaration": declaration})


def text(raw: str) -> str:
    """Any text on one line."""
    if any(ord(character) < 32 for character in raw):
        raise ValueError("it contains control characters")
    return raw


def integer(low: int, high: int) -> Callable[[str], int]:
    """A whole number from ``low`` to ``high``."""

    def parse(raw: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,12}", raw):
            raise ValueError("it is not a whole number")
        value = int(raw)
        if not low <= value <= high:
            raise ValueError("it is out of range")
        return value

    return parse


def number(low: float, high: float) -> Callable[[str], float]:
    """A number from ``low`` to ``high``."""

    def parse(raw: str) -> float:
        value = float(raw)
        if not math.isfinite(value) or not low <= value <= high:
            raise ValueError("it is out of range")
        return value

    return parse


def one_of(*choices: str) -> Callable[[str], str]:
    """One of ``choices``, whatever its case."""

    def parse(raw: str) -> str:
        if raw.lower() not in choices:
            raise ValueError
        return raw.lower()

    return parse


def yes_or_no(raw: str) -> bool:
    """``yes`` or ``no``, whatever its case."""
    return one_of("yes", "no")(raw) == "yes"


def long_secret(raw: str) -> str:
    """A secret too long to be guessed."""
    if len(raw) < 32:
        raise ValueError("it is too short")
    return raw


def absolute(raw: str) -> Path:
    """A path that a file may have; ``~`` and relative paths are resolved."""
    try:
        path = Path(raw).expanduser().absolute()
        path.exists()
    except RuntimeError:  # no user has that name
        raise ValueError("the home directory is unknown") from None
    except OSError as error:
        raise ValueError(error.strerror) from None
    return path


def file(raw: str) -> Path:
    """An existing file, as an absolute path."""
    path = absolute(raw)
    if not path.is_file():
        raise ValueError("there is no such file")
    return path


def directory(raw: str) -> Path:
    """An absolute path; ``~`` and relative paths are resolved; it need not exist yet."""
    path = absolute(raw)
    if path.exists() and not path.is_dir():
        raise ValueError("it is a file")
    return path


def directory_or_off(raw: str) -> Path | None:
    """A directory, or None for "off"."""
    return None if raw.lower() == "off" else directory(raw)


def url(*schemes: str) -> Callable[[str], str]:
    """An address with one of ``schemes`` and a host or a path."""

    def parse(raw: str) -> str:
        parts = urlsplit(raw)
        if parts.scheme not in schemes or not (parts.netloc or parts.path or parts.query):
            raise ValueError
        if re.search(r"\s", raw):
            raise ValueError("it contains spaces")
        _ = parts.port  # raises ValueError if it is not a port
        return raw

    return parse


def ip_address(raw: str) -> str:
    """An IPv4 or IPv6 address."""
    return str(ipaddress.ip_address(raw))


def host_and_port(raw: str) -> tuple[str, int]:
    """An address to listen on; IPv6 in brackets."""
    host, colon, port = text(raw).rpartition(":")
    if not colon or not host:
        raise ValueError("it has no port")
    return host.removeprefix("[").removesuffix("]"), integer(0, 65535)(port)


def networks(raw: str) -> tuple[Network, ...]:
    """IPv4 and IPv6 networks or single addresses, separated by commas."""
    return tuple(ipaddress.ip_network(part.strip()) for part in raw.split(","))


def port_range(raw: str) -> tuple[int, int]:
    """``low-high``, both included."""
    low, dash, high = raw.partition("-")
    if not dash or not (low.strip().isdecimal() and high.strip().isdecimal()):
        raise ValueError("it is not a range")
    first, last = int(low), int(high)
    if not 1 <= first <= last <= 65535:
        raise ValueError("ports go from 1 to 65535, the lower one first")
    return first, last


def origins(raw: str) -> tuple[str, ...]:
    """Web origins (scheme://host[:port], RFC 6454), separated by commas; or ``*``."""
    found = []
    for part in (piece.strip() for piece in raw.split(",")):
        if part == "*":
            found.append(part)
            continue
        scheme, _, host = part.partition("://")
        if scheme not in ("http", "https") or not _HOST.fullmatch(host):
            raise ValueError(f"{part!r} is not an origin")
        found.append(part.lower())
    return tuple(found)


def ice_servers(raw: str) -> tuple[IceServer, ...]:
    """STUN and TURN servers, separated by commas; user and password may be percent-encoded."""
    servers = []
    for part in (piece.strip() for piece in raw.split(",")):
        match = _ICE.fullmatch(part)
        if match is None:
            raise ValueError("not every part is a server's address")
        scheme, user, password = match["scheme"], match["user"], match["password"]
        if user is not None and not scheme.startswith("turn"):
            raise ValueError("stun takes no user:password@")
        port = f":{int(match['port'])}" if match["port"] else ""
        if port and not 1 <= int(port[1:]) <= 65535:
            raise ValueError("ports go from 1 to 65535")
        servers.append(
            IceServer(
                f"{scheme}:{match['host']}{port}{match['query'] or ''}",
                unquote(user) if user else None,
                unquote(password) if password else None,
            )
        )
    return tuple(servers)
