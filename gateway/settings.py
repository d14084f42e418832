"""Settings: everything a deployment may choose, read once from the environment.

The only reader of ``os.environ`` in Blab (through ``Settings.read(os.environ)`` in the command
line). The fields of ``Settings`` are the declarations: the variable, its parser, default, accepted
form and meaning stand together, and the table in ``docs/configuration.md`` is generated from them.

Rules: a value is accepted, or refused with its variable's name and the accepted form; all errors
are reported at once; an undeclared ``BLAB_`` variable is an error, because a misspelt setting that
is silently ignored is worse. A secret's value is in no message and no ``repr``. An empty value
counts as not set.
"""

import difflib
import os
from collections.abc import Mapping
from dataclasses import Field, dataclass, fields, replace
from pathlib import Path
from typing import Any

from gateway import parsers
from gateway.parsers import Declaration, IceServer, Network, setting

CHECKOUT = Path(__file__).resolve().parent.parent
"""The folder of the packages: a checkout's root, or site-packages when installed."""

BOOTSTRAP_VARIABLES = frozenset({"BLAB_VENV"})
"""Read by the bootstrap script ``./blab`` before this program runs."""


def _carrier_secret(name: str, form: str, proof: str) -> Any:
    """What proves a carrier's streams without a key; ``proof``: whose streams, and by what."""
    effect = (
        f"Accepts {proof} of their opening request, for the agent in their address; see "
        "docs/telephony.md. Never printed or logged."
    )
    return setting(name, parsers.text, None, "streams need a key", form, effect, secret=True)


