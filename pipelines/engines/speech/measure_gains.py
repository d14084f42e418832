"""Measures the embedded voices' own loudness: ``python -m pipelines.engines.speech.measure_gains
MODELS_DIR``.

Writes ``voice_gains.json``: the gain in dB that brings each voice to ``media.level.TARGET_LUFS``.
Each voice says a sentence in its language (Kokoro's in English, for which a phonemizer is always
there); the loudness is that of BS.1770 over the sentence. To be run again when a voice changes:
some three minutes of one core.
"""

import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import numpy as np

from media.level import TARGET_LUFS, loudness
from pipelines.engines.kokoro.engine import KokoroSpeaker
from pipelines.engines.kokoro.voices import ENGINE as KOKORO
from pipelines.engines.kokoro.voices import VOICES as KOKORO_VOICES

from .hibari import HibariSpeaker
from .pico import VOICES as PICO_VOICES
from .pico import PicoSpeaker
from .voice_gains import FILE

SENTENCES = {
    "en": "Good morning, the early train to the harbour leaves at half past eight.",
    "de": "Guten Morgen, der frühe Zug zum Hafen fährt um halb neun Uhr ab.",
    "es": "Buenos días, el primer tren al puerto sale a las ocho y media.",
    "fr": "Bonjour, le premier train pour le port part à huit heures et demie.",
    "it": "Buongiorno, il primo treno per il porto parte alle otto e mezza.",
}


async def measure(models_dir: Path) -> dict[str, dict[str, float]]:
    """Engine to voice to gain in dB."""
    hibari = await HibariSpeaker.load()
    pico = await PicoSpeaker.load()
    kokoro = await KokoroSpeaker.load(models_dir / KOKORO, threads=2)
    try:
        return {
            "hibari": {"default": await _gain(hibari.raw(SENTENCES["en"]), hibari.sample_rate)},
            "pico": {
                voice: await _gain(pico.raw(SENTENCES[language], voice), pico.sample_rate)
                for language, voice in PICO_VOICES.items()
            },
            KOKORO: {
                voice: await _gain(kokoro.bound(voice).raw(SENTENCES["en"]), kokoro.sample_rate)
                for voice in KOKORO_VOICES
            },
        }
    finally:
        for engine in (hibari, pico, kokoro):
            await engine.close()


async def _gain(audio: AsyncGenerator[bytes, None], rate: int) -> float:
    async with aclosing(audio):
        pcm = b"".join([piece async for piece in audio])
    found = loudness(np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32768), rate)
    if found is None:
        raise ValueError("nothing was spoken")
    return round(TARGET_LUFS - found, 1)


if __name__ == "__main__":
    FILE.write_text(json.dumps(asyncio.run(measure(Path(sys.argv[1]))), indent=1) + "\n")
