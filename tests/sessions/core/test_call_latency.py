"""The stages of a turn's waiting time add up."""

from hypothesis import given
from hypothesis import strategies as st

from sessions.core.call import Moments

MOMENTS = st.none() | st.floats(0, 1e6)


def test_stages() -> None:
    moments = Moments(1.0, 1.4, 1.5, 1.7, 1.75, 1.8, 1.805, 1.905)
    latency = moments.latency(3, "r")
    assert latency is not None
    stages = (latency.endpointing_ms, latency.stt_ms, latency.llm_ms, latency.tts_ms)
    assert stages == (400, 100, 250, 50)
    assert (latency.gateway_ms, latency.total_ms) == (5, 805)
    assert (latency.first_token_ms, latency.heard_ms) == (200, 100)


def test_work_hidden_behind_an_earlier_stage_costs_nothing() -> None:
    latency = Moments(1.0, 1.4, 1.2, 1.25, 1.3, 1.35, 1.41).latency(1, "r")
    assert latency is not None
    assert (latency.endpointing_ms, latency.gateway_ms, latency.total_ms) == (400, 10, 410)
    assert latency.stt_ms == latency.llm_ms == latency.tts_ms == 0


def test_a_filler_ends_the_wait_for_the_first_token() -> None:
    latency = Moments(1.0, 1.2, 1.2, token=3.0, clause=2.0, audio=2.1, sent=2.1).latency(1, "r")
    assert latency is not None
    assert (latency.first_token_ms, latency.llm_ms) == (800, 800)


def test_what_was_heard_before_it_was_sent_took_no_time() -> None:
    latency = Moments(1.0, sent=1.5, heard=1.4).latency(1, "r")
    assert latency is not None
    assert latency.heard_ms == 0


def test_without_speech_or_sound_there_is_none() -> None:
    assert Moments(sent=1.0).latency(1, "r") is None
    assert Moments(speech_end=1.0).latency(1, "r") is None


def test_another_reply_starts_its_own_stages() -> None:
    moments = Moments(1.0, 1.4, 1.5, 1.55, 1.6, 1.7, 1.8, 1.9)
    moments.restart()
    assert moments == Moments(1.0, 1.4, 1.5)


@given(st.floats(0, 1e6), MOMENTS, MOMENTS, MOMENTS, MOMENTS, MOMENTS, st.floats(0, 1e6))
def test_they_always_add_up(
    start: float,
    turn_end: float | None,
    transcript: float | None,
    token: float | None,
    clause: float | None,
    audio: float | None,
    sent: float,
) -> None:
    moments = Moments(start, turn_end, transcript, token, clause, audio, sent)
    latency = moments.latency(1, "r")
    assert latency is not None
    stages = [latency.endpointing_ms, latency.stt_ms, latency.llm_ms, latency.tts_ms]
    stages.append(latency.gateway_ms)
    assert min(stages) >= 0
    assert 0 <= latency.first_token_ms <= latency.llm_ms
    assert sum(stages) == latency.total_ms
    if clause is not None:
        token = None
    reached = (start, turn_end, transcript, token, clause, audio, sent)
    end = max(moment for moment in reached if moment is not None)
    assert abs(latency.total_ms - (end - start) * 1000) <= 1.01


def test_what_was_begun_ahead_is_reported() -> None:
    moments = Moments(1.0, 1.4, 1.3, 1.35, 1.4, 1.5, 1.6, begun=1.25)
    moments.discard(40)
    moments.discard(50)
    latency = moments.latency(1, "r")
    assert latency is not None
    assert latency.head_start_ms == 150
    assert (latency.discarded_replies, latency.discarded_tokens) == (2, 90)
    moments.begun = 1.5
    latency = moments.latency(1, "r")
    assert latency is not None
    assert latency.head_start_ms == 0
