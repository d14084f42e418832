"""The dashboard and the alerts name what /metrics has, in PromQL that Prometheus reads."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from tests.support.gateway.scripted_server import ScriptedServer, server
from tests.support.gateway.webrtc_client import Caller, speech
from tests.support.paths import ROOT

__all__ = ["server"]

DASHBOARD = ROOT / "deploy" / "grafana" / "blab.json"
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yaml"
METRIC = re.compile(r"\bblab_[a-z_]+")


def dashboard() -> dict[str, Any]:
    made: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return made


def queries() -> list[str]:
    """Every expression of the dashboard, with Grafana's variables replaced as Grafana does it."""
    found = [
        target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", ())
    ]
    return [text.replace("$instance", ".*").replace("$__rate_interval", "1m") for text in found]


def alerts() -> list[dict[str, Any]]:
    made = yaml.safe_load(ALERTS.read_text())
    return [rule for group in made["groups"] for rule in group["rules"]]


def promtool() -> str:
    found = shutil.which("promtool")
    if found is None and os.environ.get("CI") != "true":
        pytest.skip("no promtool (Debian's package prometheus)")
    assert found is not None
    return found


async def served(server: ScriptedServer) -> str:
    async with aiohttp.ClientSession() as http, http.get(f"{server.url}/metrics") as response:
        return await response.text()


async def test_every_metric_that_is_named_is_served(server: ScriptedServer) -> None:
    text = await served(server)
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    known = set(kinds)
    for name, kind in kinds.items():
        if kind == "histogram":
            known |= {f"{name}_{part}" for part in ("bucket", "sum", "count")}
    named = [*queries(), *(rule["expr"] for rule in alerts())]
    assert len(named) > 40
    for text in named:
        assert set(METRIC.findall(text)) <= known, text
    _, health = (ROOT / "docs" / "operations.md").read_text().split("\n## Health\n")
    assert set(METRIC.findall(health.split("\n## ")[0])) <= known


async def test_a_webrtc_call_shows_its_network(server: ScriptedServer) -> None:
    headers = {"Authorization": f"Bearer {server.key}"}
    async with Caller(server.calls_url, headers=headers) as caller:
        await caller.event("session.created")
        await caller.say(speech("joe_q_capital")[:32_000])
    await server.empty()
    text = await served(server)
    label = 'blab_webrtc_packets_total{direction="received",outcome="received"} '
    assert float(text.split(label)[1].split()[0]) > 40
    assert 'blab_webrtc_jitter_seconds_count{direction="received"}' in text


def test_panels_have_a_place_of_their_own() -> None:
    places: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & places, panel["title"]
        places |= cells
    ids = [panel["id"] for panel in dashboard()["panels"]]
    assert len(ids) == len(set(ids))


def test_alerts_say_what_is_wrong() -> None:
    for rule in alerts():
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in ("warning", "critical")


def test_prometheus_reads_the_alerts_and_the_dashboards_queries(tmp_path: Path) -> None:
    tool = promtool()
    rules = [{"record": f"q:{number}", "expr": text} for number, text in enumerate(queries())]
    made = tmp_path / "queries.yaml"
    made.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run(
        [tool, "check", "rules", str(ALERTS), str(made)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
