"""What is counted and read is served, of one process or of several that share a directory."""

import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.telemetry import metrics as module
from gateway.telemetry.metrics import Metrics
from pipelines.engines.base import HearingLoad
from pipelines.engines.executor import EngineExecutor
from sessions.admission import Admission
from sessions.core.checkpoint import Checkpoint
from sessions.core.commands import Publish
from sessions.core.config import SessionConfig
from sessions.core.events import (
    CallResumed,
    FinalTranscript,
    ReplyFailed,
    ReplyGenerated,
    TranscriptionWaits,
)
from sessions.core.notices import Latency
from sessions.host import CallRequest
from store.errors import DatabaseUnavailable
from store.tenants.jobs import Backlog
from tests.support.paths import ROOT

REQUEST = CallRequest("call_1", "ws_1", None, SessionConfig())


async def lines(metrics: Metrics) -> list[str]:
    return (await metrics.render()).decode().splitlines()


async def test_a_call_is_measured_from_its_first_step_to_its_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    metrics = Metrics()
    call = metrics.observer(REQUEST, "webrtc")
    speculative = Latency(
        2, "resp_2", 0, 0, 0, 0, 0, 0, head_start_ms=90, discarded_replies=2, discarded_tokens=80
    )
    latency = Latency(1, "resp_1", 310, 0, 120, 30, 4, 464, 80)
    for event in (
        TranscriptionWaits(1, 5),
        TranscriptionWaits(2, 3),
        FinalTranscript(1, "hello", 0, waited=1.25),
        FinalTranscript(2, "hello", 0),
        ReplyGenerated(1, prompt_tokens=100, cached_tokens=91, empty=1),
        ReplyFailed(2, "empty_answer", "", empty=1),
    ):
        call.stepped(event, 0.0, [])
    call.stepped(ReplyGenerated(3), 0.0, [Publish(latency), Publish(speculative)])
    call.ended("peer_gone")
    metrics.observer(REQUEST, "websocket").ended("a client's own words")
    served = await lines(metrics)
    assert 'blab_empty_answers_total{outcome="retried"} 1.0' in served
    assert 'blab_empty_answers_total{outcome="failed"} 1.0' in served
    assert 'blab_prompt_tokens_total{cached="yes"} 91.0' in served
    assert 'blab_prompt_tokens_total{cached="no"} 9.0' in served
    assert "blab_utterances_waited_total 2.0" in served
    assert "blab_utterance_wait_seconds_sum 1.25" in served
    stage = 'blab_turn_stage_seconds_sum{channel="webrtc",stage='
    assert f'{stage}"first_token"}} 0.08' in served
    assert f'{stage}"first_clause"}} 0.04' in served
    assert f'{stage}"total"}} 0.464' in served
    assert not any('stage="heard"' in line for line in served)
    assert 'blab_speculative_replies_total{outcome="kept"} 1.0' in served
    assert 'blab_speculative_replies_total{outcome="discarded"} 2.0' in served
    assert "blab_discarded_tokens_total 80.0" in served
    assert 'blab_calls_total{channel="webrtc",reason="peer_gone"} 1.0' in served
    assert 'blab_calls_total{channel="websocket",reason="other"} 1.0' in served
    assert 'blab_call_seconds_count{channel="webrtc"} 1.0' in served
    warned = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert warned == ["call call_1 waits for speech recognition, 5 ahead of it"]


async def test_a_call_that_goes_on_is_counted_as_resumed() -> None:
    metrics = Metrics()
    call = metrics.observer(REQUEST, "websocket")
    call.stepped(CallResumed(Checkpoint("call_1", SessionConfig())), 0.0, [])
    call.ended("moved")
    served = await lines(metrics)
    assert "blab_calls_resumed_total 1.0" in served
    assert 'blab_calls_total{channel="websocket",reason="moved"} 1.0' in served


