"""VoskTranscriber on recorded speech: partials, word times, the pool."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from media.formats import HEARING_RATE
from pipelines.engines.base import EngineBusy, EngineFailed, ModelUnavailable, Transcription
from pipelines.engines.transcription.vosk import VoskTranscriber

pytestmark = pytest.mark.engines

Audio = Callable[[str], bytes]
PIECE = 2 * HEARING_RATE // 10
"""Bytes of 100 ms."""


@pytest.fixture(scope="module")
def model_dir(models_dir: Path) -> Path:
    return models_dir / "vosk-small-en"


@pytest.fixture
async def engine(model_dir: Path) -> AsyncIterator[VoskTranscriber]:
    engine = VoskTranscriber(model_dir, recognizers=2)
    await engine.warm()
    yield engine
    await engine.close()


async def hear(engine: VoskTranscriber, pcm: bytes) -> tuple[Transcription, list[str]]:
    stream = await engine.open()
    partials = [
        await stream.accept(pcm[start : start + PIECE]) for start in range(0, len(pcm), PIECE)
    ]
    return await stream.finish(), partials


def words_of(text: str) -> list[str]:
    return re.sub(r"[^a-z ]", "", text.lower()).split()


async def test_reads_what_was_said(
    engine: VoskTranscriber, audio: Audio, manifest: list[dict[str, Any]]
) -> None:
    said = {entry["file"].removesuffix(".wav"): entry["text"] for entry in manifest}
    for name in ("joe_q_book", "joe_q_capital", "joe_stop", "joe_pause_flight"):
        heard, partials = await hear(engine, audio(name))
        assert heard.text == " ".join(words_of(said[name]))
        assert [word.text for word in heard.words] == heard.text.split()
        spoken = [partial for partial in partials if partial]
        assert len(spoken) > len(partials) // 3, "partials grow while the caller speaks"
        assert spoken[0].split()[0] == heard.text.split()[0]


async def test_word_times_count_from_the_beginning_of_each_utterance(
    engine: VoskTranscriber, audio: Audio
) -> None:
    pcm = audio("joe_q_capital")
    first, _ = await hear(engine, pcm)
    for _ in range(3):
        again, _ = await hear(engine, pcm)
        for word, other in zip(again.words, first.words, strict=True):
            assert abs(word.start - other.start) <= HEARING_RATE // 10
    ends = [word.end for word in first.words]
    assert ends == sorted(ends)
    assert 0.8 < ends[-1] / (len(pcm) // 2) <= 1.0


async def test_an_utterance_with_a_long_pause_stays_whole(
    engine: VoskTranscriber, audio: Audio
) -> None:
    pcm = audio("joe_yes") + bytes(2 * HEARING_RATE * 2) + audio("joe_q_capital")
    heard, partials = await hear(engine, pcm)
    assert heard.text == "yes what is the capital of france"
    assert heard.words[1].start > 2 * HEARING_RATE
    assert all(partial.startswith("ye") for partial in partials[15:]), "the first words are kept"


async def test_an_abandoned_utterance_does_not_leak_into_the_next(
    model_dir: Path, audio: Audio
) -> None:
    engine = VoskTranscriber(model_dir, recognizers=1)
    stream = await engine.open()
    await stream.accept(audio("joe_q_book")[: 20 * PIECE])
    stream.close()
    stream.close()
    heard, _ = await hear(engine, audio("joe_yes"))
    assert heard.text == "yes"
    with pytest.raises(RuntimeError, match="over"):
        await stream.accept(bytes(PIECE))
    await engine.close()


async def test_busy_when_all_recognisers_are_taken(model_dir: Path) -> None:
    engine = VoskTranscriber(model_dir, recognizers=1)
    stream = await engine.open()
    with pytest.raises(EngineBusy):
        await engine.open()
    assert (await stream.finish()).text == ""
    (await engine.open()).close()
    await engine.close()


async def test_utterances_at_once_do_not_mix(engine: VoskTranscriber, audio: Audio) -> None:
    names = ("joe_q_capital", "joe_q_hours")
    alone = [(await hear(engine, audio(name)))[0].text for name in names]
    together = await asyncio.gather(*(hear(engine, audio(name)) for name in names))
    assert [heard.text for heard, _ in together] == alone


async def test_a_cancelled_accept_leaves_the_engine_usable(
    engine: VoskTranscriber, audio: Audio
) -> None:
    pcm = audio("lv_0870")
    for _ in range(4):
        stream = await engine.open()
        task = asyncio.create_task(stream.accept(pcm))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        stream.close()
    heard, _ = await hear(engine, audio("joe_yes"))
    assert heard.text == "yes"


async def test_a_recogniser_that_got_stuck_is_replaced(model_dir: Path, audio: Audio) -> None:
    engine = VoskTranscriber(model_dir, recognizers=1, deadline=0.05)
    await engine.warm()
    stream = await engine.open()
    with pytest.raises(EngineFailed):
        await stream.accept(audio("lv_0870") * 3)
    stream.close()
    fresh = await engine.open()
    assert await fresh.accept(bytes(64)) == ""
    await engine.close()


async def test_refuses_other_languages_and_half_samples(engine: VoskTranscriber) -> None:
    with pytest.raises(ModelUnavailable, match="'de'"):
        await engine.open("de")
    stream = await engine.open("en-GB")
    with pytest.raises(ValueError, match="16-bit"):
        await stream.accept(b"abc")
    stream.close()


async def test_a_missing_model_is_an_engine_failure(tmp_path: Path) -> None:
    engine = VoskTranscriber(tmp_path / "none")
    with pytest.raises(EngineFailed):
        await engine.warm()
    await engine.close()
