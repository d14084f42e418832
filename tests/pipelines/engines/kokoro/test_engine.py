"""Kokoro: its rules with a fake network that makes tones, and the real one on a few words."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import pytest_asyncio

from bench.measure_voices import melody, pitch
from media.formats import HEARING_RATE
from media.resample import resample
from pipelines.engines.base import EngineFailed
from pipelines.engines.kokoro.engine import (
    MAX_TOKENS,
    SAMPLE_RATE,
    KokoroSpeaker,
    recipe_styles,
    runs,
)
from pipelines.engines.kokoro.phonemes import Phonemizer
from pipelines.engines.kokoro.voices import PROSODY, ROWS, SIZE, VOICES, Styles
from pipelines.engines.transcription.moonshine import MoonshineTranscriber
from pipelines.engines.transcription.whisper import WhisperTranscriber

LETTERS = {letter: place for place, letter in enumerate("abcdefghijklmnopqrstuvwxyz .,!?", 1)}


class Spelling(Phonemizer):
    """Every letter is a phoneme; notes in which language it was asked."""

    def __init__(self) -> None:
        super().__init__("/nowhere")
        self.asked: list[str] = []

    def phonemes(self, text: str, language: str = "en") -> str:
        self.asked.append(language)
        return text.lower()


@dataclass
class Tones:
    """A tenth of a second of tone for each run, between two silences; notes its runs."""

    go: Event = field(default_factory=Event)
    runs: list[tuple[list[int], npt.NDArray[np.float32], float]] = field(default_factory=list)

    def wave(
        self, tokens: list[int], style: npt.NDArray[np.float32], speed: float
    ) -> npt.NDArray[np.float32]:
        self.runs.append((tokens, style, speed))
        assert self.go.wait(5)
        silence = np.zeros(SAMPLE_RATE // 2)
        tone = 1.5 * np.sin(np.arange(SAMPLE_RATE // 10) * 0.1)
        return np.concatenate((silence, tone, silence)).astype(np.float32)


@pytest.fixture(scope="module")
def styles(tmp_path_factory: pytest.TempPathFactory) -> Styles:
    """Style n of the voices is n everywhere, but for a row's number in its first place."""
    folder = tmp_path_factory.mktemp("voices")
    for number, voice in enumerate(VOICES):
        table = np.full((ROWS, SIZE), number, "<f4")
        table[:, 0] = np.arange(ROWS)
        table.tofile(folder / f"{voice}.bin")
    return Styles(folder)


@dataclass
class Bench:
    speaker: KokoroSpeaker
    network: Tones
    spelling: Spelling

    async def speak(self, text: str, **options: Any) -> list[bytes]:
        return [pcm async for pcm in self.speaker.speak(text, **options)]


@pytest.fixture
async def bench(styles: Styles) -> AsyncIterator[Bench]:
    network, spelling = Tones(), Spelling()
    network.go.set()
    speaker = KokoroSpeaker(network, LETTERS, styles, spelling)
    yield Bench(speaker, network, spelling)
    await speaker.close()


async def test_each_clause_is_a_chunk_without_its_silences(bench: Bench) -> None:
    chunks = await bench.speak("This is one of them. And here is the other one, too.")
    assert len(chunks) == len(bench.network.runs) == 2
    for chunk in chunks:
        assert 100 <= len(chunk) / 48 <= 320
        assert np.abs(np.frombuffer(chunk, "<i2").astype(int)).max() > 8000


async def test_the_row_of_the_style_is_that_of_the_length(bench: Bench) -> None:
    await bench.speak("Seven.", voice="bm_lewis", speed=9.0)
    ((tokens, style, speed),) = bench.network.runs
    assert (len(tokens), style.shape, speed) == (6, (1, SIZE), 1.25)
    assert style[0, :2].tolist() == [5.0, VOICES.index("bm_lewis")]


async def test_language_and_voice_choose_how_it_is_read(bench: Bench) -> None:
    for voice, language in (
        ("default", "en"), ("bf_emma", "en"), ("bf_emma", "en-US"), ("ef_dora", "en"),
        ("default", "de"), ("af_sky", "de-AT"), ("alloy", "pt-BR"),
    ):  # fmt: skip
        await bench.speak("A word.", voice=voice, language=language)
    assert bench.spelling.asked == ["en-US", "en-GB", "en-US", "en", "de", "de-AT", "pt-BR"]
    spoke = [VOICES[int(style[0, 1])] for _, style, _ in bench.network.runs]
    assert spoke == "af_heart bf_emma bf_emma ef_dora if_sara af_sky pf_dora".split()


@pytest.mark.parametrize("text", ["", "  ", "...", "!? —", "\n"])
async def test_nothing_to_speak_yields_nothing(bench: Bench, text: str) -> None:
    assert await bench.speak(text) == []
    assert bench.network.runs == []


async def test_unsupported_requests_are_refused(bench: Bench) -> None:
    with pytest.raises(EngineFailed, match="has no voice 'bob'"):
        await bench.speak("Yes.", voice="bob")
    with pytest.raises(EngineFailed, match="does not speak 'ja': nothing installed"):
        await bench.speak("Yes.", language="ja")
    bound = bench.speaker.bound("af_sky")
    with pytest.raises(EngineFailed, match="bound to one voice"):
        await anext(bound.speak("Yes.", voice="af_nova"))


