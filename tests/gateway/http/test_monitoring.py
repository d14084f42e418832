"""Readiness gives its reasons, is not checked too often, and counts a hanging check as a reason."""

import asyncio
import json

import pytest
from aiohttp.test_utils import make_mocked_request

from gateway.http import monitoring as health
from gateway.http.monitoring import Health, metrics_handler
from gateway.telemetry.metrics import Metrics
from rest.accounts.auth import Principal
from store.errors import DatabaseUnavailable


async def fine() -> str | None:
    return None


async def warming() -> str | None:
    return "The models are still being loaded."


async def away() -> str | None:
    raise DatabaseUnavailable("no connection to Postgres")


async def hangs() -> str | None:
    await asyncio.Event().wait()
    return None


async def test_ready_is_200_only_when_every_check_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_CHECK_SECONDS", 0.05)
    request = make_mocked_request("GET", "/readyz")
    assert (await Health({"a": fine}).ready(request)).status == 200
    checks = {"a": fine, "engines": warming, "database": away, "bus": hangs}
    answer = await Health(checks).ready(request)
    assert answer.status == 503
    body = json.loads(answer.body)
    assert body["reasons"].keys() == {"engines", "database", "bus"}
    assert "The models are still being loaded." in body["detail"]
    assert (await Health(checks).live(request)).status == 200


async def test_checks_are_not_run_more_often_than_needed() -> None:
    asked, now = [], [0.0]

    async def counted() -> str | None:
        asked.append(now[0])
        return None

    kept = Health({"a": counted}, lambda: now[0])
    for now[0] in (0.0, 0.1, 0.2, 1.0):
        await kept.reasons()
    assert asked == [0.0, 1.0]


async def test_this_machine_reads_the_metrics_without_a_key() -> None:
    async def nobody(_request: object) -> Principal:
        raise AssertionError("loopback needs no key")

    class Loopback:
        def get_extra_info(self, name: str, default: object = None) -> object:
            return ("127.0.0.1", 1) if name == "peername" else default

    metrics = Metrics()
    metrics.empty_answer("failed")
    request = make_mocked_request(
        "GET", "/metrics", headers={"Host": "localhost"}, transport=Loopback()
    )
    response = await metrics_handler(metrics, nobody)(request)
    assert isinstance(response.body, bytes)
    assert b'blab_empty_answers_total{outcome="failed"} 1.0' in response.body
