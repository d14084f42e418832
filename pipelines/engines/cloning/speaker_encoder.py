"""SpeakerEncoder: who speaks, as a vector; the cosine of two says how alike two voices are.

Model: Resemblyzer's GE2E encoder (Apache-2.0), https://github.com/resemble-ai/Resemblyzer, after
Wan et al., "Generalized End-to-End Loss for Speaker Verification" (2018): a mel spectrogram of 40
channels (25 ms windows, 10 ms steps, power, no logarithm) through three LSTM layers of 256 cells
and a linear layer; the rectified result has length 1.

Rules
- Speech quieter than -30 dBFS is raised to it, long silences are cut, then windows of 1.6 s are
  embedded 0.77 s apart and averaged.
- Pure NumPy: one window costs some 4 ms of one core, many together less each.
- Blocking, stateless, safe to use from many threads.

The weights are a checkpoint that torch wrote, read without torch. Format (torch.save before 1.6):
five pickles in a row (a magic number, the protocol's version, sizes of the writing machine's types,
the object, the names of its storages), then for each storage its length in elements (int64) and its
elements, little-endian. A pickle may name what is to be called: only the names in ``_KNOWN`` are
accepted, none of which does more than hold data. Only contiguous float32 tensors are read, and
their declared size must fit the file.
"""

import pickle
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import webrtcvad

from media.formats import HEARING_RATE
from pipelines.engines.transcription.smart_turn import FFT_SIZE, HOP, mel_filters

MAGIC = 0x1950A86A20F9469CFC6C
_HEADERS = 2
"""Pickles between the magic number and the object."""

Floats = npt.NDArray[np.float32]
Tensors = dict[str, Floats]


class UnreadableCheckpoint(Exception):
    """The file is not a checkpoint in that format, or holds more than tensors."""


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
            raise UnreadableCheckpoint("it holds a storage other than float32")
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
        raise UnreadableCheckpoint("it holds something other than tensors")
    end = tensor.offset + int(np.prod(tensor.shape))
    flat = storages[tensor.storage][tensor.offset : end]
    return flat.reshape(tensor.shape).astype(np.float32, copy=False)


CHANNELS = 40
LAYERS = 3
CELLS = 256
WINDOW_FRAMES = 160
"""Spectrogram frames of one window (1.6 s)."""

STEP_FRAMES = 77
"""Frames from one window to the next."""

LEAST_COVERAGE = 0.75
"""Share of the last window that must hold speech for it to count."""

LOUDNESS = 10 ** (-30 / 20)
"""RMS (relative to full scale) to which quieter speech is raised."""

_VAD_FRAME = HEARING_RATE * 30 // 1000
_VAD_SMOOTHING = 8
"""Frames of 30 ms that vote together."""
_VAD_MARGIN = 3
"""Frames kept on either side of speech."""

_FILTERS = mel_filters(CHANNELS)
_HANN: Floats = np.hanning(FFT_SIZE + 1)[:-1].astype(np.float32)


class SpeakerEncoder:
    """Embeds voices; ``load`` reads the weights (17 MB, 50 ms)."""

    def __init__(self, weights: Tensors) -> None:
        self._layers = [
            (
                np.ascontiguousarray(weights[f"lstm.weight_ih_l{layer}"].T),
                np.ascontiguousarray(weights[f"lstm.weight_hh_l{layer}"].T),
                weights[f"lstm.bias_ih_l{layer}"] + weights[f"lstm.bias_hh_l{layer}"],
            )
            for layer in range(LAYERS)
        ]
        self._linear = np.ascontiguousarray(weights["linear.weight"].T)
        self._bias = weights["linear.bias"]

    @classmethod
    def load(cls, path: Path) -> "SpeakerEncoder":
        """From ``pretrained.pt``; raises UnreadableCheckpoint, OSError."""
        return cls(read_tensors(path, "model_state"))

    def embed(self, pcm: bytes) -> Floats:
        """The voice in PCM16 at HEARING_RATE, as [256] of length 1; ValueError without speech."""
        samples = voiced(pcm)
        if not len(samples):
            raise ValueError("there is no speech in it")
        mel = _mel(_padded(samples))
        starts = _starts(len(samples))
        windows = np.stack([mel[start : start + WINDOW_FRAMES] for start in starts])
        return _unit(self._forward(windows).mean(axis=0))

    def _forward(self, windows: Floats) -> Floats:
        """[windows, frames, CHANNELS] to [windows, CELLS], each of length 1."""
        sequence = windows
        for into, again, bias in self._layers:
            sequence = _lstm(sequence, into, again, bias)
        raw = np.maximum(sequence[:, -1] @ self._linear + self._bias, 0.0)
        return np.stack([_unit(row) for row in raw])


