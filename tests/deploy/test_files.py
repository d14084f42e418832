"""The files for deployment agree with the program, and with each other.

What only the tools themselves can say (hadolint, docker compose, Helm, systemd) is not run here;
docs/deploy.md says when it was. HAProxy and nginx run in tests/integration/test_proxies.py.
"""

import configparser
import os
import re
import stat
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.cli import COMMANDS
from gateway.settings import BOOTSTRAP_VARIABLES, Settings, declarations
from tests.support.paths import ROOT

FILES = sorted(
    path
    for path in [ROOT / "Dockerfile", ROOT / "compose.yaml", *(ROOT / "deploy").rglob("*")]
    if path.is_file() and "secrets" not in path.parts
)
DOCUMENTS = [ROOT / "docs" / "operations.md", ROOT / "docs" / "deploy.md"]
VARIABLE = re.compile(r"\b(?:BLAB_[A-Z_]+|DATABASE_URL(?:_FILE)?|REDIS_URL(?:_FILE)?)\b")
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))


def known_variables() -> set[str]:
    files = {declaration.file_variable for declaration in declarations()} - {None}
    names = {declaration.variable for declaration in declarations()}
    return names | {str(name) for name in files} | BOOTSTRAP_VARIABLES


def compose() -> dict[str, Any]:
    made: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return made


def values() -> dict[str, Any]:
    made: dict[str, Any] = yaml.safe_load((ROOT / "deploy/helm/blab/values.yaml").read_text())
    return made


@pytest.mark.parametrize("path", [*FILES, *DOCUMENTS], ids=lambda path: path.name)
def test_every_variable_is_a_setting(path: Path) -> None:
    assert set(VARIABLE.findall(path.read_text())) <= known_variables()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_blab_is_reached_on_its_own_port(path: Path) -> None:
    ports = re.findall(
        r"(?:web|10\.0\.0\.1\d):(\d+)|EXPOSE (\d+)|containerPort: (\d+)", path.read_text()
    )
    assert {port for group in ports for port in group if port} <= {str(Settings().port)}


# ------------------------------------------------------------------ containers


def test_images_are_pinned() -> None:
    images = [service["image"] for service in compose()["services"].values() if "image" in service]
    stages: set[str] = set()
    for line in (ROOT / "Dockerfile").read_text().splitlines():
        if found := re.fullmatch(r"FROM (\S+) AS (\S+)", line):
            if found[1] not in stages:
                images.append(found[1])
            stages.add(found[2])
    for image in images:
        _, _, tag = image.removesuffix("}").rpartition(":")
        assert re.match(r"v?\d", tag.removeprefix("-blab:")), f"{image} names no version"


def test_the_image_has_every_package_and_no_more() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    kept = {line[1:] for line in lines if line.startswith("!")}
    assert lines[1] == "*"
    assert kept == packages | {"blab", "pyproject.toml", "uv.lock", "README.md", "LICENSE"}
    made = re.search(r"^RUN mkdir ([\w ]+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert made is not None
    assert set(made[1].split()) == packages


def test_the_secrets_are_made_once_and_only_their_owner_finds_them(tmp_path: Path) -> None:
    (tmp_path / "deploy").mkdir()
    script = tmp_path / "deploy" / "make-secrets.sh"
    script.write_bytes((ROOT / "deploy" / "make-secrets.sh").read_bytes())
    command = ["sh", str(script), "voice.example.com", "203.0.113.7"]
    subprocess.run(command, check=True, capture_output=True)
    folder = tmp_path / "deploy" / "secrets"
    first = {path.name: path.read_text() for path in folder.iterdir()}
    subprocess.run(command, check=True, capture_output=True)
    assert {path.name: path.read_text() for path in folder.iterdir()} == first
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in folder.iterdir())
    assert "static-auth-secret=" + first["turn_secret"].strip() in first["turnserver.conf"]
    named = {secret["file"] for secret in compose()["secrets"].values()}
    named |= set(compose()["services"]["s3"]["env_file"])
    named -= {"deploy/secrets/metrics_key"}  # made with the running server, for monitoring
    assert named <= {f"deploy/secrets/{name}" for name in first}
    assert subprocess.run(command[:2], check=False, capture_output=True).returncode == 2


