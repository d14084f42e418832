"""The stages of a turn's waiting time add up."""

from hypothesis import given
from hypothesis import strategies as st

from sessions.core.call import Moments

MOMENTS = st.none() | st.floats(0, 1e6)


def test_stages() -> None:
    moments = Moments(1.0, 1.4, 1.5, 1.75, 1.8, 1.805)
    latency = moments.latency(3, "r")
    assert latency is not None
    stages = (latency.endpointing_ms, latency.stt_ms, latency.llm_ms, latency.tts_ms)
    assert stages == (400, 100, 250, 50)
    assert (latency.gateway_ms, latency.total_ms) == (5, 805)


def test_work_hidden_behind_an_earlier_stage_costs_nothing() -> None:
    latency = Moments(1.0, 1.4, 1.2, 1.3, 1.35, 1.41).latency(1, "r")
    assert latency is not None
    assert (latency.endpointing_ms, latency.gateway_ms, latency.total_ms) == (400, 10, 410)
    assert latency.stt_ms == latency.llm_ms == latency.tts_ms == 0


def test_without_speech_or_sound_there_is_none() -> None:
    assert Moments(sent=1.0).latency(1, "r") is None
    assert Moments(speech_end=1.0).latency(1, "r") is None


def test_another_reply_starts_its_own_stages() -> None:
    moments = Moments(1.0, 1.4, 1.5, 1.6, 1.7, 1.8)
    moments.restart()
    assert moments == Moments(1.0, 1.4, 1.5)


@given(st.floats(0, 1e6), MOMENTS, MOMENTS, MOMENTS, MOMENTS, st.floats(0, 1e6))
def test_they_always_add_up(
    start: float, a: float | None, b: float | None, c: float | None, d: float | None, sent: float
) -> None:
    latency = Moments(start, a, b, c, d, sent).latency(1, "r")
    assert latency is not None
    stages = [latency.endpointing_ms, latency.stt_ms, latency.llm_ms, latency.tts_ms]
    stages.append(latency.gateway_ms)
    assert min(stages) >= 0
    assert sum(stages) == latency.total_ms
    end = max(moment for moment in (start, a, b, c, d, sent) if moment is not None)
    assert abs(latency.total_ms - (end - start) * 1000) <= 1.01
