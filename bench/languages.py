"""Callers in six languages, heard as calls hear them: ``python -m bench.languages``.

The turns of ``turns.toml``, four words and more, are spoken by two voices a language (Pico, Kokoro;
of Pico also a lower one), at 16 kHz and through the telephone's 8 kHz and µ-law. Prints a table, a
row a language: words heard wrongly by the engine that calls use, turns whose language was
recognised among all six, and seconds of one core for an utterance and for a recognition.

What was spoken is kept in ``--cache``: the voices are deterministic, and Kokoro is slow.
"""

import argparse
import asyncio
import os
import time
import tomllib
import wave
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.figures import machine
from gateway.settings import Settings
from media.formats import HEARING_RATE
from media.g711 import decode_ulaw, encode_ulaw
from media.resample import resample
from pipelines.engines.base import Speaker, Transcriber
from pipelines.engines.kokoro.engine import KokoroSpeaker
from pipelines.engines.speech.pico import PicoSpeaker
from pipelines.engines.transcription.moonshine import MoonshineTranscriber
from pipelines.engines.transcription.whisper_calls import WhisperCalls
from tests.support.pipelines.word_errors import word_errors

TURNS = Path(__file__).with_name("turns.toml")
LANGUAGES = ("en", "es", "fr", "de", "it", "pt")
PHONE_RATE = 8_000
LEAD, TAIL = 4_800, 7_680
"""Samples of room before and after a turn: prefix padding, and the pause that ended it."""
ROOM = 20.0
"""Standard deviation of the room's noise, of 32768."""
LOWER, LOWER_SPEED = 0.88, 1.12
"""Pitch of the lower voice, and the speed at which it speaks before it is lowered."""


@dataclass(frozen=True, slots=True)
class Voice:
    """Who speaks; ``lower``: with a deeper voice than the engine's own."""

    engine: str
    name: str
    lower: bool = False


VOICES = {
    "en": (Voice("kokoro", "af_heart"), Voice("kokoro", "bm_george")),
    "es": (Voice("pico", "es-ES"), Voice("pico", "es-ES", lower=True)),
    "fr": (Voice("pico", "fr-FR"), Voice("pico", "fr-FR", lower=True)),
    "de": (Voice("pico", "de-DE"), Voice("pico", "de-DE", lower=True)),
    "it": (Voice("pico", "it-IT"), Voice("pico", "it-IT", lower=True)),
    "pt": (Voice("kokoro", "pf_dora"), Voice("kokoro", "pm_alex")),
}


@dataclass
class Row:
    """What was measured of a language; CPU in seconds."""

    turns: int = 0
    wrong: int = 0
    words: int = 0
    recognised: int = 0
    hearing: float = 0.0
    recognising: float = 0.0

    @property
    def word_errors(self) -> float:
        """The share of words that were heard wrongly."""
        return self.wrong / max(1, self.words)


async def spoken(speaker: Speaker, voice: Voice, text: str, language: str) -> bytes:
    """PCM16 at HEARING_RATE."""
    speed = LOWER_SPEED if voice.lower else 1.0
    speech = speaker.speak(text, voice=voice.name, speed=speed, language=language)
    async with aclosing(speech):
        pcm = b"".join([chunk async for chunk in speech])
    pcm = resample(pcm, speaker.sample_rate, HEARING_RATE)
    if not voice.lower:
        return pcm
    samples = np.frombuffer(pcm, "<i2").astype(np.float32)
    places = np.arange(0, len(samples), LOWER)
    return np.interp(places, np.arange(len(samples)), samples).astype("<i2").tobytes()


