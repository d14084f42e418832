"""The program that opens strangers' media: one short-lived child a file, under hard limits.

It is started by ``media.files.isolated`` with one end of a socket as its standard input, loads the
media library once and then forks for each request, which costs milliseconds instead of a start. A
request is one JSON message with the file descriptors that belong to it: the pipe for the answer,
then the files. What the forked child may use is bounded before it touches the file:

- address space, CPU seconds, the size of files it writes (none, unless it is to write one), core
  dumps, new privileges; as root it becomes ``ACCOUNT`` where it needs no file of its own;
- no environment, no other descriptor, no path: files come open.

The answer is a stream of messages, each a kind (one byte), a length (4 bytes, big-endian) and so
many bytes: ``I`` the child's pid, ``W`` a warning, ``P`` samples, ``S`` a step was taken, then
exactly one of ``R`` (the result, JSON) and ``E`` (a refusal, JSON: class, message, errno). A stream
that ends without either is that of a child that was stopped by a limit.

It ends when its owner closes the socket or dies.
"""

import ctypes
import json
import os
import resource
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Callable, Generator
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

if __name__ == "__main__":  # -I leaves the checkout out of the path
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from media.files.decode import decode, probe
from media.files.limits import MediaError, MediaLimits
from media.files.mux import replace_audio

HEADER = struct.Struct(">cI")
MOST_FILES = 4
REQUEST_BYTES = 4_096
MEMORY_BYTES = 768 * 1024 * 1024
"""Address space beyond what the library takes by itself. The largest frame that the library may
ask for (media.files.source) is a sixth of it."""
ACCOUNT = 65_533
"""User and group id that root gives up its own for; it owns nothing, not even Blab's databases."""
_PR_SET_NO_NEW_PRIVS = 38


def serve(owner: socket.socket) -> None:
    """Answer requests until the owner is gone."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children need no burial
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the owner decides what Ctrl-C means
    while True:
        request, files, _, _ = socket.recv_fds(owner, REQUEST_BYTES, MOST_FILES)
        if not request:
            return
        if os.fork() == 0:
            owner.close()
            owner.close()
            _answer(json.loads(request), files)
        for file in files:
            os.close(file)


def _answer(request: dict[str, Any], files: list[int]) -> None:
    """Carry one request out in this process, which ends with it."""
    out = Messages(files[0])
    try:
        out.send(b"I", str(os.getpid()).encode())
        confine(request["cpuSeconds"], request["fileBytes"], out)
        opened: list[BinaryIO] = [os.fdopen(file, "rb") for file in files[1:]]
        result = OPERATIONS[request["operation"]](request, opened, out)
        out.send(b"R", json.dumps(result).encode())
    except (MediaError, OSError) as error:
        refusal = [type(error).__name__, str(error), getattr(error, "errno", None)]
        out.send(b"E", json.dumps(refusal).encode())
    except Exception:  # noqa: BLE001 - the process's edge: its owner sees that there is no result
        traceback.print_exc()
    finally:
        os._exit(0)


def confine(cpu_seconds: int, file_bytes: int, out: "Messages") -> None:
    """Give up what the operation does not need; not to be undone."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    for limit, most in (
        (resource.RLIMIT_AS, used + MEMORY_BYTES),
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (most, most))
    ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if os.geteuid() == 0 and not file_bytes:
        try:
            os.setgroups([])
            os.setresgid(ACCOUNT, ACCOUNT, ACCOUNT)
            os.setresuid(ACCOUNT, ACCOUNT, ACCOUNT)
        except OSError as error:
            out.send(b"W", f"root's account could not be given up: {error.strerror}".encode())


class Messages:
    """The answer's stream, on its writing side."""

    def __init__(self, pipe: int) -> None:
        self._pipe = os.fdopen(pipe, "wb", buffering=0)

    def send(self, kind: bytes, body: bytes = b"") -> None:
        """Write one message; SIGPIPE ends the process if nothing reads."""
        message = memoryview(HEADER.pack(kind, len(body)) + body)
        while message:
            message = message[self._pipe.write(message) or 0 :]


def _decode(request: dict[str, Any], files: list[BinaryIO], out: Messages) -> None:
    for piece in decode(files[0], request["rate"], MediaLimits(request["maxSeconds"])):
        out.send(b"P", piece)


def _probe(request: dict[str, Any], files: list[BinaryIO], _out: Messages) -> dict[str, Any]:
    return asdict(probe(files[0], MediaLimits(request["maxSeconds"])))


def _replace_audio(request: dict[str, Any], files: list[BinaryIO], out: Messages) -> dict[str, Any]:
    steps: Generator[None, None, Any] = replace_audio(
        files[0], files[1], request["rate"], Path(request["target"])
    )
    while True:
        try:
            next(steps)
        except StopIteration as ended:
            return asdict(ended.value)
        out.send(b"S")


OPERATIONS: dict[str, Callable[[dict[str, Any], list[BinaryIO], Messages], Any]] = {
    "decode": _decode,
    "probe": _probe,
    "replace_audio": _replace_audio,
}


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    serve(socket.socket(fileno=sys.stdin.fileno()))
