"""Settings of the server: its address, who may reach it, and where it keeps things."""

from dataclasses import dataclass
from pathlib import Path

from . import parsers
from .parsers import Network, setting


@dataclass(frozen=True)
class ServerSettings:
    """The server."""

    host: str = setting(
        "BLAB_HOST",
        parsers.text,
        "127.0.0.1",
        "127.0.0.1",
        "an address or host name",
        "Address to listen on. Anything but loopback switches off the pages' key without sign-in.",
    )
    port: int = setting(
        "BLAB_PORT",
        parsers.integer(0, 65535),
        8484,
        "8484",
        "a whole number from 0 to 65535 (0: any free port)",
        "TCP port of HTTP and WebSocket.",
    )
    processes: int = setting(
        "BLAB_PROCESSES",
        parsers.integer(1, 64),
        0,
        "1 on up to 3 cores, else half the cores as far as memory allows",
        "a whole number from 1 to 64",
        "Gateway processes behind that port. More than one share an engine process (Linux only); "
        "see docs/operations.md.",
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
    public_url: str | None = setting(
        "BLAB_PUBLIC_URL",
        parsers.url("http", "https"),
        None,
        "the address of the request",
        "an http:// or https:// address without a path",
        "The start of signed audio URLs, if a proxy is in front. Anything but"
        " loopback switches off the pages' key without sign-in.",
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
    allowed_origins: tuple[str, ...] = setting(
        "BLAB_ALLOWED_ORIGINS",
        parsers.origins,
        (),
        "the server's own pages",
        "origins separated by commas, such as https://app.example.com; or *",
        "Web pages that may call the API from a browser.",
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
    rate_limit: int = setting(
        "BLAB_RATE_LIMIT",
        parsers.integer(0, 1_000_000),
        600,
        "600",
        "a whole number from 0 to 1000000 (0: no limit)",
        "REST requests per minute for each key and each address.",
    )
    registration: str = setting(
        "BLAB_REGISTRATION",
        parsers.one_of("open", "closed"),
        "",
        "`open` where only this machine is served, else `closed`",
        "open or closed",
        "Whether people may create accounts themselves (`POST /api/auth/register`).",
    )
    secret_key: str | None = setting(
        "BLAB_SECRET_KEY",
        parsers.long_secret,
        None,
        "`secret.key` in the data directory, made at the first start",
        "a text of at least 32 characters",
        "Seals the headers of agents' tools and webhooks' secrets; the same on every node.",
        secret=True,
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
    log_level: str = setting(
        "BLAB_LOG_LEVEL",
        parsers.one_of("debug", "info", "warning", "error"),
        "info",
        "info",
        "debug, info, warning or error",
        "Lowest severity that is logged. Logs hold no transcript, key or audio.",
    )
    log_format: str = setting(
        "BLAB_LOG_FORMAT",
        parsers.one_of("text", "json"),
        "text",
        "text",
        "text or json",
        "Form of the log: lines of text, or a JSON object a line; see docs/operations.md.",
    )
    drain_seconds: float = setting(
        "BLAB_DRAIN_SECONDS",
        parsers.number(0, 86_400),
        30.0,
        "30",
        "a number of seconds from 0 to 86400",
        "How long calls in progress may continue while the server stops.",
    )
    drain_grace_seconds: float = setting(
        "BLAB_DRAIN_GRACE_SECONDS",
        parsers.number(0, 3600),
        0.0,
        "0",
        "a number of seconds from 0 to 3600",
        "How long `/readyz` says that the server stops before it refuses new calls, so that a load "
        "balancer can notice.",
    )
    otel_traces: str = setting(
        "OTEL_TRACES_EXPORTER",
        parsers.one_of("otlp", "console", "none"),
        "",
        "`otlp` if `OTEL_EXPORTER_OTLP_ENDPOINT` is set, else `none`",
        "otlp, console or none",
        "Where traces of calls go (`pip install 'blab[otel]'`). The other `OTEL_` variables have "
        "the meaning that OpenTelemetry gives them.",
    )
    otel_endpoint: str | None = setting(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        parsers.url("http", "https"),
        None,
        "none",
        "an http:// or https:// address",
        "The collector of traces, over HTTP.",
    )
