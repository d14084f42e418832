"""The speaker encoder on readers, and its checkpoint format, built by hand without torch."""

import io
import itertools
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

from pipelines.engines.cloning.speaker_encoder import (
    MAGIC,
    SpeakerEncoder,
    UnreadableCheckpoint,
    read_tensors,
    similarity,
    voiced,
)

WEIGHTS = np.arange(6, dtype="<f4").reshape(2, 3)


class Named:
    """Pickled as the global ``module.name``."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


class Tensor:
    def __init__(self, key: str, array: npt.NDArray[np.float32], stride: tuple[int, ...]) -> None:
        self.key, self.array, self.stride = key, array, stride


PICKLER: Any = pickle._Pickler
"""The one in Python, whose methods may be replaced."""


class Pickler(PICKLER):  # type: ignore[misc]
    """Writes globals that are not there to be imported."""

    dispatch = PICKLER.dispatch.copy()

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


def test_no_code_in_a_checkpoint_is_run(tmp_path: Path) -> None:
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
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(UnreadableCheckpoint):
        read(tmp_path, content)


Load = Callable[[str], bytes]

READER = ("lv_0870", "lv_0890", "lv_0920")
JOE = ("joe_q_book", "joe_number", "joe_q_internet")


@pytest.fixture(scope="module")
def encoder(models_dir: Path) -> SpeakerEncoder:
    return SpeakerEncoder.load(models_dir / "speaker-encoder" / "pretrained.pt")


def test_speakers_are_distinguished(encoder: SpeakerEncoder, audio: Load) -> None:
    heard = {name: encoder.embed(audio(name)) for name in (*READER, *JOE)}
    for embedding in heard.values():
        assert embedding.shape == (256,)
        assert embedding.min() >= 0
        assert np.linalg.norm(embedding) == pytest.approx(1.0, abs=1e-5)
    same = [
        similarity(heard[one], heard[other])
        for speaker in (READER, JOE)
        for one, other in itertools.combinations(speaker, 2)
    ]
    strangers = [similarity(heard[one], heard[other]) for one in READER for other in JOE]
    assert min(same) > 0.8
    assert max(strangers) < 0.65


def test_halves_of_a_recording_are_alike(encoder: SpeakerEncoder, audio: Load) -> None:
    pcm = audio("lv_0870")
    middle = len(pcm) // 4 * 2
    assert similarity(encoder.embed(pcm[:middle]), encoder.embed(pcm[middle:])) > 0.8


def test_silence_and_level_matter_little(encoder: SpeakerEncoder, audio: Load) -> None:
    pcm = audio("lv_0930")
    quiet = (np.frombuffer(pcm, "<i2") // 8).astype("<i2").tobytes()
    spread = bytes(64_000) + quiet + bytes(64_000)
    assert similarity(encoder.embed(pcm), encoder.embed(spread)) > 0.95
    assert len(voiced(spread)) < len(spread) // 2 - 48_000


@pytest.mark.parametrize("pcm", [b"", bytes(100), bytes(64_000)])
def test_without_speech_there_is_no_voice(encoder: SpeakerEncoder, pcm: bytes) -> None:
    with pytest.raises(ValueError, match="no speech"):
        encoder.embed(pcm)