async def test_closing_early_stops_at_the_next_clause(bench: Bench) -> None:
    text = " ".join(f"This is sentence number {'x' * n}." for n in range(1, 40))
    async with aclosing(bench.speaker.speak(text)) as audio:
        await anext(audio)
    await bench.speaker.close()
    assert 1 <= len(bench.network.runs) <= 8


async def test_a_cancelled_task_frees_the_engine(bench: Bench) -> None:
    bench.network.go.clear()
    task = asyncio.create_task(bench.speak("One, which is never heard. Two."))
    async with asyncio.timeout(5):
        while not bench.network.runs:
            await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    bench.network.go.set()
    assert len(await bench.speak("Three.")) == 1
    assert len(bench.network.runs) == 2


async def test_a_recipe_is_a_mix_and_emotion_moves_it(bench: Bench) -> None:
    weights = {"af_alloy": 1.0, VOICES[4]: 3.0}
    recipe = {"engine": "kokoro", "styles": weights}
    for emotion in (None, 55, 100):
        bound = bench.speaker.bound(recipe=recipe, emotion=emotion)
        assert (bound.sample_rate, bound.voices) == (SAMPLE_RATE, ("default",))
        assert [pcm async for pcm in bound.speak("Yes.")]
    plain, same, lively = (style for _, style, _ in bench.network.runs)
    assert plain[0, 1] == 3.0
    assert np.array_equal(plain, same)
    assert np.array_equal(plain[:, : PROSODY.start], lively[:, : PROSODY.start])


@pytest.mark.parametrize(
    "recipe", [{}, {"engine": "other", "styles": {"af_sky": 1}}, {"engine": "kokoro"}]
)
async def test_recipes_of_other_engines_are_refused(bench: Bench, recipe: dict[str, Any]) -> None:
    with pytest.raises(EngineFailed, match="made for an engine other"):
        bench.speaker.bound(recipe=recipe)
    unknown = bench.speaker.bound(recipe={"engine": "kokoro", "styles": {"xx_nobody": 1.0}})
    with pytest.raises(EngineFailed, match="no styles that are known"):
        await anext(unknown.speak("Yes."))
    assert recipe_styles({"engine": "kokoro", "styles": {"af_sky": 1}}) == {"af_sky": 1.0}


def test_long_phonemes_are_cut_between_words() -> None:
    words = " ".join(["abcdefghi"] * 120)
    pieces = list(runs(words, LETTERS))
    assert [len(piece) <= MAX_TOKENS for piece in pieces] == [True] * 3
    assert all(LETTERS[" "] not in (piece[0], piece[-1]) for piece in pieces)
    assert sum(len(piece) - piece.count(LETTERS[" "]) for piece in pieces) == 9 * 120
    assert [len(piece) for piece in runs("a" * 1100, LETTERS)] == [510, 510, 80]
    assert list(runs("çø", LETTERS)) == []


async def test_files_that_are_missing_or_damaged(tmp_path: Path) -> None:
    with pytest.raises(EngineFailed, match="cannot be read"):
        await KokoroSpeaker.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"model": {"vocab": {"a": 1}}}')
    (tmp_path / "kokoro-v1.0.onnx").write_bytes(b"no model")
    with pytest.raises(EngineFailed, match="the engine failed"):
        await KokoroSpeaker.load(tmp_path)


# ------------------------------------------------------------------ the real one

TEXT = "I did not expect to see you here today!"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kokoro(models_dir: Path) -> AsyncIterator[KokoroSpeaker]:
    speaker = await KokoroSpeaker.load(models_dir / "kokoro", Phonemizer(), threads=2)
    yield speaker
    await speaker.close()


@pytest.mark.asyncio(loop_scope="module")
async def test_emotion_moves_the_pitch_and_no_word(kokoro: KokoroSpeaker, models_dir: Path) -> None:
    ears = MoonshineTranscriber(models_dir / "moonshine-tiny-en")
    moved = []
    for emotion in (0, 55, 100):
        speaker = kokoro.bound("bf_emma", emotion=emotion)
        pcm = b"".join([chunk async for chunk in speaker.speak(TEXT)])
        moved.append(melody(pitch(np.frombuffer(pcm, "<i2"), SAMPLE_RATE)))
        padding = bytes(HEARING_RATE // 2)
        said = resample(pcm, SAMPLE_RATE, HEARING_RATE)
        heard = await ears.transcribe(padding + said + padding)
        assert re.findall(r"\w+", heard.text.lower().replace("-", "")) == re.findall(
            r"\w+", TEXT.lower()
        )
    await ears.close()
    calm, neutral, lively = moved
    assert neutral > 1.2 * calm
    assert lively > 1.3 * neutral


@pytest.mark.asyncio(loop_scope="module")
async def test_portuguese_is_understood(kokoro: KokoroSpeaker, models_dir: Path) -> None:
    text = "Bom dia, como posso ajudar você hoje? Obrigado pela sua paciência."
    ears = await WhisperTranscriber.load(
        models_dir / "whisper-base", models_dir / "silero-vad" / "silero_vad.onnx"
    )
    pcm = b"".join([chunk async for chunk in kokoro.speak(text, language="pt")])
    padding = bytes(HEARING_RATE)

    async def said() -> AsyncIterator[bytes]:
        yield padding + resample(pcm, SAMPLE_RATE, HEARING_RATE) + padding

    hearings = [one async for one in ears.transcribe_file(said())]
    await ears.close()
    heard = " ".join(one.segment.text for one in hearings if one.segment)
    assert hearings[-1].language == "pt"
    assert re.findall(r"\w+", heard.lower()) == re.findall(r"\w+", text.lower())
