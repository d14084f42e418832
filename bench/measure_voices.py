"""Measures the embedded voices: ``python -m bench.measure_voices MODELS_DIR``.

Writes two files, to be made again when a voice or the speaker encoder changes:

- ``speech/voice_gains.json``: the gain in dB that brings each voice to ``media.level.TARGET_LUFS``,
  by the BS.1770 loudness of a sentence in its language (Kokoro's in English, for which a phonemizer
  is always there). Some three minutes of one core.
- ``kokoro/kokoro_voices.npz``: a ``VoiceTable`` of Kokoro's 54 voices, each speaking two sentences
  in English. Some five minutes of one core.

Pitch is found by autocorrelation, after Boersma, "Accurate short-term analysis of the fundamental
frequency" (1993): the autocorrelation of a windowed frame divided by that of the window; of peaks
that are nearly as high, the shortest period. Good enough to compare how lively two readings of a
text are.
"""

import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import numpy as np
import numpy.typing as npt

from media.formats import HEARING_RATE
from media.level import TARGET_LUFS, loudness
from media.resample import resample
from pipelines.engines.cloning.speaker_encoder import SpeakerEncoder
from pipelines.engines.kokoro.engine import SAMPLE_RATE, KokoroSpeaker
from pipelines.engines.kokoro.voices import KOKORO, VOICES, VoiceTable
from pipelines.engines.speech.hibari import HibariSpeaker
from pipelines.engines.speech.pico import VOICES as PICO_VOICES
from pipelines.engines.speech.pico import PicoSpeaker
from pipelines.engines.speech.read_aloud import GAINS

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


Floats = npt.NDArray[np.float64]

FRAME_SECONDS = 0.04
STEP_SECONDS = 0.01
LOWEST, HIGHEST = 60.0, 450.0
"""Hz between which the pitch of a voice is searched."""

_VOICED = 0.6
"""Autocorrelation at a period from which a frame is voiced."""
_NEARLY = 0.88
"""Share of the highest peak that another must reach to be preferred."""
_QUIETEST = 2e-3
"""Share of the loudest frame's power below which a frame does not count."""
_ODD = 10.0
"""Semitones from the median beyond which a frame was misjudged."""


def pitch(samples: npt.NDArray[np.int16], rate: int) -> Floats:
    """Hz of each voiced frame in PCM16 samples; empty if none is."""
    size, step = int(FRAME_SECONDS * rate), int(STEP_SECONDS * rate)
    if len(samples) < size:
        return np.zeros(0)
    frames = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float64), size)[::step]
    frames = frames - frames.mean(axis=1, keepdims=True)
    window = np.hanning(size)
    own = _autocorrelation(window[None])[0]
    peaks = _autocorrelation(frames * window) / (own / own[0] + 1e-3)
    shortest, longest = int(rate / HIGHEST), int(rate / LOWEST)
    power = peaks[:, :1] + 1e-9
    inside = (peaks / power)[:, shortest:longest]
    best = inside.max(axis=1)
    rising = inside[:, 1:-1] > inside[:, :-2]
    falling = inside[:, 1:-1] >= inside[:, 2:]
    wanted = rising & falling & (inside[:, 1:-1] > _NEARLY * best[:, None])
    first = np.where(wanted.any(axis=1), wanted.argmax(axis=1) + 1, inside.argmax(axis=1))
    loud = power[:, 0] > power.max() * _QUIETEST
    found: Floats = rate / (first + shortest)[(best > _VOICED) & loud]
    return found


def melody(frequencies: Floats) -> float:
    """How much the pitch moves: standard deviation in semitones, misjudged frames left out."""
    if not len(frequencies):
        return 0.0
    semitones = 12 * np.log2(frequencies / np.median(frequencies))
    return float(semitones[np.abs(semitones) < _ODD].std())


def _autocorrelation(frames: Floats) -> Floats:
    size = frames.shape[1]
    length = 1 << (2 * size - 1).bit_length()
    spectrum = np.fft.rfft(frames, length)
    correlation: Floats = np.fft.irfft(np.abs(spectrum) ** 2, length)[:, :size]
    return correlation


if __name__ == "__main__":
    models = Path(sys.argv[1])
    GAINS.write_text(json.dumps(asyncio.run(measure_gains(models)), indent=1) + "\n")
    asyncio.run(measure_table(models)).write()
