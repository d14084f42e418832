"""What a model is: its files by sha256, its licence, and its sources in order. Pure data."""

from dataclasses import dataclass

from .sources import Source


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of a model; ``path`` is relative to the model's own directory."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model's weights: its files, and where they may come from, best source first.

    ``name`` is also that of their directory; ``upstream`` says whose model it is."""

    name: str
    files: tuple[ModelFile, ...]
    sources: tuple[Source, ...] = ()
    upstream: str = ""
    licence: str = ""

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)
