"""What a model is: its files by sha256, its licence, and its sources in order. Pure data."""

from dataclasses import dataclass
from enum import StrEnum

from .sources import Source


class Role(StrEnum):
    """What a model does, in a conversation or in jobs."""

    VAD = "voice activity"
    TURN = "turn detection"
    STT_PARTIAL = "speech to text, partial"
    STT_FINAL = "speech to text, final"
    CHAT = "chat"
    STT_FILES = "speech to text, recordings"
    SPEECH = "text to speech"
    SPEAKER = "speaker recognition"


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of a model; ``path`` is relative to the model's own directory."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Model:
    """A model: what it is, its files, and where each may come from, best source first."""

    name: str
    role: Role
    upstream: str
    licence: str
    files: tuple[ModelFile, ...]
    sources: tuple[Source, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)
