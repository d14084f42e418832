"""Settings: every declared variable is read, and every wrong value is refused by name."""

import contextlib
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.settings import CHECKOUT, Settings, SettingsError, declarations

GOOD = {
    "BLAB_HOST": ("0.0.0.0", "host", "0.0.0.0"),
    "BLAB_PORT": ("0", "port", 0),
    "BLAB_PROCESSES": ("3", "processes", 3),
    "BLAB_DATA_DIR": ("/srv/blab", "data_dir", Path("/srv/blab")),
    "BLAB_MODELS_DIR": ("/srv/models", "models_dir", Path("/srv/models")),
    "BLAB_PROFILE": ("Full", "profile", "full"),
    "DATABASE_URL": ("postgresql://u@/d?host=/run", "database_url", "postgresql://u@/d?host=/run"),
    "REDIS_URL": ("redis://h:6379/0", "redis_url", "redis://h:6379/0"),
    "BLAB_OBJECTS_URL": ("s3://bucket/prefix", "objects_url", "s3://bucket/prefix"),
    "BLAB_UPSTREAM_URL": ("http://h:8000/v1", "upstream_url", "http://h:8000/v1"),
    "BLAB_UPSTREAM_KEY": ("sk-1", "upstream_key", "sk-1"),
    "BLAB_CHAT_MODEL": ("qwen2.5-0.5b", "chat_model", "qwen2.5-0.5b"),
    "BLAB_SPEECH_MODEL": ("hibari", "speech_model", "hibari"),
    "BLAB_TRANSCRIPTION_MODEL": ("whisper-1", "transcription_model", "whisper-1"),
    "BLAB_MAX_CALLS": ("7", "max_calls", 7),
    "BLAB_MAX_CALLS_PER_WORKSPACE": ("3", "max_calls_per_workspace", 3),
    "BLAB_DRAIN_GRACE_SECONDS": ("7", "drain_grace_seconds", 7.0),
    "OTEL_TRACES_EXPORTER": ("OTLP", "otel_traces", "otlp"),
    "OTEL_EXPORTER_OTLP_ENDPOINT": ("http://c:4318", "otel_endpoint", "http://c:4318"),
    "BLAB_LOG_LEVEL": ("WARNING", "log_level", "warning"),
    "BLAB_LOG_FORMAT": ("JSON", "log_format", "json"),
    "BLAB_RESUME_SECONDS": ("90", "resume_seconds", 90),
    "BLAB_RECORD_CALLS": ("/srv/calls", "record_calls", Path("/srv/calls")),
    "BLAB_TURN_SECRET": ("sekret", "turn_secret", "sekret"),
    "BLAB_ADVERTISED_ADDRESS": ("203.0.113.7", "advertised_address", "203.0.113.7"),
    "BLAB_UDP_PORTS": ("40000-40999", "udp_ports", (40000, 40999)),
    "BLAB_DRAIN_SECONDS": ("2.5", "drain_seconds", 2.5),
    "BLAB_PUBLIC_URL": ("https://voice.example", "public_url", "https://voice.example"),
    "BLAB_TWILIO_AUTH_TOKEN": ("sekret", "twilio_auth_token", "sekret"),
    "BLAB_PLIVO_AUTH_TOKEN": ("sekret", "plivo_auth_token", "sekret"),
    "BLAB_VONAGE_SIGNATURE_SECRET": ("sekret", "vonage_signature_secret", "sekret"),
    "BLAB_GENESYS_CLIENT_SECRET": ("sekret", "genesys_client_secret", "sekret"),
    "BLAB_AUDIOSOCKET": ("[::1]:9092", "audiosocket", ("::1", 9092)),
    "BLAB_REGISTRATION": ("Closed", "registration", "closed"),
    "BLAB_RATE_LIMIT": ("0", "rate_limit", 0),
    "BLAB_WORKERS": ("3", "workers", 3),
    "BLAB_MAX_UPLOAD_MB": ("64", "max_upload_mb", 64),
    "BLAB_MAX_MEDIA_HOURS": ("1.5", "max_media_hours", 1.5),
    "BLAB_RETENTION_DAYS": ("30", "retention_days", 30),
    "BLAB_WEBHOOK_PRIVATE": ("Yes", "webhook_private", True),
    "BLAB_TOOL_PRIVATE": ("Yes", "tool_private", True),
    "BLAB_CONNECTIONS_PER_ADDRESS": ("0", "connections_per_address", 0),
    "BLAB_TLS_CERTIFICATE": (__file__, "tls_certificate", Path(__file__)),
    "BLAB_SECRET_KEY": ("k" * 32, "secret_key", "k" * 32),
    "BLAB_PRICES": (__file__, "prices", Path(__file__)),
    "BLAB_TRUSTED_PROXIES": (
        "10.0.0.0/8, ::1",
        "trusted_proxies",
        (ip_network("10.0.0.0/8"), ip_network("::1")),
    ),
    "BLAB_ALLOWED_ORIGINS": (
        "https://a.example, http://localhost:3000",
        "allowed_origins",
        ("https://a.example", "http://localhost:3000"),
    ),
}
BAD = {
    "BLAB_HOST": "a\nb",
    "BLAB_PORT": "65536",
    "BLAB_DATA_DIR": __file__,
    "BLAB_MODELS_DIR": __file__,
    "BLAB_PROFILE": "huge",
    "DATABASE_URL": "mysql://u@h/d",
    "REDIS_URL": "http://h",
    "BLAB_OBJECTS_URL": "gs://bucket",
    "BLAB_UPSTREAM_URL": "h:8000",
    "BLAB_UPSTREAM_KEY": "sk\t1",
    "BLAB_CHAT_MODEL": "a\x00b",
    "BLAB_SPEECH_MODEL": "a\x01b",
    "BLAB_TRANSCRIPTION_MODEL": "a\x02b",
    "BLAB_MAX_CALLS": "0",
    "BLAB_MAX_CALLS_PER_WORKSPACE": "-1",
    "BLAB_DRAIN_GRACE_SECONDS": "-1",
    "OTEL_TRACES_EXPORTER": "jaeger",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317",
    "BLAB_LOG_LEVEL": "loud",
    "BLAB_LOG_FORMAT": "xml",
    "BLAB_RECORD_CALLS": __file__,
    "BLAB_ICE_SERVERS": "relay:host",
    "BLAB_TURN_SECRET": "a\x04b",
    "BLAB_ADVERTISED_ADDRESS": "example.com",
    "BLAB_UDP_PORTS": "500-400",
    "BLAB_DRAIN_SECONDS": "nan",
    "BLAB_ALLOWED_ORIGINS": "example.com",
    "BLAB_PUBLIC_URL": "voice.example",
    "BLAB_TWILIO_AUTH_TOKEN": "a\x03b",
    "BLAB_PLIVO_AUTH_TOKEN": "a\x03b",
    "BLAB_VONAGE_SIGNATURE_SECRET": "a\x03b",
    "BLAB_GENESYS_CLIENT_SECRET": "a\x03b",
    "BLAB_AUDIOSOCKET": "9092",
    "BLAB_REGISTRATION": "maybe",
    "BLAB_RATE_LIMIT": "-1",
    "BLAB_PROCESSES": "0",
    "BLAB_WORKERS": "65",
    "BLAB_MAX_UPLOAD_MB": "0",
    "BLAB_MAX_MEDIA_HOURS": "inf",
    "BLAB_RETENTION_DAYS": "1.5",
    "BLAB_WEBHOOK_PRIVATE": "perhaps",
    "BLAB_TOOL_PRIVATE": "perhaps",
    "BLAB_CONNECTIONS_PER_ADDRESS": "-1",
    "BLAB_PRICES": "/nowhere/prices.json",
    "BLAB_TRUSTED_PROXIES": "10.0.0.1/8",
    "BLAB_SECRET_KEY": "too short",
    "BLAB_TLS_CERTIFICATE": "/nowhere/cert.pem",
    "BLAB_TLS_KEY": "/nowhere/key.pem",
    "BLAB_RESUME_SECONDS": "-1",
}