@pytest.mark.parametrize("service", ["web", "worker"])
def test_blab_accepts_the_settings_of_its_containers(service: str, tmp_path: Path) -> None:
    (tmp_path / "deploy").mkdir()
    script = tmp_path / "deploy" / "make-secrets.sh"
    script.write_bytes((ROOT / "deploy" / "make-secrets.sh").read_bytes())
    subprocess.run(["sh", script, "v.example", "203.0.113.7"], check=True, capture_output=True)
    chosen = dict(line.split("=", 1) for line in (tmp_path / ".env").read_text().splitlines())
    made = compose()
    environment = {}
    for name, value in made["services"][service]["environment"].items():
        text = re.sub(r"\$\{(\w+)[^}]*\}", lambda found: chosen[found[1]], str(value))
        if name.endswith("_FILE"):
            secret = made["secrets"][Path(text).name]["file"]
            text = str(tmp_path / secret)
            assert Path(str(value)).name in made["services"][service]["secrets"]
        environment[name] = text
    settings = Settings.read(environment)
    assert settings.database_url is not None
    assert settings.public_url == "https://v.example"
    assert settings.objects_url is not None
    assert settings.objects_url.startswith("s3://")
    if service == "web":
        assert [server.url for server in settings.ice_servers] == ["turn:203.0.113.7:3478"]
        (ports,) = made["services"]["web"]["ports"]
        low, high = settings.udp_ports or (0, 0)
        assert ports == f"{low}-{high}:{low}-{high}/udp"


def test_containers_are_stopped_after_the_calls_have_ended() -> None:
    for name in ("web", "worker"):
        service = compose()["services"][name]
        grace = int(service["stop_grace_period"].removesuffix("s"))
        assert grace > int(service["environment"]["BLAB_DRAIN_SECONDS"])


def test_volumes_and_networks_are_declared() -> None:
    made = compose()
    for service in made["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert (ROOT / source).exists() if source.startswith(".") else source in made["volumes"]
        assert set(service.get("networks", ())) <= set(made["networks"])


# ------------------------------------------------------------------ systemd


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_unit_runs_a_command_and_waits_for_its_calls(path: Path) -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment]  # names are case-sensitive
    unit.read_string(path.read_text())
    service = unit["Service"]
    assert service["ExecStart"].split()[1] in COMMANDS
    grace = float((re.findall(r"BLAB_DRAIN_GRACE_SECONDS=(\d+)", path.read_text()) or ["0"])[0])
    assert float(service["TimeoutStopSec"]) > Settings().drain_seconds + grace
    assert service["KillMode"] == "mixed"
    assert (service["DynamicUser"], service["ProtectSystem"]) == ("yes", "strict")
    credentials = set(re.findall(r"^LoadCredential=(\S+):", path.read_text(), re.MULTILINE))
    assert set(re.findall(r"_FILE=%d/(\S+)", path.read_text())) == credentials


def test_there_are_units_for_every_process() -> None:
    assert {path.name for path in UNITS} == {
        "blab.service",
        "blab-web@.service",
        "blab-worker@.service",
    }


# ------------------------------------------------------------------ Kubernetes


def test_the_charts_values_name_settings() -> None:
    made = values()
    secrets = {declaration.variable for declaration in declarations() if declaration.secret}
    assert set(made["secret"]["keys"]) <= secrets
    assert set(made["settings"]) <= {declaration.variable for declaration in declarations()}
    Settings.read({name: str(value) for name, value in made["settings"].items()})


def test_the_charts_templates_use_only_declared_values() -> None:
    made = values()
    for path in (ROOT / "deploy/helm/blab/templates").iterdir():
        for name in re.findall(r"\.Values\.([\w.]+)", path.read_text()):
            inner: Any = made
            for part in name.split("."):
                assert part in inner, f"{path.name} uses {name}, which values.yaml lacks"
                inner = inner[part]


def test_the_charts_version_is_the_programs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    chart = yaml.safe_load((ROOT / "deploy/helm/blab/Chart.yaml").read_text())
    assert chart["appVersion"] == project["project"]["version"]


def test_scripts_are_readable_by_any_shell() -> None:
    for path in (ROOT / "deploy").glob("*.sh"):
        assert path.read_text().startswith("#!/bin/sh\n")
        subprocess.run(["sh", "-n", path], check=True)
        assert os.access(path, os.R_OK)
