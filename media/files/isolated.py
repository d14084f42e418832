"""Strangers' media, opened in a separate process: the same functions as ``decode``, ``probe`` and
``replace_audio``, behind a second wall.

Files from the API are read by a large C library. The damage that a fault in it could do is bounded
by the limits of a child process (``media.files.decoder_process``): memory, CPU time, files, time.
One process per server holds the loaded library and forks a child for every file.

Rules
- Blocking; use from a thread. A child whose output is no longer read ends by itself or is killed.
- If a child hits a limit, or shows no sign of life for ``STALL_SECONDS``, its file is unreadable:
  UnreadableMedia, never a hang, never the server's memory.
"""

import atexit
import contextlib
import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from threading import Lock
from typing import Any

from media.formats import HEARING_RATE

from .decode import MediaInfo
from .decoder_process import HEADER
from .limits import DEFAULT_LIMITS, MediaError, MediaLimits, MediaTooLong, NoAudio, UnreadableMedia
from .mux import Muxed

log = logging.getLogger(__name__)

ATTEMPTS = 2
"""The process may have died since it was last used."""
STALL_SECONDS = 30.0
"""Between two signs of life: a second of decoded audio takes milliseconds."""
_CPU_SECONDS = 30
_CPU_SHARE = 0.02
"""CPU seconds that a second of audio may cost on top: honest files take a thousandth."""
_REFUSALS: dict[str, type[MediaError]] = {
    kind.__name__: kind for kind in (MediaError, UnreadableMedia, NoAudio, MediaTooLong)
}
"""By the name that the child writes."""
_PROGRAM = Path(__file__).with_name("decoder_process.py")
_MUX_ROOM = 64 * 1024 * 1024
_LIMIT = (
    "The file could not be decoded within the memory and time that a file may take: it is damaged."
)


def decode(
    path: Path, rate: int = HEARING_RATE, limits: MediaLimits = DEFAULT_LIMITS
) -> Generator[bytes, None, None]:
    """PCM16 mono at ``rate`` Hz, in pieces of about a second, as ``media.files.decode`` gives them.

    Raises the MediaError family and OSError."""
    request = {"operation": "decode", "rate": rate, **_bounds(limits)}
    with path.open("rb") as file:
        answer = _DECODER.ask(request, [file.fileno()])
        with contextlib.closing(answer) as messages:
            for kind, body in messages:
                if kind == b"P":
                    yield body


def probe(path: Path, limits: MediaLimits = DEFAULT_LIMITS) -> MediaInfo:
    """What the file at ``path`` is, as ``media.files.decode`` finds it."""
    with path.open("rb") as file:
        result = _result(_DECODER.ask({"operation": "probe", **_bounds(limits)}, [file.fileno()]))
    return MediaInfo(**result)


def replace_audio(source: Path, pcm: Path, rate: int, target: Path) -> Generator[None, None, Muxed]:
    """A video with another sound track, as ``media.files.mux`` makes it."""
    request = {
        "operation": "replace_audio",
        "rate": rate,
        "target": str(target),
        "cpuSeconds": _CPU_SECONDS + int(_CPU_SHARE * pcm.stat().st_size / (2 * rate)),
        "fileBytes": source.stat().st_size + pcm.stat().st_size + _MUX_ROOM,
    }
    with source.open("rb") as video, pcm.open("rb") as sound:
        answer = _DECODER.ask(request, [video.fileno(), sound.fileno()])
        with contextlib.closing(answer) as messages:
            for kind, body in messages:
                if kind == b"S":
                    yield
                elif kind == b"R":
                    return Muxed(**json.loads(body))
    raise UnreadableMedia(_LIMIT)


def _bounds(limits: MediaLimits) -> dict[str, Any]:
    cpu = _CPU_SECONDS + int(_CPU_SHARE * limits.max_seconds)
    return {"maxSeconds": limits.max_seconds, "cpuSeconds": cpu, "fileBytes": 0}


def _result(answer: Generator[tuple[bytes, bytes], None, None]) -> dict[str, Any]:
    with contextlib.closing(answer) as messages:
        for kind, body in messages:
            if kind == b"R":
                result: dict[str, Any] = json.loads(body)
                return result
    raise UnreadableMedia(_LIMIT)


