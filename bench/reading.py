"""Forty texts that are hard to read aloud, spoken and transcribed: ``python -m bench.reading``.

Prints a table row per engine: texts in which every key word was heard, key words heard of all, and
what was missed; then how many words of a sentence are heard at each speed, and how loud each voice
is. The transcriber is Whisper (base), which makes errors of its own; keys are regular expressions
over its text in lower case. ``--engine`` measures only one engine.
"""

import argparse
import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.figures import machine
from gateway.settings import Settings
from media.filters import stretch
from media.formats import HEARING_RATE
from media.loudness import LoudnessMeter
from media.resample import resample
from pipelines.engines.base import Speaker
from pipelines.engines.kokoro.engine import KokoroSpeaker
from pipelines.engines.kokoro.phonemes import Phonemizer
from pipelines.engines.speech.hibari import HibariSpeaker
from pipelines.engines.speech.pico import PicoSpeaker
from pipelines.engines.transcription.whisper import WhisperTranscriber
from pipelines.speech.script import recite

_DOT = r"(dot|\.)"
ENGLISH: list[tuple[str, list[str]]] = [
    ("Write to jane.doe@example.com today.", ["jane", "doe", "(at|@)", "example", "com"]),
    ("Visit https://www.example.com/docs/help for details.", ["example", "docs", "help"]),
    ("The address is blue-river.org/map.", ["blue", "river", "org", "map"]),
    ("We run version v2.14.1 and Python 3.11.", ["14", "python", "3.*11"]),
    ("Call +44 20 7946 0958 tomorrow.", ["4.*4", "2.*0", "7.*9.*4.*6", "0.*9.*5.*8"]),
    ("My number is (555) 123-4567.", ["5.*5.*5", "1.*2.*3", "4.*5.*6.*7"]),
    ("The account is 9876543210.", ["9.*8.*7", "6.*5.*4", "3.*2.*1.*0"]),
    ("It costs €1.150,00.", ["1.?150", "euro|€"]),
    ("A coffee is $5.99.", ["5", "99"]),
    ("They raised £3m last year.", ["(3|three) ?(million|m)", "pound|£"]),
    ("Prices rose by 3.5% in May.", ["3.?5", "percent|%", "may"]),
    ("We meet on 2025-12-24 at 7:30 pm.", ["december", "24", "2025", "7.?30"]),
    ("The train leaves at 8:05.", ["train", "8.?0?5|eight oh five|8 o.?5"]),
    ("It is -5 °C outside.", ["minus|-", "5|five", "degrees|°"]),
    ("He ran 12 km in 1 h.", ["12", "kilomet|km", "hour"]),
    ("Add 1/2 cup of milk and 3/4 of the sugar.", ["half|1/2", "(three|3).quarters|3/4"]),
    ("Pages 10–15 are missing.", ["10", "to|-|–", "15"]),
    ("Henry VIII is in Chapter IV.", ["henry", "eighth|8th|viii", "chapter (4|four|iv)"]),
    ("Send the PDF to the USA by DHL.", ["pdf", "usa|u\\.s", "dhl"]),
    ("The rooms #5 & #7 are free.", ["5|five", "and|&", "7|seven"]),
    ('Wait <break time="500ms"/> and &quot;listen&quot;.', ["wait", "listen"]),
    ("Dr. Smith lives, e.g., on 5th Ave. now.", ["smith", "example", "avenue|ave"]),
    ("x = 5 + 3, that is about ~8.", ["equals|=", "plus|\\+", "8|eight"]),
    ("Great job 🎉👍 see you at #OpenDay.", ["great", "job", "see", "open ?day"]),
]
OTHERS: dict[str, list[tuple[str, list[str]]]] = {
    "de": [
        ("Das kostet 1.150,00 € im Monat.", ["1.?150|tausend", "euro|€", "monat"]),
        ("Schreiben Sie an info@beispiel.de.", ["info", "beispiel", "de|d\\.? ?e"]),
        ("Wir treffen uns am 24.12.2025 um 20:30 Uhr.", ["24|vierund", "dezember", "20", "30"]),
        ("Das sind z. B. 3,5 % mehr als im März.", ["beispiel", "3", "5", "prozent|%"]),
    ],
    "es": [
        ("Cuesta 1.150,00 € al mes.", ["1.?150|mil", "euros|€", "mes"]),
        ("Escriba a info@ejemplo.es hoy.", ["info", "arroba|@", "ejemplo"]),
        ("La cita es el 24/12/2025 a las 20:30.", ["24", "diciembre", "20", "30"]),
        ("Los precios subieron un 3,5 % en mayo.", ["3", "5", "ciento|%", "mayo"]),
    ],
    "fr": [
        ("Cela coûte 1 150,00 € par mois.", ["1.?150|mille", "euros|€", "mois"]),
        ("Écrivez à info@exemple.fr demain.", ["info", "arobase|@|robase", "exemple"]),
        ("Rendez-vous le 24/12/2025 à 20h30.", ["24", "décembre", "20", "30"]),
        ("Les prix ont augmenté de 3,5 % en mai.", ["3", "5", "cent|%", "mai"]),
    ],
    "it": [
        ("Costa 1.150,00 € al mese.", ["1.?150|mille", "euro|€", "mese"]),
        ("Scriva a info@esempio.it domani.", ["info", "chiocciola|@", "esempio"]),
        ("Ci vediamo il 24/12/2025 alle 20:30.", ["24", "dicembre", "20", "30"]),
        ("I prezzi sono saliti del 3,5 % a maggio.", ["3", "5", "cento|%", "maggio"]),
    ],
}
SPEEDS = (0.5, 1.0, 1.5, 2.0, 4.0)
FOLLOWED = 2.0
"""Faster speech is slowed down for the transcriber: only lost words count."""
SPEED_TEXT = "The quick brown fox jumps over the lazy dog near the river bank today."