async def test_queues_and_this_process_are_read_when_somebody_looks() -> None:
    class Writer:
        waiting, dropped = 3, 2

    metrics, fanout, journal = Metrics(), Writer(), Writer()
    metrics.watch_engines(lambda: {"whisper-base": HearingLoad(running=2, waiting=3, places=2)})
    metrics.watch_calls(lambda: 7, Admission(9))
    metrics.watch_writers(fanout, journal)
    metrics.loop_lagged(0.003)
    metrics.call_refused("memory")
    metrics.call_resumed()
    await metrics.render()
    journal.dropped = 5
    served = await lines(metrics)
    assert 'blab_utterances_transcribed{engine="whisper-base"} 2.0' in served
    assert 'blab_utterances_waiting{engine="whisper-base"} 3.0' in served
    assert "blab_calls_active 7.0" in served
    assert "blab_calls_capacity 9.0" in served
    assert 'blab_writes_waiting{writer="fanout"} 3.0' in served
    assert 'blab_writes_dropped_total{writer="fanout"} 2.0' in served
    assert 'blab_writes_dropped_total{writer="journal"} 5.0' in served
    assert 'blab_event_loop_lag_seconds_bucket{le="0.0025"} 0.0' in served
    assert 'blab_event_loop_lag_seconds_bucket{le="0.005"} 1.0' in served
    assert 'blab_calls_refused_total{reason="memory"} 1.0' in served
    assert 'blab_calls_refused_total{reason="event_loop"} 0.0' in served
    assert "blab_calls_resumed_total 1.0" in served
    figures = dict(line.split() for line in served if line.startswith("blab_process_"))
    assert float(figures["blab_process_resident_bytes"]) > 10_000_000
    assert float(figures["blab_process_open_files"]) >= 3
    assert float(figures["blab_process_threads"]) >= 1
    assert float(figures["blab_process_tasks"]) >= 1


async def test_the_times_of_engines_are_taken_once() -> None:
    metrics = Metrics()
    metrics.watch_engines(dict)
    executor = EngineExecutor("test-metrics", 1, 2, role="speech")
    await executor.run(lambda: None, deadline=5)
    await executor.close()
    unwatched = EngineExecutor("test-metrics-loader", 1, 2)
    await unwatched.run(lambda: None, deadline=5)
    other = EngineExecutor("test-metrics", 1, 2, role="speech")
    for _ in range(2):
        await other.run(lambda: None, deadline=5)
    await lines(metrics)
    served = await lines(metrics)
    for part in ("queue", "service"):
        labels = f'engine="test-metrics",part="{part}",role="speech"'
        assert f"blab_engine_seconds_count{{{labels}}} 2.0" in served
    assert 'blab_engine_running{engine="test-metrics",role="speech"} 0.0' in served
    assert 'blab_engine_waiting{engine="test-metrics",role="speech"} 0.0' in served
    assert not any("loader" in line for line in served)
    await other.close()
    await unwatched.close()


async def test_jobs_are_counted_and_a_database_that_is_away_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "BACKLOG_SECONDS", 0.0)
    answers: list[Sequence[Backlog] | Exception] = [
        [Backlog("tts", 3, 1, 12.5), Backlog("stt", 1)],
        DatabaseUnavailable("no connection"),
        [Backlog("stt", 2, 0, 4.0)],
    ]
    given = asyncio.Event()

    async def backlog() -> Sequence[Backlog]:
        if not answers:
            given.set()
            await asyncio.Event().wait()
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    metrics = Metrics()
    metrics.watch_backlog(backlog)
    running = metrics.context(None)
    await anext(running)
    await asyncio.wait_for(given.wait(), 5)
    served = await lines(metrics)
    assert [line async for line in running] == []
    assert 'blab_jobs{status="queued",type="tts"} 0.0' in served
    assert 'blab_jobs{status="queued",type="stt"} 2.0' in served
    assert 'blab_job_wait_seconds{type="stt"} 4.0' in served


PROCESS = """
import asyncio, sys
from pathlib import Path
from gateway.telemetry.metrics import Metrics
from sessions.admission import Admission

async def main():
    metrics = Metrics(Path(sys.argv[1]))
    metrics.watch_calls(lambda: 4, Admission(10))
    metrics.call_refused("memory")
    metrics.refresh()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    print((await metrics.render()).decode(), flush=True)

asyncio.run(main())
"""


@pytest.mark.slow
def test_processes_that_share_a_directory_answer_for_each_other(tmp_path: Path) -> None:
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    command = [sys.executable, "-c", PROCESS, str(tmp_path)]
    running = [
        subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    answers = [process.communicate("\n", timeout=60)[0] for process in running]
    served = answers[0].splitlines()
    assert "blab_calls_active 8.0" in served
    assert 'blab_calls_refused_total{reason="memory"} 2.0' in served
    pids = {str(process.pid) for process in running}
    found = [line for line in served if line.startswith("blab_process_tasks{")]
    assert {line.split('"')[1] for line in found} == pids
    for process in running:
        module.forget_process(process.pid, tmp_path)
    assert not list(tmp_path.glob("gauge_live*"))