async def turns(
    models: Path, cache: Path, languages: tuple[str, ...]
) -> AsyncGenerator[tuple[str, str, bytes], None]:
    """Language, text and audio of every turn, in both bands."""
    texts = tomllib.loads(TURNS.read_text(encoding="utf-8"))
    speakers: dict[str, KokoroSpeaker | PicoSpeaker] = {}
    noise = np.random.default_rng(3)
    for language in languages:
        for voice in VOICES[language]:
            for number, text in enumerate(texts[language]):
                name = f"{language}_{voice.name}{'-low' * voice.lower}_{number:02}.wav"
                if not (cache / name).exists():
                    if voice.engine not in speakers:
                        pico = voice.engine == "pico"
                        speakers[voice.engine] = (
                            await PicoSpeaker.load()
                            if pico
                            else await KokoroSpeaker.load(models / "kokoro")
                        )
                    pcm = await spoken(speakers[voice.engine], voice, text, language)
                    with wave.open(str(cache / name), "wb") as file:
                        file.setparams((1, 2, HEARING_RATE, 0, "NONE", ""))
                        file.writeframes(pcm)
                with wave.open(str(cache / name)) as file:
                    pcm = file.readframes(file.getnframes())
                samples = np.pad(np.frombuffer(pcm, "<i2"), (LEAD, TAIL)).astype(np.float32)
                samples += noise.normal(0, ROOM, len(samples)).astype(np.float32)
                pcm = np.clip(samples, -32768, 32767).astype("<i2").tobytes()
                yield language, text, pcm
                narrow = resample(pcm, HEARING_RATE, PHONE_RATE)
                narrow = decode_ulaw(encode_ulaw(narrow))
                yield language, text, resample(narrow, PHONE_RATE, HEARING_RATE)
    for speaker in speakers.values():
        await speaker.close()


async def measure(
    models: Path, cache: Path, languages: tuple[str, ...], *, step: int, misses: bool
) -> dict[str, Row]:
    """The rows by language; of the turns each ``step``-th counts."""
    whisper = await WhisperCalls.load(models / "whisper-base")
    moonshine = MoonshineTranscriber(models / MoonshineTranscriber.model_id)
    await moonshine.warm()
    rows: dict[str, Row] = defaultdict(Row)
    number = 0
    async with aclosing(turns(models, cache, languages)) as said:
        async for language, text, pcm in said:
            number += 1
            if number % step:
                continue
            row, ears = rows[language], whisper if language != "en" else moonshine
            assert isinstance(ears, WhisperCalls | MoonshineTranscriber)
            await _measure_turn(row, ears, whisper, (language, text, pcm), misses=misses)
    await whisper.close()
    await moonshine.close()
    return rows


async def _measure_turn(
    row: Row,
    ears: Transcriber,
    whisper: WhisperCalls,
    turn: tuple[str, str, bytes],
    *,
    misses: bool,
) -> None:
    language, text, pcm = turn
    began = time.process_time()
    heard = (await ears.transcribe(pcm, language)).text
    row.hearing += time.process_time() - began
    began = time.process_time()
    detected = await whisper.detect(pcm, LANGUAGES)
    row.recognising += time.process_time() - began
    wrong, words = word_errors(text, heard, language)
    row.turns, row.wrong, row.words = row.turns + 1, row.wrong + wrong, row.words + words
    row.recognised += detected.language == language
    if misses and (wrong or detected.language != language):
        print(f"  {language} {wrong}/{words} {detected.language}: {text!r} -> {heard!r}")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--language", action="append", choices=LANGUAGES)
    parser.add_argument("--cache", type=Path, default=Path(".blab") / "bench" / "turns")
    parser.add_argument("--step", type=int, default=1, help="measure each STEP-th turn")
    parser.add_argument("--misses", action="store_true", help="print what was heard wrongly")
    options = parser.parse_args()
    models = Settings.read(os.environ).models_dir
    options.cache.mkdir(parents=True, exist_ok=True)
    languages = tuple(options.language or LANGUAGES)
    rows = asyncio.run(
        measure(models, options.cache, languages, step=options.step, misses=options.misses)
    )
    print(machine())
    print("| language | turns | words wrong | language right | CPU s, hearing | CPU s, language |")
    print("|---|---|---|---|---|---|")
    for language, row in rows.items():
        print(
            f"| {language} | {row.turns} | {row.word_errors:.1%} |"
            f" {row.recognised} of {row.turns} | {row.hearing / row.turns:.2f} |"
            f" {row.recognising / row.turns:.2f} |"
        )


if __name__ == "__main__":
    main()