class SettingsError(Exception):
    """One or more variables hold values that cannot be accepted; the message names each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Settings:
    """A deployment's choices; ``Settings()`` is what an empty environment gives, unresolved."""

    host: str = setting(
        "BLAB_HOST",
        parsers.text,
        "127.0.0.1",
        "127.0.0.1",
        "an address or host name",
        "Address to listen on. Anything but loopback switches off the demo page's key "
        "without sign-in.",
    )
    port: int = setting(
        "BLAB_PORT",
        parsers.integer(0, 65535),
        8484,
        "8484",
        "a whole number from 0 to 65535 (0: any free port)",
        "TCP port of HTTP and WebSocket.",
    )
    data_dir: Path = setting(
        "BLAB_DATA_DIR",
        parsers.directory,
        Path(),
        "`.blab` in a checkout, else `~/.local/share/blab`",
        "a directory's path",
        "Where the embedded services, recordings and downloads are kept. It holds all data of "
        "embedded mode, and may be deleted while nothing runs.",
    )
    models_dir: Path = setting(
        "BLAB_MODELS_DIR",
        parsers.directory,
        Path(),
        "`models` in the data directory",
        "a directory's path",
        "Where model weights are kept; installations may share it.",
    )
    profile: str = setting(
        "BLAB_PROFILE",
        parsers.one_of("small", "standard", "full"),
        "",
        "`small` up to 2 cores, else `standard`",
        "small, standard or full",
        "Which set of models to fetch and load.",
    )
    database_url: str | None = setting(
        "DATABASE_URL",
        parsers.url("postgresql", "postgres"),
        None,
        "embedded Postgres",
        "a postgresql:// address",
        "External Postgres. Not set: a private one is started as a child process.",
        secret=True,
    )
    redis_url: str | None = setting(
        "REDIS_URL",
        parsers.url("redis", "rediss", "unix"),
        None,
        "embedded Valkey",
        "a redis://, rediss:// or unix:// address",
        "External Redis or Valkey. Not set: a private Valkey is started as a child process.",
        secret=True,
    )
    objects_url: str | None = setting(
        "BLAB_OBJECTS_URL",
        parsers.url("file", "s3"),
        None,
        "`objects` in the data directory",
        "a file:// or s3:// address",
        "Where audio objects are stored; see docs/operations.md for the options of a bucket.",
        secret=True,
    )
    upstream_url: str | None = setting(
        "BLAB_UPSTREAM_URL",
        parsers.url("http", "https"),
        None,
        "none",
        "an http:// or https:// address, up to and including /v1",
        "A server with OpenAI's HTTP API; its models become available alongside the embedded ones.",
    )
    upstream_key: str | None = setting(
        "BLAB_UPSTREAM_KEY",
        parsers.text,
        None,
        "none",
        "a key",
        "Bearer key for the upstream. Never printed or logged.",
        secret=True,
    )
    chat_model: str | None = setting(
        "BLAB_CHAT_MODEL",
        parsers.text,
        None,
        "the profile's embedded model",
        "a model id",
        "Chat model of calls that do not name one.",
    )
    speech_model: str | None = setting(
        "BLAB_SPEECH_MODEL",
        parsers.text,
        None,
        "the embedded model",
        "a model id",
        "Text-to-speech model of calls that do not name one.",
    )
    transcription_model: str | None = setting(
        "BLAB_TRANSCRIPTION_MODEL",
        parsers.text,
        None,
        "the embedded model",
        "a model id",
        "Speech-to-text model of calls that do not name one.",
    )
    max_calls: int = setting(
        "BLAB_MAX_CALLS",
        parsers.integer(1, 10_000),
        0,
        "2 per core",
        "a whole number from 1 to 10000",
        "Simultaneous calls on this node; further ones are refused because the server is full.",
    )
    log_level: str = setting(
        "BLAB_LOG_LEVEL",
        parsers.one_of("debug", "info", "warning", "error"),
        "info",
        "info",
        "debug, info, warning or error",
        "Lowest severity that is logged. Logs hold no transcript, key or audio.",
    )
    record_calls: Path | None = setting(
        "BLAB_RECORD_CALLS",
        parsers.directory_or_off,
        None,
        "off",
        "off, or a directory's path",
        "Write each call's event log there, for `blab replay`. The logs contain what was said.",
    )
    ice_servers: tuple[IceServer, ...] = setting(
        "BLAB_ICE_SERVERS",
        parsers.ice_servers,
        (),
        "none",
        "addresses separated by commas: stun:host[:port], "
        "turn:[user:password@]host[:port] or turns:[user:password@]host[:port]",
        "STUN and TURN servers for WebRTC. For a TURN server without a password, "
        "`BLAB_TURN_SECRET` makes the credentials.",
        secret=True,
    )
    turn_secret: str | None = setting(
        "BLAB_TURN_SECRET",
        parsers.text,
        None,
        "none",
        "the secret that the TURN server shares (coturn: `static-auth-secret`)",
        "Makes time-limited names and passwords for TURN servers without a fixed one, for "
        "this server and for callers (`GET /v1/realtime/ice_servers`).",
        secret=True,
    )
    advertised_address: str | None = setting(
        "BLAB_ADVERTISED_ADDRESS",
        parsers.ip_address,
        None,
        "the machine's own addresses",
        "an IP address",
        "Address that WebRTC peers send to, if the machine is behind NAT.",
    )
    udp_ports: tuple[int, int] | None = setting(
        "BLAB_UDP_PORTS",
        parsers.port_range,
        None,
        "any free port",
        "a range such as 40000-40999",
        "UDP ports that WebRTC may use.",
    )
    drain_seconds: float = setting(
        "BLAB_DRAIN_SECONDS",
        parsers.number(0, 86_400),
        30.0,
        "30",
        "a number of seconds from 0 to 86400",
        "How long calls in progress may continue while the server stops.",
    )
    allowed_origins: tuple[str, ...] = setting(
        "BLAB_ALLOWED_ORIGINS",
        parsers.origins,
        (),
        "the server's own pages",
        "origins separated by commas, such as https://app.example.com; or *",
        "Web pages that may call the API from a browser.",
    )

    public_url: str | None = setting(
        "BLAB_PUBLIC_URL",
        parsers.url("http", "https"),
        None,
        "the address of the request",
        "an http:// or https:// address without a path",
        "The start of signed audio URLs, if a proxy is in front. Anything but"
        " loopback switches off the demo page's key without sign-in.",
    )
    twilio_auth_token: str | None = _carrier_secret(
        "BLAB_TWILIO_AUTH_TOKEN",
        "the account's auth token",
        "Twilio's media streams by the signature",
    )
    vonage_signature_secret: str | None = _carrier_secret(
        "BLAB_VONAGE_SIGNATURE_SECRET",
        "the account's signature secret",
        "Vonage's WebSockets by the JWT",
    )
    plivo_auth_token: str | None = _carrier_secret(
        "BLAB_PLIVO_AUTH_TOKEN",
        "the account's auth token",
        "Plivo's audio streams by the signature",
    )
    genesys_client_secret: str | None = _carrier_secret(
        "BLAB_GENESYS_CLIENT_SECRET",
        "the integration's client secret, in base64",
        "the streams of Genesys Cloud's Audio Connector by the signature",
    )
    audiosocket: tuple[str, int] | None = setting(
        "BLAB_AUDIOSOCKET",
        parsers.host_and_port,
        None,
        "off",
        "HOST:PORT, such as 10.0.0.5:9092",
        "Where Blab accepts AudioSocket calls. They need a one-time key, except on loopback in"
        " embedded mode, and are not encrypted: keep the address private. See docs/telephony.md.",
    )
    registration: str = setting(
        "BLAB_REGISTRATION",
        parsers.one_of("open", "closed"),
        "",
        "`open` on a loopback address, else `closed`",
        "open or closed",
        "Whether people may create accounts themselves (`POST /api/auth/register`).",
    )
    rate_limit: int = setting(
        "BLAB_RATE_LIMIT",
        parsers.integer(0, 1_000_000),
        600,
        "600",
        "a whole number from 0 to 1000000 (0: no limit)",
        "REST requests per minute for each key and each address.",
    )
    workers: int = setting(
        "BLAB_WORKERS",
        parsers.integer(0, 64),
        1,
        "1",
        "a whole number from 0 to 64",
        "Worker processes that `blab serve` starts for jobs; 0 if `blab worker` runs elsewhere.",
    )
    max_upload_mb: int = setting(
        "BLAB_MAX_UPLOAD_MB",
        parsers.integer(1, 1_000_000),
        2048,
        "2048",
        "a whole number of MiB from 1 to 1000000",
        "The largest file that is accepted.",
    )
    max_media_hours: float = setting(
        "BLAB_MAX_MEDIA_HOURS",
        parsers.number(0.01, 100),
        4.0,
        "4",
        "a number of hours from 0.01 to 100",
        "The longest recording that is accepted, by its decoded audio.",
    )
    retention_days: int = setting(
        "BLAB_RETENTION_DAYS",
        parsers.integer(0, 36_500),
        0,
        "0",
        "a whole number of days from 0 to 36500 (0: forever)",
        "How long finished jobs and their artifacts are kept.",
    )
    webhook_private: bool = setting(
        "BLAB_WEBHOOK_PRIVATE",
        parsers.yes_or_no,
        False,
        "no",
        "yes or no",
        "Whether webhooks may go to private, loopback and carrier-grade NAT addresses.",
    )
    tool_private: bool = setting(
        "BLAB_TOOL_PRIVATE",
        parsers.yes_or_no,
        False,
        "no",
        "yes or no",
        "Whether agents' tools may go to private, loopback and carrier-grade NAT addresses.",
    )
    trusted_proxies: tuple[Network, ...] = setting(
        "BLAB_TRUSTED_PROXIES",
        parsers.networks,
        (),
        "none",
        "networks separated by commas, such as 10.0.0.0/8",
        "Proxies in front of this server: a client behind them is identified by the address in "
        "`X-Forwarded-For`.",
    )
    connections_per_address: int = setting(
        "BLAB_CONNECTIONS_PER_ADDRESS",
        parsers.integer(0, 1_000_000),
        256,
        "256",
        "a whole number from 0 to 1000000 (0: no limit)",
        "Simultaneous TCP connections from one address (IPv6: one /64). Loopback and "
        "`BLAB_TRUSTED_PROXIES` are not limited.",
    )
    tls_certificate: Path | None = setting(
        "BLAB_TLS_CERTIFICATE",
        parsers.file,
        None,
        "plain HTTP",
        "the path of a PEM file",
        "Certificate, with its chain, for https:// and wss:// on `BLAB_PORT`.",
    )
    tls_key: Path | None = setting(
        "BLAB_TLS_KEY",
        parsers.file,
        None,
        "in the certificate's file",
        "the path of a PEM file",
        "Private key of `BLAB_TLS_CERTIFICATE`.",
    )
    secret_key: str | None = setting(
        "BLAB_SECRET_KEY",
        parsers.long_secret,
        None,
        "`secret.key` in the data directory, made at the first start",
        "a text of at least 32 characters",
        "Seals the headers of agents' tools in the database; the same on every node.",
        secret=True,
    )
    prices: Path | None = setting(
        "BLAB_PRICES",
        parsers.file,
        None,
        "everything is free",
        "the path of a JSON file",
        "Price table for the cost of usage; see docs/operations.md.",
    )

    @classmethod
    def read(cls, environ: Mapping[str, str], *, cores: int | None = None) -> "Settings":
        """Settings from ``environ``; ``cores`` (default: this process's) decides some defaults.

        Raises SettingsError naming every variable that is wrong."""
        values: dict[str, Any] = {}
        problems: list[str] = []
        for name, declaration in _declared(cls):
            raw = environ.get(declaration.variable, "").strip()
            if not raw:
                continue
            try:
                values[name] = declaration.parse(raw)
            except ValueError as error:
                problems.append(declaration.refusal(raw, error))
        problems += _unknown(environ, [declaration.variable for declaration in declarations()])
        if not problems:
            problems = _contradictions(cls(**values))
        if problems:
            raise SettingsError(problems)
        return _resolve(cls(**values), environ, cores or _available_cores())


def declarations() -> list[Declaration]:
    """Every variable, in the order of the documentation."""
    return [declaration for _, declaration in _declared(Settings)]


def _declared(cls: type[Settings]) -> list[tuple[str, Declaration]]:
    members: tuple[Field[Any], ...] = fields(cls)
    return [(member.name, member.metadata["declaration"]) for member in members]


def _unknown(environ: Mapping[str, str], known: list[str]) -> list[str]:
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
        registration=settings.registration or ("open" if is_loopback(settings.host) else "closed"),
        objects_url=settings.objects_url or (data_dir / "objects").as_uri(),
    )


def is_loopback(host: str) -> bool:
    """Whether an address to listen on can be reached from this machine only."""
    return host in ("127.0.0.1", "::1", "localhost")


def _default_data_dir(environ: Mapping[str, str]) -> Path:
    if (CHECKOUT / "pyproject.toml").is_file():
        return CHECKOUT / ".blab"
    base = environ.get("XDG_DATA_HOME", "")
    return (Path(base) if base else Path.home() / ".local" / "share") / "blab"


def _available_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
