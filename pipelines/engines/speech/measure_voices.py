"""Measures the embedded voices: ``python -m pipelines.engines.speech.measure_voices MODELS_DIR``.

Writes two files, to be made again when a voice or the speaker encoder changes:

- ``speech/voice_gains.json``: the gain in dB that brings each voice to ``media.level.TARGET_LUFS``,
  by the BS.1770 loudness of a sentence in its language (Kokoro's in English, for which a phonemizer
  is always there). Some three minutes of one core.
- ``kokoro/kokoro_voices.npz``: a ``VoiceTable`` of Kokoro's 54 voices, each speaking two sentences
  in English. Some five minutes of one core.
"""

import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import numpy as np

from media.formats import HEARING_RATE
from media.level import TARGET_LUFS, loudness
from media.pitch import melody, pitch
from media.resample import resample
from pipelines.engines.cloning.speaker_encoder import SpeakerEncoder
from pipelines.engines.kokoro.engine import SAMPLE_RATE, KokoroSpeaker
from pipelines.engines.kokoro.voices import KOKORO, VOICES, VoiceTable

from .hibari import HibariSpeaker
from .pico import VOICES as PICO_VOICES
from .pico import PicoSpeaker
from .read_aloud import GAINS

BY_LANGUAGE = {
    "en": "Good morning, the early train to the harbour leaves at half past eight.",
    "de": "Guten Morgen, der frühe Zug zum Hafen fährt um halb neun Uhr ab.",
    "es": "Buenos días, el primer tren al puerto sale a las ocho y media.",
    "fr": "Bonjour, le premier train pour le port part à huit heures et demie.",
    "it": "Buongiorno, il primo treno per il porto parte alle otto e mezza.",
}


async def measure_gains(models_dir: Path) -> dict[str, dict[str, float]]:
    """Engine to voice to gain in dB."""
    hibari = await HibariSpeaker.load()
    pico = await PicoSpeaker.load()
    kokoro = await KokoroSpeaker.load(models_dir / KOKORO, threads=2)
    try:
        return {
            "hibari": {"default": await _gain(hibari.raw(BY_LANGUAGE["en"]), hibari.sample_rate)},
            "pico": {
                voice: await _gain(pico.raw(BY_LANGUAGE[language], voice), pico.sample_rate)
                for language, voice in PICO_VOICES.items()
            },
            KOKORO: {
                voice: await _gain(kokoro.bound(voice).raw(BY_LANGUAGE["en"]), kokoro.sample_rate)
                for voice in VOICES
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


SENTENCES = (
    "The harbour was quiet when we arrived, and nobody asked us where we had been.",
    "Would you rather take the early train, or wait for your brother to finish his work?",
)


async def measure_table(models_dir: Path) -> VoiceTable:
    """The table of all voices."""
    encoder = SpeakerEncoder.load(models_dir / "speaker-encoder" / "pretrained.pt")
    speaker = await KokoroSpeaker.load(models_dir / "kokoro", threads=2)
    embeddings, pitches, melodies = [], [], []
    for voice in VOICES:
        said = [
            b"".join([pcm async for pcm in speaker.speak(sentence, voice=voice)])
            for sentence in SENTENCES
        ]
        heard = resample(b"".join(said), SAMPLE_RATE, HEARING_RATE)
        tracks = [pitch(np.frombuffer(pcm, "<i2"), SAMPLE_RATE) for pcm in said]
        embeddings.append(encoder.embed(heard))
        pitches.append(np.median(np.concatenate(tracks)))
        melodies.append(np.mean([melody(track) for track in tracks]))
    await speaker.close()
    return VoiceTable(
        VOICES, np.stack(embeddings), np.array(pitches, "f4"), np.array(melodies, "f4")
    )


if __name__ == "__main__":
    models = Path(sys.argv[1])
    GAINS.write_text(json.dumps(asyncio.run(measure_gains(models)), indent=1) + "\n")
    asyncio.run(measure_table(models)).write()
