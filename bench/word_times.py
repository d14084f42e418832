"""How far word times of recordings are from the sound: ``python -m bench.word_times``.

The recordings of ``tests/audio`` are transcribed as jobs do it. Their words are compared with two
references that do not depend on the engine under test:

- alignment: Vosk (Kaldi) is forced to the known text of the English recordings and says where each
  of its words lies. Only words that were transcribed as the text has them are compared.
- energy: where the first word begins and the last one ends, by loudness: the first and the last
  10 ms within 35 dB of the recording's loudest.

Prints the errors in ms, a negative one being early.
"""

import argparse
import asyncio
import json
import os
import re
import wave
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.figures import machine
from gateway.settings import Settings
from media.formats import HEARING_RATE
from pipelines.engines.base import Word
from pipelines.engines.transcription.voice_activity import silero_file
from pipelines.engines.transcription.whisper import WhisperTranscriber

AUDIO = Path(__file__).parents[1] / "tests" / "audio"
PIECE = HEARING_RATE // 5
FRAME = HEARING_RATE // 100
WITHIN_DB = 35.0

Samples = npt.NDArray[np.int16]


@dataclass
class Errors:
    """Errors in ms, by what they are errors of."""

    found: dict[str, list[float]] = field(default_factory=dict)

    def add(self, what: str, ms: float) -> None:
        """One more."""
        self.found.setdefault(what, []).append(ms)

    def table(self) -> str:
        """A row for each kind."""
        rows = ["| | words | median | abs p50 | abs p90 | abs max |", "|---|---|---|---|---|---|"]
        for what, errors in self.found.items():
            sizes = np.abs(errors)
            figures = (np.median(errors), *np.percentile(sizes, (50, 90)), sizes.max())
            rows.append(
                f"| {what} | {len(errors)} | " + " | ".join(f"{one:.0f}" for one in figures) + " |"
            )
        return "\n".join(rows)


def plain(word: str) -> str:
    """A word without marks and capitals."""
    return re.sub(r"[^\w']", "", word.lower())


def recording(path: Path) -> Samples:
    """The samples, at HEARING_RATE."""
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels()) == (HEARING_RATE, 1)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")


async def transcribed(ears: WhisperTranscriber, samples: Samples, language: str) -> list[Word]:
    """The words of a recording."""

    async def pcm() -> AsyncIterator[bytes]:
        yield samples.tobytes()

    hearings = ears.transcribe_file(pcm(), language)
    return [word async for one in hearings if one.segment for word in one.segment.words]


def aligned(model: Any, samples: Samples, text: str) -> list[Word]:
    """The words of ``text`` where Kaldi finds them."""
    import vosk

    words = " ".join(filter(None, map(plain, text.replace("-", " ").split())))
    kaldi = vosk.KaldiRecognizer(model, HEARING_RATE, json.dumps([words]))
    kaldi.SetWords(True)
    found: list[dict[str, Any]] = []
    for begin in range(0, len(samples), PIECE):
        if kaldi.AcceptWaveform(samples[begin : begin + PIECE].tobytes()):
            found += json.loads(kaldi.Result()).get("result", ())
    found += json.loads(kaldi.FinalResult()).get("result", ())
    return [
        Word(one["word"], round(one["start"] * HEARING_RATE), round(one["end"] * HEARING_RATE))
        for one in found
    ]


def sounding(samples: Samples) -> tuple[int, int]:
    """Where the sound begins and ends."""
    count = len(samples) // FRAME
    frames = samples[: count * FRAME].astype(np.float64).reshape(count, FRAME)
    level = 10 * np.log10(np.square(frames).mean(axis=1) + 1)
    loud = np.flatnonzero(level > level.max() - WITHIN_DB)
    return int(loud[0]) * FRAME, int(loud[-1] + 1) * FRAME


def compare(errors: Errors, words: Sequence[Word], reference: Sequence[Word]) -> None:
    """Add the errors of the words that both have."""
    texts = [[plain(word.text) for word in found] for found in (words, reference)]
    matcher = SequenceMatcher(a=texts[0], b=texts[1], autojunk=False)
    for block in matcher.get_matching_blocks():
        for step in range(block.size):
            heard, true = words[block.a + step], reference[block.b + step]
            errors.add("starts, by alignment", 1000 * (heard.start - true.start) / HEARING_RATE)
            errors.add("ends, by alignment", 1000 * (heard.end - true.end) / HEARING_RATE)


async def main(models: Path) -> None:
    import vosk

    vosk.SetLogLevel(-1)
    kaldi = vosk.Model(str(models / "vosk-small-en"))
    ears = await WhisperTranscriber.load(models / "whisper-base", silero_file(models))
    errors = Errors()
    for listed in json.loads((AUDIO / "manifest.json").read_text()):
        samples = recording(AUDIO / listed["file"])
        found = re.match(r"lang_(\w\w)", listed["file"])
        language = found[1] if found else "en"
        words = await transcribed(ears, samples, language)
        if not words:
            continue
        begins, ends = sounding(samples)
        errors.add("first word, by energy", 1000 * (words[0].start - begins) / HEARING_RATE)
        errors.add("last word, by energy", 1000 * (words[-1].end - ends) / HEARING_RATE)
        if language == "en":
            compare(errors, words, aligned(kaldi, samples, listed["text"]))
    await ears.close()
    print(machine())
    print(errors.table())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, default=Settings.read(os.environ).models_dir)
    asyncio.run(main(parser.parse_args().models))
