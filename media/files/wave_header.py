"""The header of a WAV file of PCM16 mono (RIFF, 44 bytes).

Where the length is not known yet it says 0xFFFFFFFF, as streams do: players take that for
"until the end". So it must where the file is longer than RIFF can say (4 GiB).
"""

import struct

from media.formats import SAMPLE_BYTES

HEADER_BYTES = 44
_UNKNOWN = 0xFFFFFFFF


def wave_header(rate: int, samples: int | None = None) -> bytes:
    """The header for so many samples at ``rate`` Hz; None: nobody knows yet."""
    size = _UNKNOWN if samples is None else samples * SAMPLE_BYTES
    if size + HEADER_BYTES - 8 > _UNKNOWN:
        size = whole = _UNKNOWN
    else:
        whole = size + HEADER_BYTES - 8
    described = struct.pack("<HHIIHH", 1, 1, rate, rate * SAMPLE_BYTES, SAMPLE_BYTES, 16)
    return (
        struct.pack("<4sI4s4sI", b"RIFF", whole, b"WAVE", b"fmt ", len(described))
        + described
        + struct.pack("<4sI", b"data", size)
    )
