"""The weights of the built-in engines, by name, as ``manifest.toml`` lists them.

Each engine says which of them it reads; which are fetched follows from the engines that a
deployment uses (``pipelines.engines.startup``).
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .model import (
    Installed,
    Joined,
    Model,
    ModelFile,
    NpmPackage,
    Package,
    Pieces,
    Source,
    Url,
    UrlArchive,
    numbered_parts,
)


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
