"""The network hears many calls at once, and each call what it would hear alone."""

import asyncio
from contextvars import ContextVar

import pytest

from media.vad import Floats, VoiceDetector, Window
from pipelines.engines.scripted.live import LoudnessModel
from sessions.speech.voice_activity import FEW, WAIT_SECONDS, VoiceActivity
from tests.support.sessions.scripted_call import scripted_speech
from tests.support.sessions.virtual_clock import run

MANY = FEW + 5
SPEECH = scripted_speech(0.064, 16_000)


class CountingModel(LoudnessModel):
    """Counts its runs, and fails on demand."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[int] = []
        self.fails = False

    def run_together(self, samples: Floats, states: Floats) -> tuple[list[float], Floats]:
        self.runs.append(len(samples))
        if self.fails:
            raise RuntimeError("the network fails")
        return super().run_together(samples, states)


def calls(
    voices: VoiceActivity, model: LoudnessModel, count: int
) -> list[tuple[VoiceDetector, list[Window]]]:
    detectors = [voices.detector(model) for _ in range(count)]
    return [(detector, detector.cut(SPEECH)) for detector in detectors]


class Result:
    """What becomes of windows that wait."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.done: asyncio.Future[tuple[Exception | None, str]] = self.loop.create_future()

    def judged(self, failure: Exception | None) -> None:
        self.done.set_result((failure, CALL.get()))


CALL = ContextVar("CALL", default="")


def wait_for(
    voices: VoiceActivity, made: list[tuple[VoiceDetector, list[Window]]]
) -> list[asyncio.Future[tuple[Exception | None, str]]]:
    """Have them judged, each in the context of its call."""
    results = [Result() for _ in made]
    for number, (result, (detector, windows)) in enumerate(zip(results, made, strict=True)):
        token = CALL.set(f"call {number}")
        assert not voices.judge(detector, windows, result.judged)
        CALL.reset(token)
    return [result.done for result in results]


def never(failure: Exception | None) -> None:
    raise AssertionError(f"called back: {failure}")


async def test_few_calls_are_judged_at_once() -> None:
    voices, model = VoiceActivity(), CountingModel()
    for detector, windows in calls(voices, model, FEW):
        assert voices.judge(detector, windows, never)
        assert [window.voice for window in windows] == [1.0, 1.0]


async def test_windows_that_decide_something_wait_for_nobody() -> None:
    voices, model = VoiceActivity(), CountingModel()
    [(detector, windows), *_] = calls(voices, model, MANY)
    assert voices.judge(detector, windows, never, at_once=True)
    assert [window.voice for window in windows] == [1.0, 1.0]


def test_many_calls_wait_for_each_other_and_are_judged_together() -> None:
    async def judged() -> None:
        voices, model, loop = VoiceActivity(), CountingModel(), asyncio.get_running_loop()
        made = calls(voices, model, MANY)
        began = loop.time()
        results = await asyncio.gather(*wait_for(voices, made))
        assert loop.time() - began == pytest.approx(WAIT_SECONDS)
        assert results == [(None, f"call {number}") for number in range(MANY)]
        assert model.runs == [MANY, MANY]
        assert all(window.voice == 1.0 for _, windows in made for window in windows)

    run(judged())


async def test_silence_waits_for_nobody() -> None:
    voices, model = VoiceActivity(), CountingModel()
    detectors = [voices.detector(model) for _ in range(MANY)]
    for detector in detectors:
        assert voices.judge(detector, detector.cut(bytes(4_096)), never)
    assert model.runs == []


async def test_a_network_that_fails_at_once_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    voices, model = VoiceActivity(), CountingModel()
    [(detector, windows)] = calls(voices, model, 1)
    monkeypatch.setattr(model, "run", failing)
    with pytest.raises(RuntimeError, match="the network fails"):
        voices.judge(detector, windows, never)


def failing(samples: Floats, state: Floats) -> tuple[float, Floats]:
    raise RuntimeError("the network fails")


async def test_a_network_that_fails_fails_every_call_that_waits() -> None:
    voices, model = VoiceActivity(), CountingModel()
    made = calls(voices, model, MANY)
    model.fails = True
    found = await asyncio.gather(*wait_for(voices, made))
    assert [str(error) for error, _ in found] == ["the network fails"] * MANY
