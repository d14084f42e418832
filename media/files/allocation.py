"""A bound on what the media library takes from memory at once.

Some of its demuxers believe the lengths that a file declares: a WAV file of a kilobyte can ask for
two gigabytes. The library has a limit for a single block, for the whole process; PyAV does not
reach it, so it is set by the C API (``av_max_alloc``).
"""

import ctypes
import ctypes.util
from functools import cache
from pathlib import Path

import av

MAX_BLOCK_BYTES = 128 * 1024 * 1024
"""A frame of raw 8K video, or the index of a day's recording, is less."""


@cache
def bound_allocations() -> None:
    """Set the limit; harmless when repeated. OSError where the library is not to be found."""
    package = Path(av.__file__).parent
    shipped = sorted(
        path
        for folder in (package.parent / "av.libs", package / ".dylibs")
        for path in folder.glob("*avutil*")
    )
    name = str(shipped[0]) if shipped else ctypes.util.find_library("avutil")
    if name is None:
        raise OSError("no libavutil in the av package: install av from its wheel")
    limit = ctypes.CDLL(name).av_max_alloc
    limit.restype, limit.argtypes = None, [ctypes.c_size_t]
    limit(MAX_BLOCK_BYTES)
