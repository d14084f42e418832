"""The network hears many calls at once, and each call what it would hear alone."""

import asyncio

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


async def test_few_calls_are_judged_at_once() -> None:
    voices, model = VoiceActivity(), CountingModel()
    for detector, windows in calls(voices, model, FEW):
        assert voices.judge(detector, windows) is None
        assert [window.voice for window in windows] == [1.0, 1.0]


def test_many_calls_wait_for_each_other_and_are_judged_together() -> None:
    async def judged() -> None:
        voices, model, loop = VoiceActivity(), CountingModel(), asyncio.get_running_loop()
        made = calls(voices, model, MANY)
        began = loop.time()
        waiting = [judged for one in made if (judged := voices.judge(*one)) is not None]
        await asyncio.gather(*waiting)
        assert loop.time() - began == pytest.approx(WAIT_SECONDS)
        assert model.runs == [MANY, MANY]
        assert all(window.voice == 1.0 for _, windows in made for window in windows)

    run(judged())


async def test_silence_waits_for_nobody() -> None:
    voices, model = VoiceActivity(), CountingModel()
    detectors = [voices.detector(model) for _ in range(MANY)]
    for detector in detectors:
        assert voices.judge(detector, detector.cut(bytes(4_096))) is None
    assert model.runs == []


async def test_a_call_that_ends_meanwhile_keeps_nobody_waiting() -> None:
    voices, model = VoiceActivity(), CountingModel()
    made = calls(voices, model, MANY)
    first, second, *_ = [judged for one in made if (judged := voices.judge(*one)) is not None]
    first.cancel()
    await asyncio.wait_for(second, 5)
    assert made[1][1][0].voice == 1.0


async def test_a_network_that_fails_fails_every_call_that_waits() -> None:
    voices, model = VoiceActivity(), CountingModel()
    made = calls(voices, model, MANY)
    model.fails = True
    waiting = [judged for one in made if (judged := voices.judge(*one)) is not None]
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert [str(error) for error in found] == ["the network fails"] * MANY
