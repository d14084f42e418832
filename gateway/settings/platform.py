"""Settings of what stands behind calls and REST requests: stores, engines and jobs."""

from dataclasses import dataclass
from pathlib import Path

from . import parsers
from .parsers import setting


@dataclass(frozen=True)
class PlatformSettings:
    """Stores, engines and jobs."""

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
        "How long calls, recordings and finished jobs are kept; a workspace may choose less.",
    )
    webhook_private: bool = setting(
        "BLAB_WEBHOOK_PRIVATE",
        parsers.yes_or_no,
        False,
        "no",
        "yes or no",
        "Whether webhooks may go to private, loopback and carrier-grade NAT addresses.",
    )
    prices: Path | None = setting(
        "BLAB_PRICES",
        parsers.file,
        None,
        "everything is free",
        "the path of a JSON file",
        "Price table for the cost of usage; see docs/operations.md.",
    )