@pytest.mark.parametrize("variable", GOOD)
def test_a_good_value_is_taken(variable: str) -> None:
    raw, field, value = GOOD[variable]
    assert getattr(Settings.read({variable: raw}), field) == value


@pytest.mark.parametrize("variable", BAD)
def test_a_bad_value_is_refused_with_its_name_and_the_accepted_form(variable: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.read({variable: BAD[variable]})
    accepted = next(d.accepted for d in declarations() if d.variable == variable)
    (problem,) = caught.value.problems
    assert problem.startswith(f"{variable}: ")
    assert accepted in problem


def test_every_variable_is_tested() -> None:
    known = {d.variable for d in declarations()}
    assert set(BAD) == known
    assert set(GOOD) == known - {"BLAB_ICE_SERVERS", "BLAB_TLS_KEY"}


def test_all_errors_are_reported_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.read({"BLAB_PORT": "x", "BLAB_PROFILE": "y", "BLAB_PROT": "1"})
    assert [p.split(":")[0] for p in caught.value.problems] == [
        "BLAB_PORT",
        "BLAB_PROFILE",
        "BLAB_PROT",
    ]
    assert "did you mean BLAB_PORT?" in str(caught.value)


@pytest.mark.parametrize(
    ("cores", "gigabytes", "processes"),
    [(1, 64, 1), (2, 64, 1), (3, 64, 1), (4, 64, 2), (16, 64, 8), (16, 4, 2), (16, 2, 1)],
)
def test_half_of_the_cores_carry_calls_as_far_as_memory_allows(
    cores: int, gigabytes: int, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.settings.usable_memory", lambda: gigabytes * 1_000_000_000)
    assert Settings.read({}, cores=cores).processes == processes
    monkeypatch.setattr("sys.platform", "darwin")
    assert Settings.read({}, cores=cores).processes == 1
    with pytest.raises(SettingsError, match="Linux only"):
        Settings.read({"BLAB_PROCESSES": "2"}, cores=cores)


def test_the_number_of_calls_follows_the_usable_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.settings.usable_cores", lambda: 5)
    assert Settings.read({}).max_calls == 10


def test_defaults_follow_the_machine() -> None:
    small, large = Settings.read({}, cores=2), Settings.read({}, cores=8)
    assert (small.profile, small.max_calls) == ("small", 4)
    assert (large.profile, large.max_calls) == ("standard", 16)
    assert small.processes == 1
    assert small.host == "127.0.0.1"
    assert small.data_dir == CHECKOUT / ".blab"
    assert small.models_dir == small.data_dir / "models"


@pytest.mark.parametrize(
    ("environ", "registration"),
    [
        ({}, "open"),
        ({"BLAB_PUBLIC_URL": "http://localhost:8484"}, "open"),
        ({"BLAB_PUBLIC_URL": "https://voice.example"}, "closed"),
        ({"BLAB_HOST": "0.0.0.0"}, "closed"),
        ({"BLAB_HOST": "0.0.0.0", "BLAB_REGISTRATION": "open"}, "open"),
    ],
)
def test_strangers_cannot_register_by_default(environ: dict[str, str], registration: str) -> None:
    assert Settings.read(environ).registration == registration


def test_models_lie_in_the_data_directory_unless_set_otherwise() -> None:
    assert Settings.read({"BLAB_DATA_DIR": "/d"}).models_dir == Path("/d/models")


def test_an_empty_value_counts_as_not_set() -> None:
    assert Settings.read({"DATABASE_URL": "", "BLAB_PORT": " "}, cores=2) == Settings.read(
        {}, cores=2
    )


def test_ice_servers() -> None:
    servers = Settings.read(
        {"BLAB_ICE_SERVERS": "stun:stun.example:3478, turn:u:p%40ss@[2001:db8::1]:5349"}
    ).ice_servers
    assert [(s.url, s.username, s.credential) for s in servers] == [
        ("stun:stun.example:3478", None, None),
        ("turn:[2001:db8::1]:5349", "u", "p@ss"),
    ]


def test_a_turn_server_needs_a_password_or_the_secret() -> None:
    servers = Settings.read(
        {"BLAB_ICE_SERVERS": "turns:turn.example", "BLAB_TURN_SECRET": "sekret"}
    ).ice_servers
    assert [(s.url, s.username) for s in servers] == [("turns:turn.example", None)]
    for wrong in ("turns:turn.example", "stun:u:p@stun.example"):
        with pytest.raises(SettingsError, match="BLAB_ICE_SERVERS"):
            Settings.read({"BLAB_ICE_SERVERS": wrong})


def test_a_secret_may_be_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text("postgresql://blab:p@db/blab\n")
    assert Settings.read({"DATABASE_URL_FILE": str(file)}).database_url == (
        "postgresql://blab:p@db/blab"
    )
    file.write_text("mysql://blab:sekret@db\n")
    with pytest.raises(SettingsError, match="DATABASE_URL: its value is not a postgresql") as bad:
        Settings.read({"DATABASE_URL_FILE": str(file)})
    assert "sekret" not in str(bad.value)


def test_a_secret_is_set_once() -> None:
    with pytest.raises(SettingsError, match="BLAB_TURN_SECRET, BLAB_TURN_SECRET_FILE: both"):
        Settings.read({"BLAB_TURN_SECRET": "s", "BLAB_TURN_SECRET_FILE": "/nowhere"})


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file"),
        (b"", "it is empty"),
        (b"\n", "it is empty"),
        (b"\xff\xfe", "not UTF-8"),
        (b"x" * 70_000, "too large"),
    ],
)
def test_a_file_that_holds_no_secret_is_named(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError, match=f"BLAB_UPSTREAM_KEY_FILE: .*{reason}"):
        Settings.read({"BLAB_UPSTREAM_KEY_FILE": str(file)})


