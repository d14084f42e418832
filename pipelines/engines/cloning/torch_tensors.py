"""Tensors out of a checkpoint that torch wrote, read without torch.

Format (torch.save before 1.6): five pickles in a row (a magic number, the protocol's version,
sizes of the writing machine's types, the object, the names of its storages), then for each
storage its length in elements (int64) and its elements, little-endian.

Rules
- A pickle may name what is to be called. Only the four names below are known, none of which does
  more than hold data; anything else makes the file unreadable.
- Only contiguous float32 tensors; what the file says of their size must fit what it holds.
"""

import pickle
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

MAGIC = 0x1950A86A20F9469CFC6C
_HEADERS = 2
"""Pickles between the magic number and the object."""

Tensors = dict[str, npt.NDArray[np.float32]]


class UnreadableCheckpoint(Exception):
    """The file is no checkpoint of that format, or holds more than tensors."""


@dataclass(frozen=True, slots=True)
class _Float32:
    """Stands for torch.FloatStorage, the type of all storages here."""


@dataclass(frozen=True, slots=True)
class _Tensor:
    """A tensor whose storage has not been read yet."""

    storage: str
    offset: int
    shape: tuple[int, ...]


def _tensor(
    storage: str, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object
) -> _Tensor:
    """Stands for torch._utils._rebuild_tensor_v2."""
    expected = [int(np.prod(size[axis + 1 :])) for axis in range(len(size))]
    if list(stride) != expected:
        raise UnreadableCheckpoint("a tensor is not contiguous")
    return _Tensor(storage, offset, tuple(size))


_KNOWN: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch", "FloatStorage"): _Float32,
}


class _Reader(pickle.Unpickler):
    """Unpickles data and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """One of the known names; raises UnreadableCheckpoint."""
        try:
            return _KNOWN[module, name]
        except KeyError:
            raise UnreadableCheckpoint(f"it names {module}.{name}") from None

    def persistent_load(self, pid: Any) -> str:
        """The name of a storage."""
        kind, storage, name = pid[:3]
        if kind != "storage" or storage is not _Float32:
            raise UnreadableCheckpoint("it holds another storage than float32")
        return str(name)


def read_tensors(path: Path, member: str) -> Tensors:
    """The tensors under ``member`` of the checkpoint; raises UnreadableCheckpoint, OSError."""
    with path.open("rb") as file:
        try:
            if _Reader(file).load() != MAGIC:
                raise UnreadableCheckpoint("the magic number is missing")
            for _ in range(_HEADERS):
                _Reader(file).load()
            tensors = _Reader(file).load()[member]
            storages = _read_storages(file, path.stat().st_size)
            return {name: _filled(tensor, storages) for name, tensor in tensors.items()}
        except (pickle.UnpicklingError, EOFError, ValueError, TypeError, LookupError) as error:
            raise UnreadableCheckpoint(f"{path.name} is damaged") from error


def _read_storages(file: BinaryIO, size: int) -> Tensors:
    storages: Tensors = {}
    for name in _Reader(file).load():
        length = int.from_bytes(file.read(8), "little", signed=True)
        if not 0 <= length * 4 <= size - file.tell():
            raise UnreadableCheckpoint(f"storage {name} is cut short")
        storages[name] = np.frombuffer(file.read(length * 4), "<f4")
    return storages


def _filled(tensor: object, storages: Tensors) -> npt.NDArray[np.float32]:
    if not isinstance(tensor, _Tensor):
        raise UnreadableCheckpoint("it holds something that is no tensor")
    end = tensor.offset + int(np.prod(tensor.shape))
    flat = storages[tensor.storage][tensor.offset : end]
    return flat.reshape(tensor.shape).astype(np.float32, copy=False)
