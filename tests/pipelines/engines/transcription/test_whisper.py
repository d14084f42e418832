"""Recordings to text: converting the vendor's answers, and the real model on recorded speech."""

import asyncio
import json
import re
import threading
import wave
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace as Thing
from typing import Any

import numpy as np
import pytest

from media.formats import HEARING_RATE
from pipelines.engines.base import EngineFailed, ModelUnavailable
from pipelines.engines.jobs import Segment, Transcribed
from pipelines.engines.scripted.live import LoudnessModel
from pipelines.engines.transcription.whisper import WhisperTranscriber, only_what_is_heard
from tests.pipelines.engines.transcription.test_speech_windows import loud, quiet
from tests.support.paths import AUDIO


async def pieces(pcm: bytes) -> AsyncIterator[bytes]:
    for begin in range(0, len(pcm), 32_000):
        yield pcm[begin : begin + 32_000]


async def hear(
    ears: WhisperTranscriber, pcm: bytes, language: str | None = None
) -> list[Transcribed]:
    return [hearing async for hearing in ears.transcribe_file(pieces(pcm), language)]


class Vendor:
    """Answers each window with the same two segments."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def transcribe(self, samples: Any, **options: Any) -> tuple[list[Any], Any]:
        self.asked.append(options)
        assert samples.dtype == np.float32
        assert abs(samples).max() <= 1
        if options["language"] == "xx":
            raise RuntimeError("secret")
        words = [Thing(word=" Good", start=0.2, end=0.5, probability=0.9)]
        words.append(Thing(word=" day.", start=0.5, end=0.9, probability=0.5))
        first = Thing(text=" Good day.", start=0.0, end=1.0, words=words)
        second = Thing(text=" Bye.", start=1.2, end=1.6, words=None)
        return [first, second], Thing(language="en", language_probability=0.8)


async def test_segments_are_placed_in_the_recording() -> None:
    vendor = Vendor()
    ears = WhisperTranscriber(vendor, LoudnessModel())
    hearings = await hear(ears, quiet(5) + loud(2) + quiet(5) + loud(2))
    found = [hearing.segment for hearing in hearings if hearing.segment]
    assert [segment.text for segment in found] == ["Good day.", "Bye."] * 2
    assert found[0].words[0].start == pytest.approx(5 * HEARING_RATE, abs=200)  # where it is loud
    assert [word.confidence for word in found[0].words] == [0.9, 0.5]
    assert found[1].start == 6 * HEARING_RATE  # 1.2 s into the window
    assert [one["language"] for one in vendor.asked] == [None, "en"]
    assert hearings[-1].done == 14 * HEARING_RATE
    await ears.close()


async def test_languages_are_checked_before_anything_is_heard() -> None:
    vendor = Vendor()
    ears = WhisperTranscriber(vendor, LoudnessModel())
    with pytest.raises(ModelUnavailable, match="'tlh'"):
        await hear(ears, loud(1), "tlh")
    await hear(ears, loud(1), "pt-BR")
    assert [one["language"] for one in vendor.asked] == ["pt"]
    await ears.close()


async def test_speech_can_be_translated_into_english() -> None:
    vendor = Vendor()
    ears = WhisperTranscriber(vendor, LoudnessModel())
    assert ears.translates
    assert [h async for h in ears.transcribe_file(pieces(loud(1)), "pt", english=True)]
    assert [(one["task"], one["language"]) for one in vendor.asked] == [("translate", "pt")]
    await ears.close()


async def test_the_vendors_failures_hide_its_words() -> None:
    class Broken(Vendor):
        def transcribe(self, samples: Any, **options: Any) -> tuple[list[Any], Any]:
            raise RuntimeError("secret")

    ears = WhisperTranscriber(Broken(), LoudnessModel())
    with pytest.raises(EngineFailed) as caught:
        await hear(ears, loud(1))
    assert "secret" not in str(caught.value)
    await ears.close()


class Parrot(Vendor):
    """Says one text without the guard against repetition, and others with it."""

    def __init__(self, text: str, *guarded: str) -> None:
        super().__init__()
        self.text, self.guarded = text, guarded

    def transcribe(self, samples: Any, **options: Any) -> tuple[Any, Any]:
        self.asked.append(options)
        texts = self.guarded if "no_repeat_ngram_size" in options else (self.text,)
        found = [Thing(text=f" {text}", start=0.0, end=0.1, words=None) for text in texts]
        return iter(found), Thing(language="pt", language_probability=0.9)


async def texts_of(vendor: Vendor, pcm: bytes) -> list[str]:
    ears = WhisperTranscriber(vendor, LoudnessModel())
    hearings = await hear(ears, pcm)
    await ears.close()
    return [hearing.segment.text for hearing in hearings if hearing.segment]


@pytest.mark.parametrize("loop", ["Nome. " * 60, "against " * 9, "x" * 80])
async def test_a_loop_is_heard_again_under_a_guard(loop: str) -> None:
    vendor = Parrot(loop, "Bom", "dia.")
    assert await texts_of(vendor, loud(1)) == ["Bom", "dia."]
    assert [(one["language"], one.get("no_repeat_ngram_size")) for one in vendor.asked] == [
        (None, None), ("pt", 4),
    ]  # fmt: skip


async def test_the_shorter_of_two_loops_is_taken() -> None:
    assert await texts_of(Parrot("na " * 90, "na " * 80), loud(1)) == [("na " * 80).strip()]


async def test_repeated_speech_is_not_a_loop() -> None:
    vendor = Parrot("No, no, no, no, no, no, no, no.")
    assert await texts_of(vendor, loud(3)) == [vendor.text]
    assert len(vendor.asked) == 1


async def test_the_length_of_a_text_is_bounded_by_that_of_its_window() -> None:
    vendor = Vendor()
    await texts_of(vendor, loud(2) + quiet(5) + loud(40))
    short, *_, long = sorted(one["max_new_tokens"] for one in vendor.asked)
    assert 80 < short < 100
    assert long == 440


async def test_trailing_silence_is_not_transcribed() -> None:
    class Endless(Vendor):
        def transcribe(self, samples: Any, **options: Any) -> tuple[Any, Any]:
            seconds = len(samples) / HEARING_RATE

            def segments() -> Any:
                yield Thing(text=" Bye.", start=0.2, end=seconds - 0.5, words=None)
                yield Thing(text=" Thank you.", start=seconds - 0.5, end=seconds, words=None)

            return segments(), Thing(language="en", language_probability=0.8)

    assert await texts_of(Endless(), loud(2)) == ["Bye."]


async def test_broken_characters_are_dropped() -> None:
    class Cut(Vendor):
        def transcribe(self, samples: Any, **options: Any) -> tuple[list[Any], Any]:
            words = [Thing(word=" नमस्\ufffd", start=0.2, end=0.5, probability=0.9)]
            words.append(Thing(word=" \ufffd", start=0.5, end=0.9, probability=0.5))
            found = [Thing(text=" नमस्\ufffd \ufffd", start=0.0, end=1.0, words=words)]
            return found, Thing(language="hi", language_probability=0.8)

    ears = WhisperTranscriber(Cut(), LoudnessModel())
    (segment,) = [hearing.segment for hearing in await hear(ears, loud(1)) if hearing.segment]
    assert segment.text == "नमस्"
    assert [(word.text, word.confidence) for word in segment.words] == [("नमस्", 0.9)]
    await ears.close()


@pytest.mark.parametrize(("heard", "encoded"), [(1, 302), (100, 400), (2900, 3000), (0, 300)])
def test_only_what_is_heard_is_encoded(heard: int, encoded: int) -> None:
    features = np.zeros((80, 3000), np.float32)
    features[:, :heard] = -0.5
    frames = only_what_is_heard(lambda given: given)(features)
    assert frames.shape == (80, encoded)


async def test_a_reader_that_stops_returns_at_once() -> None:
    begun, over = threading.Event(), threading.Event()

    class Slow(Vendor):
        def transcribe(self, samples: Any, **options: Any) -> tuple[list[Any], Any]:
            begun.set()
            over.wait(10)
            return super().transcribe(samples, **options)

    ears = WhisperTranscriber(Slow(), LoudnessModel())
    listening = asyncio.create_task(hear(ears, loud(1)))
    assert await asyncio.to_thread(begun.wait, 5)
    listening.cancel()
    async with asyncio.timeout(1):
        await asyncio.wait((listening,))
    assert listening.cancelled()
    over.set()
    assert [h.segment for h in await hear(ears, loud(1)) if h.segment]
    await ears.close()


@pytest.mark.engines
async def test_real_speech_is_heard_with_its_times(models_dir: Path) -> None:
    ears = await WhisperTranscriber.load(
        models_dir / "whisper-base", models_dir / "silero-vad" / "silero_vad.onnx"
    )
    try:
        names = ("lv_0880", "joe_q_capital", "joe_stop")
        recordings = [_recording(f"{name}.wav") for name in names]
        gap = quiet(2)
        pcm = gap.join(audio for audio, _ in recordings)
        hearings = await hear(ears, gap + pcm)
        segments = [hearing.segment for hearing in hearings if hearing.segment]
        assert {hearing.language for hearing in hearings if hearing.segment} == {"en"}
        expected = [word for _, text in recordings for word in _words(text)]
        heard = [word for segment in segments for word in _words(segment.text)]
        assert _errors(expected, heard) <= 1
        _check_times(segments, [len(audio) // 2 for audio, _ in recordings], len(gap) // 2)
    finally:
        await ears.close()


def _recording(name: str) -> tuple[bytes, str]:
    texts = {one["file"]: one["text"] for one in json.loads((AUDIO / "manifest.json").read_text())}
    with wave.open(str(AUDIO / name)) as audio:
        return audio.readframes(audio.getnframes()), texts[name]


def _check_times(segments: list[Segment], lengths: list[int], gap: int) -> None:
    """Every word lies in one of the recordings, in order."""
    spans, place = [], gap
    for length in lengths:
        spans.append((place, place + length))
        place += length + gap
    slack, before = HEARING_RATE // 4, 0
    for segment in segments:
        assert segment.start == segment.words[0].start
        assert segment.end == segment.words[-1].end
        for word in segment.words:
            assert before <= word.start <= word.end
            before = word.end
            assert any(a - slack <= word.start and word.end <= b + slack for a, b in spans)


def _words(text: str) -> list[str]:
    return re.sub(r"[^a-z' ]", " ", text.lower()).split()


def _errors(expected: list[str], heard: list[str]) -> int:
    row = list(range(len(heard) + 1))
    for n, word in enumerate(expected, 1):
        above, row[0] = row[0], n
        for m, other in enumerate(heard, 1):
            above, row[m] = row[m], min(row[m] + 1, row[m - 1] + 1, above + (word != other))
    return row[-1]