def test_only_secrets_are_read_from_files() -> None:
    for declaration in declarations():
        if not declaration.secret and declaration.variable.startswith("BLAB_"):
            with pytest.raises(SettingsError, match="there is no such setting"):
                Settings.read({f"{declaration.variable}_FILE": "/x"})
    with pytest.raises(SettingsError, match="did you mean BLAB_SECRET_KEY_FILE"):
        Settings.read({"BLAB_SECRT_KEY_FILE": "/x"})


def test_the_command_line_takes_precedence() -> None:
    settings = Settings.read({"BLAB_PORT": "1", "BLAB_HOST": "::1"}, given={"BLAB_PORT": "2"})
    assert (settings.port, settings.host) == (2, "::1")
    given = {"DATABASE_URL": "postgresql://given/d"}
    settings = Settings.read({"DATABASE_URL_FILE": "/nowhere"}, given=given)
    assert settings.database_url == given["DATABASE_URL"]


SECRETS = {
    "BLAB_TURN_SECRET": "sekret\x07",
    "BLAB_UPSTREAM_KEY": "sekret\x07",
    "BLAB_TWILIO_AUTH_TOKEN": "sekret\x07",
    "BLAB_PLIVO_AUTH_TOKEN": "sekret\x07",
    "BLAB_VONAGE_SIGNATURE_SECRET": "sekret\x07",
    "BLAB_GENESYS_CLIENT_SECRET": "sekret\x07",
    "DATABASE_URL": "mysql://u:sekret@h/d",
    "REDIS_URL": "http://:sekret@h",
    "BLAB_ICE_SERVERS": "turn:u:sekret@h:99999",
}