def similarity(one: Floats, other: Floats) -> float:
    """Cosine of two embeddings: same speaker about 0.9, strangers of one sex about 0.6."""
    return float(one @ other)


def voiced(pcm: bytes) -> Floats:
    """The speech in PCM16 at HEARING_RATE as -1..1, no louder than it was, long silences cut."""
    whole = len(pcm) // 2 // _VAD_FRAME * _VAD_FRAME
    samples: Floats = np.frombuffer(pcm[: whole * 2], "<i2").astype(np.float32)
    samples *= np.float32(1 / 32768)
    level = float(np.sqrt(np.mean(np.square(samples)))) if whole else 0.0
    if not level:
        return samples[:0]
    samples = np.clip(samples * np.float32(max(1.0, LOUDNESS / level)), -1.0, 1.0)
    detector = webrtcvad.Vad(3)
    frames = (samples * 32767).astype("<i2").reshape(-1, _VAD_FRAME)
    votes = [detector.is_speech(frame.tobytes(), HEARING_RATE) for frame in frames]
    smooth = np.convolve(votes, np.full(_VAD_SMOOTHING, 1 / _VAD_SMOOTHING), "same")
    speech = np.convolve(smooth > 0.5, np.ones(2 * _VAD_MARGIN + 1), "same") > 0
    return samples[np.repeat(speech[: len(frames)], _VAD_FRAME)]


def _starts(samples: int) -> range:
    """First frames of the windows over so many samples; at least one."""
    frames = samples // HOP + 1
    starts = range(0, max(1, frames - WINDOW_FRAMES + STEP_FRAMES + 1), STEP_FRAMES)
    covered = (samples - starts[-1] * HOP) / (WINDOW_FRAMES * HOP)
    return starts[:-1] if covered < LEAST_COVERAGE and len(starts) > 1 else starts


def _padded(samples: Floats) -> Floats:
    """Silence after ``samples`` so that the last window is whole."""
    last = (_starts(len(samples))[-1] + WINDOW_FRAMES) * HOP
    return np.pad(samples, (0, max(0, last - len(samples))))


def _mel(samples: Floats) -> Floats:
    """Mel power spectrogram [frames, CHANNELS]."""
    centred = np.pad(samples, FFT_SIZE // 2)
    frames = np.lib.stride_tricks.sliding_window_view(centred, FFT_SIZE)[::HOP]
    spectrum = np.fft.rfft(frames * _HANN)
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    return (power @ _FILTERS.T).astype(np.float32)


def _lstm(sequence: Floats, into: Floats, again: Floats, bias: Floats) -> Floats:
    """One layer over [windows, frames, size]: the hidden states [windows, frames, CELLS].

    Gates stand in torch's order: input, forget, cell, output."""
    windows, frames, _ = sequence.shape
    given = sequence @ into + bias
    hidden = np.zeros((windows, CELLS), np.float32)
    cell = np.zeros((windows, CELLS), np.float32)
    states = np.empty((windows, frames, CELLS), np.float32)
    for frame in range(frames):
        gates = given[:, frame] + hidden @ again
        keep = _sigmoid(gates[:, CELLS : 2 * CELLS]) * cell
        cell = keep + _sigmoid(gates[:, :CELLS]) * np.tanh(gates[:, 2 * CELLS : 3 * CELLS])
        hidden = _sigmoid(gates[:, 3 * CELLS :]) * np.tanh(cell)
        states[:, frame] = hidden
    return states


def _sigmoid(values: Floats) -> Floats:
    half = np.float32(0.5)
    squashed: Floats = half * np.tanh(half * values) + half
    return squashed


def _unit(vector: Floats) -> Floats:
    return vector / max(float(np.linalg.norm(vector)), 1e-9)
