"""Readiness gives its reasons, is not checked too often, and counts a hanging check as a reason."""

import asyncio
import json

import pytest
from aiohttp.test_utils import make_mocked_request
from prometheus_client import generate_latest

from gateway.http import monitoring as health
from gateway.http.monitoring import Health, Metrics
from pipelines.engines.base import HearingLoad
from rest.accounts.auth import Principal
from sessions.core.notices import Latency
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


async def test_empty_answers_and_the_stages_of_turns_are_counted() -> None:
    async def nobody(_request: object) -> Principal:
        raise AssertionError("loopback needs no key")

    class Loopback:
        def get_extra_info(self, name: str, default: object = None) -> object:
            return ("127.0.0.1", 1) if name == "peername" else default

    metrics = Metrics()
    for outcome in ("retried", "retried", "failed"):
        metrics.empty_answer(outcome)
    metrics.prompt_read(100, 91)
    for seconds in (None, None, 1.25):
        metrics.utterance_waits(seconds)
    metrics.turn_answered("webrtc", Latency(1, "resp_1", 310, 0, 120, 30, 4, 464, 80))
    speculative = Latency(
        2, "resp_2", 0, 0, 0, 0, 0, 0, head_start_ms=90, discarded_replies=2, discarded_tokens=80
    )
    metrics.turn_answered("webrtc", speculative)
    request = make_mocked_request(
        "GET", "/metrics", headers={"Host": "localhost"}, transport=Loopback()
    )
    response = await metrics.handler(nobody)(request)
    assert isinstance(response.body, bytes)
    lines = response.body.decode().splitlines()
    assert 'blab_empty_answers_total{outcome="retried"} 2.0' in lines
    assert 'blab_empty_answers_total{outcome="failed"} 1.0' in lines
    assert 'blab_prompt_tokens_total{cached="yes"} 91.0' in lines
    assert 'blab_prompt_tokens_total{cached="no"} 9.0' in lines
    assert "blab_utterances_waited_total 2.0" in lines
    assert "blab_utterance_wait_seconds_sum 1.25" in lines
    stage = 'blab_turn_stage_seconds_sum{channel="webrtc",stage='
    assert f'{stage}"first_token"}} 0.08' in lines
    assert f'{stage}"first_clause"}} 0.04' in lines
    assert f'{stage}"total"}} 0.464' in lines
    assert not any('stage="heard"' in line for line in lines)
    assert 'blab_speculative_replies_total{outcome="kept"} 1.0' in lines
    assert 'blab_speculative_replies_total{outcome="discarded"} 2.0' in lines
    assert "blab_discarded_tokens_total 80.0" in lines


async def test_metrics_show_who_waits_to_be_heard() -> None:
    metrics = Metrics()
    metrics.watch_hearing(lambda: {"whisper-base": HearingLoad(running=2, waiting=3, places=2)})
    text = generate_latest(metrics._registry).decode()
    assert 'blab_utterances_transcribed{engine="whisper-base"} 2.0' in text
    assert 'blab_utterances_waiting{engine="whisper-base"} 3.0' in text