@pytest.mark.parametrize("variable", SECRETS)
def test_no_secret_is_in_a_refusal(variable: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.read({variable: SECRETS[variable]})
    assert "sekret" not in str(caught.value)


def test_no_secret_is_in_the_repr() -> None:
    settings = Settings.read(
        {
            "BLAB_UPSTREAM_KEY": "sekret",
            "BLAB_TWILIO_AUTH_TOKEN": "sekret",
            "BLAB_PLIVO_AUTH_TOKEN": "sekret",
            "BLAB_VONAGE_SIGNATURE_SECRET": "sekret",
            "BLAB_GENESYS_CLIENT_SECRET": "sekret",
            "BLAB_TURN_SECRET": "sekret",
            "DATABASE_URL": "postgresql://u:sekret@h/d",
            "BLAB_ICE_SERVERS": "turn:u:sekret@h",
        }
    )
    assert "sekret" not in repr(settings)
    assert "sekret" not in repr(settings.ice_servers)


@pytest.mark.parametrize(
    ("raw", "why"),
    [("~nobody.at.all/x", "home directory is unknown"), ("a" * 300, "File name too long")],
)
@pytest.mark.parametrize("variable", ["BLAB_DATA_DIR", "BLAB_SECRET_KEY_FILE"])
def test_a_path_that_cannot_be_is_refused(variable: str, raw: str, why: str) -> None:
    with pytest.raises(SettingsError, match=f"{variable}.*{why}"):
        Settings.read({variable: raw}, cores=2)


@given(st.sampled_from(sorted(BAD)), st.text(max_size=40))
def test_any_text_is_accepted_or_refused(variable: str, raw: str) -> None:
    with contextlib.suppress(SettingsError):
        Settings.read({variable: raw}, cores=2)
