"""Measures Kokoro's voices once: ``python -m pipelines.engines.cloning.measure_voices MODELS_DIR``.

Writes ``kokoro_voices.npz`` (see ``voice_table``). Each of the 54 voices says two sentences in
English: some five minutes of one core. To be run again when the voices or the encoder change.
"""

import asyncio
import sys
from pathlib import Path

import numpy as np

from media.formats import HEARING_RATE
from media.pitch import melody, pitch
from media.resample import resample
from pipelines.engines.kokoro.engine import SAMPLE_RATE, KokoroSpeaker
from pipelines.engines.kokoro.voices import VOICES

from .speaker_encoder import SpeakerEncoder
from .voice_table import VoiceTable

SENTENCES = (
    "The harbour was quiet when we arrived, and nobody asked us where we had been.",
    "Would you rather take the early train, or wait for your brother to finish his work?",
)


async def measure(models_dir: Path) -> VoiceTable:
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
    asyncio.run(measure(Path(sys.argv[1]))).write()