class _Unanswered(Exception):
    """No child has taken the request: the process died, or hangs."""


class _Decoder:
    """The process that holds the library; started when it is first needed, and again if it dies."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._warned = False

    def close(self) -> None:
        """End the process; what is being decoded fails."""
        with self._lock:
            self._end()

    def ask(
        self, request: dict[str, Any], files: list[int]
    ) -> Generator[tuple[bytes, bytes], None, None]:
        """The messages of a child that carries ``request`` out, ended by its result.

        Raises what the child refused the file with, UnreadableMedia where it was stopped, OSError
        where no child can be had."""
        for _ in range(ATTEMPTS):
            reading, writing = os.pipe()
            with os.fdopen(reading, "rb", buffering=0) as pipe:
                process = self._send(json.dumps(request).encode(), [writing, *files])
                try:
                    yield from self._messages(pipe.fileno())
                except _Unanswered:
                    self._forget(process)
                else:
                    return
        raise OSError("The process that decodes media does not answer.")

    def _send(self, request: bytes, files: list[int]) -> subprocess.Popen[bytes] | None:
        """Hand the request over; the writing end of the answer's pipe, which comes first, is closed
        here. Returns the process that has it now."""
        with self._lock, contextlib.ExitStack() as closing:
            closing.callback(os.close, files[0])
            running, process = self._running()
            # one that has just died is found out by its silence
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                socket.send_fds(running, [request], files)
            return process

    def _running(self) -> tuple[socket.socket, subprocess.Popen[bytes]]:
        if self._socket is None or self._process is None or self._process.poll() is not None:
            self._end()
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", str(_PROGRAM)],
                    stdin=theirs.fileno(),
                    env={"OPENBLAS_NUM_THREADS": "1"},
                    start_new_session=True,
                )
            self._socket = ours
        return self._socket, self._process

    def _forget(self, process: subprocess.Popen[bytes] | None) -> None:
        """End ``process``, which did not answer, unless that has been done."""
        with self._lock:
            if process is self._process:
                self._end()

    def _end(self) -> None:
        ours, process = self._socket, self._process
        self._socket = self._process = None
        if ours is not None:
            ours.close()
        if process is not None:
            process.kill()
            process.wait()

    def _messages(self, pipe: int) -> Generator[tuple[bytes, bytes], None, None]:
        child = 0
        ended = False
        try:
            for kind, body in _read_messages(pipe):
                if kind == b"I":
                    child = int(body)
                elif kind == b"W":
                    self._warn(body.decode())
                elif kind == b"E":
                    ended = True
                    raise _refusal(*json.loads(body))
                else:
                    ended = kind == b"R"
                    yield kind, body
                    if ended:
                        return
            ended = True  # by a limit
            if not child:
                raise _Unanswered
            raise UnreadableMedia(_LIMIT)
        except TimeoutError as error:
            raise UnreadableMedia(_LIMIT) if child else _Unanswered from error
        finally:
            if child and not ended:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)

    def _warn(self, message: str) -> None:
        if not self._warned:
            self._warned = True
            log.warning("media are decoded with less protection: %s", message)


def _read_messages(pipe: int) -> Iterator[tuple[bytes, bytes]]:
    """The messages until the stream ends; raises TimeoutError if it stalls."""
    held = bytearray()
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    while True:
        while len(held) >= HEADER.size:
            kind, size = HEADER.unpack_from(held)
            whole = HEADER.size + size
            if len(held) < whole:
                break
            yield kind, bytes(held[HEADER.size : whole])
            del held[:whole]
        if not poll.poll(STALL_SECONDS * 1000):
            raise TimeoutError
        piece = os.read(pipe, 1 << 20)
        if not piece:
            return
        held += piece


def _refusal(name: str, message: str, number: int | None) -> MediaError | OSError:
    kind = _REFUSALS.get(name)
    return kind(message) if kind is not None else OSError(number or 0, message)


_DECODER = _Decoder()
atexit.register(_DECODER.close)
