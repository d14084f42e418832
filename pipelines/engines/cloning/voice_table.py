"""VoiceTable: what was measured of Kokoro's voices, beforehand.

``kokoro_voices.npz`` beside this file was made by ``measure_voices`` with two English sentences a
voice. The speaker encoder's view of each tells which voices are like a sample; pitch and melody
tell which way a livelier style lies.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

FILE = Path(__file__).with_name("kokoro_voices.npz")


@dataclass(frozen=True, slots=True, eq=False)
class VoiceTable:
    """One row a voice. ``embeddings``: [voices, 256], each of length 1; ``pitch``: median in Hz;
    ``melody``: how much it moves, in semitones (standard deviation)."""

    voices: tuple[str, ...]
    embeddings: Floats
    pitch: Floats
    melody: Floats

    @classmethod
    def read(cls, path: Path = FILE) -> "VoiceTable":
        """From a file that ``write`` made; some milliseconds."""
        with np.load(path, allow_pickle=False) as file:
            return cls(
                tuple(str(voice) for voice in file["voices"]),
                file["embeddings"].astype(np.float32),
                file["pitch"],
                file["melody"],
            )

    def write(self, path: Path = FILE) -> None:
        """Into a file of some 30 kB."""
        np.savez_compressed(
            path,
            voices=np.array(self.voices),
            embeddings=self.embeddings.astype(np.float16),
            pitch=self.pitch,
            melody=self.melody,
        )

    def only(self, voices: tuple[str, ...]) -> "VoiceTable":
        """The rows of ``voices``, in their order."""
        rows = [self.voices.index(voice) for voice in voices]
        return VoiceTable(voices, self.embeddings[rows], self.pitch[rows], self.melody[rows])


@cache
def packaged() -> VoiceTable:
    """The table that lies beside this file."""
    return VoiceTable.read()
