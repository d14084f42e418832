"""The ear: positions, transcripts, scores, and how much it keeps."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest

from media.formats import HEARING_RATE
from media.vad import WINDOW_BYTES
from pipelines.engines.base import EngineBusy, EngineFailed, HearingLoad, ModelUnavailable
from pipelines.engines.scripted.live import Fault, ScriptedEngines, scripted_engines
from sessions.core.events import (
    Event,
    FinalTranscript,
    PartialTranscript,
    SilenceHeard,
    TranscriptionFailed,
    TranscriptionWaits,
    TurnScored,
    VoiceWindow,
)
from sessions.speech import listening
from sessions.speech.listening import Listening
from sessions.speech.playout import Playout
from tests.media.test_echo import AGENT, ECHO, pcm
from tests.support.sessions.fake_channel import FakeChannel
from tests.support.sessions.scripted_call import scripted_speech

SECOND = HEARING_RATE


class Ear:
    """A Listening, its events, and the tasks it began."""

    def __init__(self, engines: ScriptedEngines) -> None:
        self.engines = engines
        self.events: list[Event] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.told = asyncio.Event()
        self.awaited: int | None = None
        self.listening = Listening(engines, self._tell, self._spawn, awaited=lambda: self.awaited)

    def hear(self, seconds: float, *, speech: bool = True, rate: int = HEARING_RATE) -> None:
        samples = int(seconds * rate)
        pcm = scripted_speech(seconds, rate) if speech else bytes(2 * samples)
        self.listening.hear(pcm, rate)

    async def event(self, kind: type[Event], count: int = 1) -> Any:
        async with asyncio.timeout(5):
            while len(self.of(kind)) < count:
                self.told.clear()
                await self.told.wait()
        return self.of(kind)[count - 1]

    def of(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]

    async def settle(self) -> None:
        """Let every task go as far as it can."""
        for _ in range(20):
            await asyncio.sleep(0)

    def _tell(self, event: Event) -> None:
        self.events.append(event)
        self.told.set()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task


@pytest.fixture
async def ear() -> AsyncIterator[Ear]:
    made = Ear(scripted_engines(hears=("one two three four",)))
    yield made
    for task in made.tasks:
        task.cancel()
    await asyncio.gather(*made.tasks, return_exceptions=True)
    assert made.engines.ears.opened == 0


async def test_every_window_is_judged_once_for_any_frame_size(ear: Ear) -> None:
    for _ in range(50):
        ear.hear(0.02)
    windows = [event for event in ear.events if isinstance(event, VoiceWindow)]
    assert [event.position for event in windows] == [
        (n + 1) * 512 for n in range(SECOND * 2 // WINDOW_BYTES)
    ]
    assert ear.listening.position == SECOND
    assert {event.voice for event in windows} == {1.0}
    assert {event.level or 0.0 for event in windows} <= {-15.2, -15.1, -15.0, -14.9}
    ear.hear(0.1, speech=False)
    assert [event.level for event in ear.events if isinstance(event, VoiceWindow)][-1] == -100.0


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000])
async def test_silence_is_reported_where_it_is_awaited_within_a_window(ear: Ear, rate: int) -> None:
    for _ in range(50):
        ear.hear(0.02, speech=False, rate=rate)
    ear.awaited = SECOND + 100
    assert not ear.of(SilenceHeard), "the audio up to there is missing"
    ear.hear(0.02, speech=False, rate=rate)
    assert ear.events[-1] == SilenceHeard(SECOND + 320)
    ear.awaited = SECOND + 400
    ear.hear(0.01, speech=False, rate=rate)
    assert ear.events[-1] == VoiceWindow(SECOND + 384, 0.0, -100.0, 0.0)
    assert len(ear.of(SilenceHeard)) == 1, "the gate has heard no whole frame up to there"
    ear.hear(0.01, speech=False, rate=rate)
    assert ear.events[-1] == SilenceHeard(SECOND + 640)
    ear.awaited = SECOND + 900
    ear.hear(0.02, speech=False, rate=rate)
    windows, silence = ear.of(VoiceWindow), ear.of(SilenceHeard)
    assert windows[-1] == VoiceWindow(SECOND + 896, 0.0, -100.0, 0.0)
    assert silence[2:] == [SilenceHeard(SECOND + 960)], "behind the window, in the same frame"
    ear.awaited = None
    ear.hear(0.06, speech=False, rate=rate)
    assert len(ear.of(SilenceHeard)) == 3


async def test_speech_within_a_window_is_no_silence(ear: Ear) -> None:
    for _ in range(50):
        ear.hear(0.02, speech=False)
    ear.awaited = SECOND + 400
    ear.hear(0.02)
    ear.hear(0.02)
    ear.hear(0.02)
    assert ear.listening.position > SECOND + 900
    assert not ear.of(SilenceHeard)


async def test_positions_count_at_the_hearing_rate_across_a_change_of_rate(ear: Ear) -> None:
    ear.hear(0.5, rate=48_000)
    ear.hear(0.5, rate=8_000)
    assert ear.listening.position == pytest.approx(SECOND, abs=4)


async def test_a_turn_is_transcribed_from_its_beginning(ear: Ear) -> None:
    ear.hear(1, speech=False)
    ear.listening.start(1, SECOND // 2)
    await ear.settle()
    ear.hear(1)
    partial = await ear.event(PartialTranscript, 2)
    assert (partial.turn, partial.text) == (1, "one two three four")
    ear.listening.finish(1, 2 * SECOND)
    assert await ear.event(FinalTranscript) == FinalTranscript(1, "one two three four", 2 * SECOND)
    ear.listening.score(1, 2 * SECOND)
    assert await ear.event(TurnScored) == TurnScored(1, 2 * SECOND, 1.0)
    assert ear.engines.turn_detector.heard == [SECOND + SECOND // 2]
    ear.listening.drop(1)
    await ear.settle()
    assert not ear.tasks


async def test_partials_grow_with_the_audio(ear: Ear) -> None:
    ear.listening.start(1, 0)
    for count, text in enumerate(("one", "one two", "one two three"), 1):
        await ear.settle()
        ear.hear(0.25)
        assert (await ear.event(PartialTranscript, count)).text == text
    ear.listening.drop(1)


async def test_a_new_request_replaces_the_previous_one(ear: Ear) -> None:
    ear.engines.ears.final_delay = 0.01
    ear.listening.start(1, 0)
    ear.hear(1)
    ear.listening.finish(1, SECOND // 2)
    ear.listening.finish(1, SECOND)
    assert (await ear.event(FinalTranscript)).position == SECOND
    await ear.settle()
    assert len(ear.of(FinalTranscript)) == 1
    ear.listening.drop(1)


async def test_a_dropped_turn_is_not_transcribed(ear: Ear) -> None:
    ear.listening.start(1, 0)
    ear.listening.drop(1)
    ear.listening.drop(1)
    ear.listening.finish(1, 0)
    ear.listening.score(1, 0)
    await ear.settle()
    assert not ear.tasks
    assert not ear.of(FinalTranscript)


async def test_a_failed_transcription_is_an_event(ear: Ear) -> None:
    error = EngineFailed("deaf")
    ear.engines.ears.fault = Fault(error)
    ear.listening.start(1, 0)
    ear.hear(1)
    ear.listening.finish(1, SECOND)
    failed = await ear.event(TranscriptionFailed)
    assert (failed.turn, failed.code, failed.message) == (1, "PROVIDER_ERROR", str(error))
    ear.listening.drop(1)


async def test_a_busy_recogniser_is_tried_again_and_the_wait_is_reported_once(ear: Ear) -> None:
    ear.engines.ears.fault = Fault(EngineBusy("crowded"), times=2)
    ear.engines.ears.load_now = HearingLoad(running=2, waiting=3, places=2)
    ear.listening.start(1, 0)
    ear.hear(1)
    ear.listening.finish(1, SECOND)
    final = await ear.event(FinalTranscript)
    assert final.waited > 0
    assert ear.of(TranscriptionWaits) == [TranscriptionWaits(1, 5)]
    assert not ear.of(TranscriptionFailed)
    ear.listening.drop(1)


async def test_a_recogniser_that_stays_busy_fails_in_the_end(
    ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "_BUSY_SECONDS", 0.0)
    ear.engines.ears.fault = Fault(EngineBusy("crowded"), times=9)
    ear.listening.start(1, 0)
    ear.hear(1)
    ear.listening.finish(1, SECOND)
    assert (await ear.event(TranscriptionFailed)).message == "crowded"
    ear.listening.drop(1)


async def test_partial_transcripts_wait_for_a_place(ear: Ear) -> None:
    ear.engines.ears.places = 0
    ear.listening.start(1, 0)
    ear.hear(1)
    assert (await ear.event(TranscriptionWaits)).turn == 1
    ear.engines.ears.places = 1
    assert (await ear.event(PartialTranscript)).position == SECOND
    ear.listening.drop(1)


async def test_an_early_text_of_a_crowded_recogniser_has_not_waited(ear: Ear) -> None:
    ear.engines.ears.load_now = HearingLoad(running=2, places=2)
    ear.listening.start(1, 0)
    ear.hear(1)
    ear.listening.finish(1, SECOND)
    assert (await ear.event(FinalTranscript)).waited == 0.0
    assert not ear.of(TranscriptionWaits)
    ear.listening.drop(1)


async def test_a_missing_model_is_an_event_too(ear: Ear) -> None:
    ear.engines.absent = frozenset({"default"})
    ear.listening.start(1, 0)
    ear.hear(1)
    ear.listening.finish(1, SECOND)
    assert (await ear.event(TranscriptionFailed)).code == ModelUnavailable.code
    assert not ear.of(PartialTranscript)
    ear.listening.drop(1)


async def test_no_opinion_counts_as_undecided(ear: Ear) -> None:
    ear.engines.turn_detector.fault = Fault(EngineFailed("?"))
    ear.listening.start(1, 0)
    ear.hear(0.5)
    ear.listening.score(1, SECOND // 2)
    assert (await ear.event(TurnScored)).probability == 0.5
    ear.listening.drop(1)


def kept_seconds(ear: Ear) -> float:
    return len(ear.listening._audio) / 2 / SECOND


async def test_silence_is_forgotten(ear: Ear) -> None:
    for _ in range(60):
        ear.hear(1, speech=False)
        assert kept_seconds(ear) <= 3.1
    assert ear.listening.position == 60 * SECOND


async def test_a_turn_without_end_is_kept_for_90_seconds(ear: Ear) -> None:
    ear.listening.start(1, 0)
    for _ in range(150):
        ear.hear(1, speech=False)
        await ear.settle()
        assert kept_seconds(ear) <= 91.1
    assert kept_seconds(ear) >= 90
    ear.listening.score(1, ear.listening.position)
    await ear.event(TurnScored)
    assert ear.engines.turn_detector.heard[0] <= 91.1 * SECOND
    ear.listening.drop(1)
    ear.hear(1, speech=False)
    assert kept_seconds(ear) <= 3.1


async def test_a_slow_recogniser_gets_all_the_audio_it_missed(ear: Ear) -> None:
    go = asyncio.Event()
    heard: list[int] = []

    async def slowly(_: float) -> None:
        heard.append(ear.listening.position)
        await go.wait()

    ear.engines.ears.delay = slowly
    ear.listening.start(1, 0)
    await ear.settle()
    ear.hear(0.25)
    await ear.settle()
    for _ in range(3):
        ear.hear(0.25)
        await ear.settle()
    assert len(heard) == 1
    go.set()
    assert (await ear.event(PartialTranscript, 2)).text == "one two three four"
    ear.listening.drop(1)


async def test_audio_of_an_item_is_transcribed_at_its_own_rate(ear: Ear) -> None:
    clips = [ear.listening.keep(bytes(2 * 8_000), 8_000) for _ in range(5)]
    ear.listening.transcribe_clip(3, clips[-1])
    assert await ear.event(FinalTranscript) == FinalTranscript(3, "one two three four", 0)
    with pytest.raises(KeyError):
        ear.listening.transcribe_clip(4, clips[0])
    ear.listening.transcribe_clip(5, clips[1])
    ear.listening.drop(5)
    await ear.settle()
    assert len(ear.of(FinalTranscript)) == 1


async def test_the_echo_reference_survives_a_pause(ear: Ear) -> None:
    channel = FakeChannel(HEARING_RATE)
    playout = Playout(channel, ear.events.append, ear.listening.echo)
    playout.start(1, "resp", "item")
    playout.append(1, pcm(AGENT))
    playout.release(1)
    frame = HEARING_RATE // 50
    heard = bytearray(2 * 5 * frame)  # the echo comes 100 ms after the loudspeaker
    for step in range(300):
        now = step / 50
        if step == 150:
            playout.pause(1, now)
        if step == 165:
            playout.resume(1)
        playout.advance(now)
        before = len(channel.ear)
        channel.listen(frame)
        heard += channel.ear[before:].ljust(2 * frame, b"\0")
        ear.listening.hear(bytes(heard[2 * step * frame : 2 * (step + 1) * frame]), HEARING_RATE)
    echoes = [event.echo for event in ear.events if isinstance(event, VoiceWindow)]
    for stretch in (echoes[40:90], echoes[125:180]):
        assert sum(stretch) / len(stretch) >= ECHO
