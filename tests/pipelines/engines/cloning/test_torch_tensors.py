"""Checkpoints as torch wrote them, made by hand: no torch is there to make or to read them."""

import io
import os
import pickle
import struct
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from pipelines.engines.cloning.torch_tensors import MAGIC, UnreadableCheckpoint, read_tensors

WEIGHTS = np.arange(6, dtype="<f4").reshape(2, 3)


class Named:
    """Pickled as the global ``module.name``."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


class Tensor:
    def __init__(self, key: str, array: npt.NDArray[np.float32], stride: tuple[int, ...]) -> None:
        self.key, self.array, self.stride = key, array, stride


class Pickler(pickle._Pickler):
    """Writes globals that are not there to be imported."""

    dispatch = pickle._Pickler.dispatch.copy()

    def persistent_id(self, obj: Any) -> Any:
        return obj if isinstance(obj, tuple) and obj[:1] == ("storage",) else None

    def save_named(self, obj: Named) -> None:
        self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())

    def save_tensor(self, obj: Tensor) -> None:
        storage = ("storage", Named("torch", "FloatStorage"), obj.key, "cpu", obj.array.size, None)
        self.save_named(Named("torch._utils", "_rebuild_tensor_v2"))
        self.save((storage, 0, obj.array.shape, obj.stride, False, OrderedDict()))
        self.write(pickle.REDUCE)

    def save_pers(self, pid: Any) -> None:
        self.write(pickle.MARK)
        for part in pid:
            self.save_named(part) if isinstance(part, Named) else self.save(part)
        self.write(pickle.TUPLE + pickle.BINPERSID)

    dispatch[Named] = save_named
    dispatch[Tensor] = save_tensor


def pickled(obj: Any) -> bytes:
    out = io.BytesIO()
    Pickler(out, protocol=2).dump(obj)
    return out.getvalue()


def checkpoint(
    saved: Any, storages: dict[str, npt.NDArray[np.float32]], magic: int = MAGIC
) -> bytes:
    heads = [pickled(magic), pickled(1001), pickled({"little_endian": True})]
    body = b"".join(struct.pack("<q", array.size) + array.tobytes() for array in storages.values())
    return b"".join([*heads, pickled(saved), pickled(list(storages)), body])


def good(stride: tuple[int, ...] = (3, 1)) -> bytes:
    saved = {"step": 7, "model_state": OrderedDict(w=Tensor("1", WEIGHTS, stride))}
    return checkpoint(saved, {"1": WEIGHTS})


def read(tmp_path: Path, content: bytes) -> dict[str, npt.NDArray[np.float32]]:
    path = tmp_path / "some.pt"
    path.write_bytes(content)
    return read_tensors(path, "model_state")


def test_tensors_are_read(tmp_path: Path) -> None:
    (name, tensor), *others = read(tmp_path, good()).items()
    assert (name, others) == ("w", [])
    assert tensor.dtype == np.float32
    assert np.array_equal(tensor, WEIGHTS)


@pytest.mark.parametrize(
    ("module", "name"), [("os", "system"), ("builtins", "eval"), ("torch", "load")]
)
def test_other_globals_are_refused(tmp_path: Path, module: str, name: str) -> None:
    content = checkpoint({"model_state": {"w": Named(module, name)}}, {})
    with pytest.raises(UnreadableCheckpoint, match=f"it names {module}.{name}"):
        read(tmp_path, content)


def test_nothing_in_it_is_run(tmp_path: Path) -> None:
    class Exploit:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
            return os.mkdir, (str(tmp_path / "made"),)

    heads = [pickle.dumps(one, 2) for one in (MAGIC, 1001, {}, {"model_state": Exploit()})]
    with pytest.raises(UnreadableCheckpoint, match=r"it names posix\.mkdir"):
        read(tmp_path, b"".join(heads))
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04 a zip",
        good()[:40],
        good()[:-5],
        good()[:-24] + struct.pack("<q", 1 << 40),
        good(stride=(1, 2)),
        checkpoint({"model_state": {}}, {}, magic=5),
        checkpoint({"other": {}}, {}),
        checkpoint({"model_state": {"w": Tensor("2", WEIGHTS, (3, 1))}}, {"1": WEIGHTS}),
        checkpoint({"model_state": {"w": Tensor("1", WEIGHTS, (3, 1))}}, {"1": WEIGHTS[:1]}),
        checkpoint({"model_state": {"w": 5}}, {}),
    ],
)
def test_what_is_no_such_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(UnreadableCheckpoint):
        read(tmp_path, content)