@dataclass
class Score:
    """How much of one engine's texts was heard."""

    texts: int = 0
    whole: int = 0
    keys: int = 0
    heard: int = 0
    missed: list[str] = field(default_factory=list)
    meters: list[float] = field(default_factory=list)
    peak: float = -99.0


async def spoken(speaker: Speaker, text: str, language: str, speed: float = 1.0) -> bytes:
    """PCM16 at the speaker's rate, generated as in a job."""
    sounds = recite(speaker, text, speed=speed, language=language)
    async with contextlib.aclosing(sounds):
        return b"".join([sound.pcm async for sound in sounds])


async def heard(ears: WhisperTranscriber, pcm: bytes, rate: int, language: str) -> str:
    """The text, in lower case."""

    async def pieces() -> AsyncIterator[bytes]:
        yield resample(pcm, rate, HEARING_RATE)

    hearings = ears.transcribe_file(pieces(), language)
    return " ".join([one.segment.text async for one in hearings if one.segment]).lower()


async def measure(
    name: str, speaker: Speaker, texts: Sequence[tuple[str, list[str]]], language: str,
    ears: WhisperTranscriber,
) -> None:  # fmt: skip
    """Print one row of the table, and below it what was missed."""
    score = Score()
    for text, keys in texts:
        pcm = await spoken(speaker, text, language)
        meter = LoudnessMeter(speaker.sample_rate)
        meter.push(pcm)
        measured = meter.result()
        score.meters += [measured.lufs] if measured.lufs is not None else []
        score.peak = max(score.peak, measured.peak_dbtp)
        answer = await heard(ears, pcm, speaker.sample_rate, language)
        missing = [key for key in keys if not re.search(key, answer)]
        score.texts += 1
        score.whole += not missing
        score.keys += len(keys)
        score.heard += len(keys) - len(missing)
        if missing:
            score.missed.append(f"    {text!r}: {missing} not in {answer!r}")
    loud = f"{min(score.meters):.1f}…{max(score.meters):.1f}"
    print(
        f"| {name} | {score.whole}/{score.texts} | {score.heard}/{score.keys} | {loud} |"
        f" {score.peak:.1f} |",
        *score.missed, sep="\n", flush=True,
    )  # fmt: skip


async def speeds(name: str, speaker: Speaker, ears: WhisperTranscriber) -> None:
    """Print one row: words of the sentence heard at each speed."""
    words = set(re.findall(r"\w+", SPEED_TEXT.lower()))
    cells = []
    for speed in SPEEDS:
        pcm = await spoken(speaker, SPEED_TEXT, "en", speed)
        if speed > FOLLOWED:
            pcm = stretch(pcm, speaker.sample_rate, 1 / speed)
        answer = await heard(ears, pcm, speaker.sample_rate, "en")
        found = words & set(re.findall(r"\w+", answer))
        cells.append(f"{len(found)}/{len(words)}")
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


async def run(models: Path, engines: Sequence[str], limit: int | None) -> None:
    """Print the tables."""
    ears = await WhisperTranscriber.load(
        models / "whisper-base", models / "silero-vad" / "silero_vad.onnx"
    )
    makers: dict[str, Callable[[], object]] = {
        "hibari": HibariSpeaker.load,
        "pico": PicoSpeaker.load,
        "kokoro": lambda: KokoroSpeaker.load(models / "kokoro"),
    }
    print(machine())
    print("| voice | texts whole | key words | LUFS | dBTP |\n|---|---|---|---|---|", flush=True)
    loaded = {name: await makers[name]() for name in engines}  # type: ignore[misc]
    for name, speaker in loaded.items():
        await measure(name, speaker, ENGLISH[:limit], "en", ears)
        spoken_here = Phonemizer.found().languages if name == "kokoro" else tuple(OTHERS)
        for language in () if name == "hibari" else OTHERS:
            if language in spoken_here:
                row, texts = f"{name} {language}", OTHERS[language][:limit]
                await measure(row, speaker, texts, language, ears)
    print(f"\n| words at speed | {' | '.join(map(str, SPEEDS))} |\n|---|{'---|' * len(SPEEDS)}")
    for name, speaker in loaded.items():
        await speeds(name, speaker, ears)
    for engine in (*loaded.values(), ears):
        await engine.close()


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", action="append", choices=["hibari", "pico", "kokoro"])
    parser.add_argument("--limit", type=int, help="number of texts per language")
    options = parser.parse_args()
    models = Settings.read(os.environ).models_dir
    asyncio.run(run(models, options.engine or ["hibari", "pico", "kokoro"], options.limit))


if __name__ == "__main__":
    main()
