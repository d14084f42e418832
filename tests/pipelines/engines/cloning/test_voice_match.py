"""Matching voices to samples: mixes, the search on synthetic voices, and one real reader."""

import itertools
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from media.formats import HEARING_RATE
from pipelines.engines.base import EngineFailed
from pipelines.engines.cloning.voice_match import (
    LEAST_SHARE,
    MOST,
    PROOF,
    TRIAL,
    TRIALS,
    VoiceMatcher,
    beginnings,
    neighbours,
)
from pipelines.engines.kokoro.engine import KokoroSpeaker
from pipelines.engines.kokoro.phonemes import Phonemizer
from pipelines.engines.kokoro.voices import VoiceTable, measured_voices, voice_language


def table_of(*embeddings: list[float]) -> VoiceTable:
    rows = np.array(embeddings, np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    voices = tuple("abcdefgh"[: len(rows)])
    ones = np.ones(len(rows), np.float32)
    return VoiceTable(voices, rows, ones, ones)


def test_a_voice_of_the_table_is_found_alone() -> None:
    table = measured_voices()
    row = table.voices.index("bm_fable")
    for mix in beginnings(table, table.embeddings[row]):
        assert max(mix, key=lambda voice: mix[voice]) == "bm_fable"
        assert mix["bm_fable"] > 0.8


def test_shares_are_those_of_the_target() -> None:
    table = table_of([1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1])
    target = np.array([0.8, 0.6, 0.0], np.float32)
    mixes = beginnings(table, target)
    assert mixes[0] == pytest.approx({"a": 4 / 7, "b": 3 / 7}, abs=0.01)
    assert mixes == [mix for mix, _ in itertools.groupby(mixes)]


def test_mixes_have_weights_that_sum_to_one() -> None:
    target = np.abs(np.random.default_rng(2).normal(size=256)).astype(np.float32)
    target /= np.linalg.norm(target)
    begun = beginnings(measured_voices(), target)
    assert 1 <= len(begun) <= 3
    for mix in [*begun, *itertools.chain.from_iterable(map(neighbours, begun))]:
        assert 1 <= len(mix) <= MOST
        assert sum(mix.values()) == pytest.approx(1.0, abs=0.01)
        assert min(mix.values()) >= LEAST_SHARE - 0.001


def test_neighbours_move_one_share() -> None:
    near = list(neighbours({"a": 0.5, "b": 0.3, "c": 0.2}))
    assert len(near) == 6
    assert near[0]["a"] > 0.5 > near[1]["a"]
    assert near[0]["b"] / near[0]["c"] == pytest.approx(1.5, abs=0.01)
    assert list(neighbours({"a": 1.0})) == []


TABLE = measured_voices()
Floats = npt.NDArray[np.float32]


def sound(mix: Mapping[str, float]) -> bytes:
    """What numbers of voices say: their shares, in thousandths."""
    shares = [mix.get(voice, 0.0) * 1000 for voice in TABLE.voices]
    return np.array(shares).astype("<i2").tobytes()


@dataclass
class Numbers:
    """A speaker whose audio is ``sound`` of its recipe; notes what it said with which."""

    sample_rate: int = HEARING_RATE
    model_id: str = "numbers"
    voices: tuple[str, ...] = ("default",)
    said: list[tuple[str, dict[str, float]]] = field(default_factory=list)
    mix: Mapping[str, float] = field(default_factory=dict)

    def bound(
        self, voice: str = "default", *, recipe: Mapping[str, Any] | None = None
    ) -> "Numbers":
        assert recipe is not None
        assert recipe["engine"] == "kokoro"
        return Numbers(said=self.said, mix=recipe["styles"])

    async def speak(
        self, text: str, *, voice: str = "default", speed: float = 1.0, language: str = "en"
    ) -> AsyncGenerator[bytes, None]:
        self.said.append((text, dict(self.mix)))
        yield sound(self.mix)


class Hearing:
    """Hears ``sound`` as a mix of embeddings, bent a little."""

    def embed(self, pcm: bytes) -> Floats:
        if not any(pcm):
            raise ValueError("there is no speech in it")
        heard = np.frombuffer(pcm, "<i2") @ TABLE.embeddings
        bent = heard**1.1
        return (bent / np.linalg.norm(bent)).astype(np.float32)


def ticking(step: float) -> Callable[[], float]:
    moments: Iterator[float] = iter(step * n for n in range(1000))
    return lambda: next(moments)


def matcher(speaker: Numbers, step: float = 0.0) -> VoiceMatcher:
    hearing: Any = Hearing()
    return VoiceMatcher(speaker, hearing, seconds=10, clock=ticking(step))


async def test_a_mix_is_found() -> None:
    speaker = Numbers()
    target = {"am_liam": 0.5, "am_onyx": 0.3, "bm_lewis": 0.2}
    match = await matcher(speaker).match(sound(target))
    assert match.similarity > 0.98
    assert match.similarity > match.base_similarity + 0.1
    assert match.recipe["engine"] == "kokoro"
    assert sum(match.recipe["styles"].values()) == pytest.approx(1.0, abs=0.01)
    assert set(match.recipe["styles"]) >= {"am_liam", "am_onyx"}
    trials = [mix for text, mix in speaker.said if text == TRIAL]
    assert match.details == {"method": "style_match", "trials": len(trials)}
    assert 3 < len(trials) <= TRIALS
    assert [mix for text, mix in speaker.said if text == PROOF] == [
        {"af_heart": 1.0},
        match.recipe["styles"],
    ]
    assert all(voice_language(voice)[:2] == "en" for mix in trials for voice in mix)


@pytest.mark.parametrize(("step", "least"), [(0.0, 6), (2.5, 6), (100, 3)])
async def test_how_much_is_done_rises_to_all(step: float, least: int) -> None:
    """Whether trials end the search or time does."""
    shares: list[float] = []

    async def done(share: float) -> None:
        shares.append(share)

    target = {"am_liam": 0.5, "am_onyx": 0.3, "bm_lewis": 0.2}
    await matcher(Numbers(), step).match(sound(target), done=done)
    assert len(shares) >= least
    assert shares == sorted(set(shares))
    assert 0 < shares[0] < shares[-2] < shares[-1] == 1.0


async def test_time_ends_the_search() -> None:
    speaker = Numbers()
    match = await matcher(speaker, step=100).match(sound({"bf_lily": 1.0}))
    assert match.details["trials"] == 1
    assert [text for text, _ in speaker.said] == [TRIAL, PROOF, PROOF]


async def test_the_default_voice_is_kept_if_none_is_nearer() -> None:
    match = await matcher(Numbers()).match(sound({"if_sara": 1.0}), "de")
    assert match.recipe["styles"] == {"if_sara": 1.0}
    assert match.similarity == match.base_similarity == pytest.approx(1.0, abs=0.001)


async def test_all_voices_of_a_small_language_are_mixed() -> None:
    match = await matcher(Numbers()).match(sound({"jm_kumo": 0.6, "zm_yunxi": 0.4}), "es-MX")
    assert {"jm_kumo", "zm_yunxi"} & set(match.recipe["styles"])


async def test_a_sample_without_speech_is_refused() -> None:
    with pytest.raises(EngineFailed, match="no speech"):
        await matcher(Numbers()).match(bytes(32_000))


async def test_weights_that_cannot_be_read(tmp_path: Path) -> None:
    for content in (None, b"nothing"):
        path = tmp_path / "pretrained.pt"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(EngineFailed, match="encoder cannot be read"):
            await VoiceMatcher.load(path, Numbers())


async def test_a_reader_is_matched_better_than_by_the_default_voice(
    models_dir: Path, audio: Callable[[str], bytes]
) -> None:
    speaker = await KokoroSpeaker.load(models_dir / "kokoro", Phonemizer(), threads=2)
    path = models_dir / "speaker-encoder" / "pretrained.pt"
    quick = await VoiceMatcher.load(path, speaker, seconds=0)
    match = await quick.match(audio("lv_0890"))
    await speaker.close()
    assert match.similarity > match.base_similarity + 0.05
    assert 0.3 < match.base_similarity < match.similarity < 0.95
    assert match.details["trials"] == 1
