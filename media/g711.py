"""G.711 µ-law and A-law (ITU-T G.711) to and from PCM16, by table.

One byte per sample, always at 8 kHz. Every byte decodes and every sample encodes. A byte that is
decoded and encoded again stays the same, except for µ-law's negative zero, which becomes the
positive one, 0xFF.
"""

import numpy as np
import numpy.typing as npt

RATE = 8_000
ULAW_SILENCE = 0xFF
ALAW_SILENCE = 0xD5

_ULAW_BIAS = 0x84
_ULAW_CLIP = 32_635


def decode_ulaw(payload: bytes | memoryview) -> bytes:
    """µ-law bytes to PCM16 (twice as many bytes)."""
    return _ULAW_TO_PCM[np.frombuffer(payload, np.uint8)].tobytes()


def decode_alaw(payload: bytes | memoryview) -> bytes:
    """A-law bytes to PCM16 (twice as many bytes)."""
    return _ALAW_TO_PCM[np.frombuffer(payload, np.uint8)].tobytes()


def encode_ulaw(pcm: bytes | memoryview) -> bytes:
    """PCM16 to µ-law bytes; raises ValueError for an odd number of bytes."""
    return _PCM_TO_ULAW[_samples(pcm)].tobytes()


def encode_alaw(pcm: bytes | memoryview) -> bytes:
    """PCM16 to A-law bytes; raises ValueError for an odd number of bytes."""
    return _PCM_TO_ALAW[_samples(pcm)].tobytes()


def _samples(pcm: bytes | memoryview) -> npt.NDArray[np.uint16]:
    if len(pcm) % 2:
        raise ValueError(f"{len(pcm)} bytes are not whole PCM16 samples: send an even number")
    return np.frombuffer(pcm, "<u2")


def _ulaw_decoder() -> npt.NDArray[np.int16]:
    code = ~np.arange(256, dtype=np.uint8)
    exponent = (code.astype(np.int32) >> 4) & 7
    mantissa = code.astype(np.int32) & 15
    magnitude = (((mantissa << 3) + _ULAW_BIAS) << exponent) - _ULAW_BIAS
    return np.where(code & 0x80, -magnitude, magnitude).astype("<i2")


def _ulaw_encoder() -> npt.NDArray[np.uint8]:
    sample = np.arange(65_536, dtype=np.uint16).view(np.int16).astype(np.int32)
    magnitude = np.minimum(np.abs(sample), _ULAW_CLIP) + _ULAW_BIAS
    exponent = np.floor(np.log2(magnitude)).astype(np.int32) - 7
    mantissa = (magnitude >> (exponent + 3)) & 15
    sign = np.where(sample < 0, 0x80, 0)
    code: npt.NDArray[np.int32] = ~(sign | exponent << 4 | mantissa) & 0xFF
    return code.astype(np.uint8)


def _alaw_decoder() -> npt.NDArray[np.int16]:
    code = np.arange(256, dtype=np.int32) ^ 0x55
    exponent = (code >> 4) & 7
    mantissa = code & 15
    step = (mantissa << 4) + 8
    magnitude = np.where(exponent > 0, (step + 0x100) << np.maximum(exponent - 1, 0), step)
    return np.where(code & 0x80, magnitude, -magnitude).astype("<i2")


def _alaw_encoder() -> npt.NDArray[np.uint8]:
    sample = np.arange(65_536, dtype=np.uint16).view(np.int16).astype(np.int32)
    magnitude = np.where(sample < 0, -sample - 1, sample) >> 4
    exponent = np.maximum(np.floor(np.log2(np.maximum(magnitude, 1))).astype(np.int32) - 3, 0)
    exponent_bits = np.where(magnitude < 16, 0, exponent)
    mantissa = (magnitude >> np.maximum(exponent_bits - 1, 0)) & 15
    sign = np.where(sample < 0, 0, 0x80)
    code: npt.NDArray[np.int32] = (sign | exponent_bits << 4 | mantissa) ^ 0x55
    return code.astype(np.uint8)


_ULAW_TO_PCM = _ulaw_decoder()
_ALAW_TO_PCM = _alaw_decoder()
_PCM_TO_ULAW = _ulaw_encoder()
_PCM_TO_ALAW = _alaw_encoder()
