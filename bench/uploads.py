"""Large and hostile uploads to ``POST /api/stt``, and the server's memory during them:

    python -m bench.uploads [--mebibytes 2047]

A recording of the given size (hours over the limit), one byte over the size limit, a FLAC whose
silence decodes to hours, a playlist and a concatenation script named .wav, a truncated file and a
video without sound. Prints the status and reason of each, MiB/s, and the peak growth of the memory
of the server and its children (PSS).
"""

import argparse
import asyncio
import io
import json
import os
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import av
import numpy as np

from bench.figures import machine
from bench.rest import new_key
from bench.server import server
from bench.start_and_memory import memory_mib
from gateway.settings import Settings
from media.files.encode import wave_header

MIB = 2**20
RATE = 16_000


async def recording(size: int) -> AsyncIterator[bytes]:
    """A WAV of ``size`` bytes: noise, generated while it is sent."""
    head = wave_header(RATE, (size - 44) // 2)
    yield head
    block = np.random.default_rng(1).integers(-3000, 3000, MIB // 2, np.int16).tobytes()
    left = size - len(head)
    while left > 0:
        yield block[: min(left, len(block))]
        left -= len(block)


def bomb(hours: float = 12) -> bytes:
    """A FLAC of silence: a few MiB that decode to hours."""
    target = io.BytesIO()
    with av.open(target, "w", format="flac") as container:
        stream = container.add_stream("flac", rate=48_000, layout="mono")
        silence = np.zeros((1, 48_000), np.int16)
        for _ in range(int(hours * 3600)):
            frame = av.AudioFrame.from_ndarray(silence, format="s16", layout="mono")
            frame.sample_rate = 48_000
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return target.getvalue()


def mute_video() -> bytes:
    """An MP4 with pictures and no sound."""
    target = io.BytesIO()
    with av.open(target, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=25, width=64, height=64, pix_fmt="yuv420p")
        for _ in range(25):
            frame = av.VideoFrame.from_ndarray(np.zeros((96, 64), np.uint8), format="yuv420p")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return target.getvalue()


class Uploads:
    """Sends files and watches the server."""

    def __init__(self, url: str, key: str, pid: int) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {key}"}
        self._pid = pid

    async def send(self, name: str, data: bytes | AsyncIterator[bytes], size: int) -> None:
        """Upload one file and print its row."""
        before = memory_mib(self._pid)
        most = before
        began = time.monotonic()
        answered = asyncio.create_task(self._post(name, data))
        while not answered.done():
            await asyncio.wait({answered}, timeout=0.1)
            most = max(most, await asyncio.to_thread(memory_mib, self._pid))
        status, reason = await answered
        seconds = time.monotonic() - began
        mib, grown = size / MIB, most - before
        rate = mib / seconds
        print(
            f"| {name} | {mib:.1f} | {status} | {reason} | {rate:.0f} | {grown:.0f} |", flush=True
        )

    async def _post(self, name: str, data: bytes | AsyncIterator[bytes]) -> tuple[int, str]:
        form = aiohttp.FormData()
        form.add_field("file", data, filename=f"{name}.wav", content_type="audio/wav")
        timeout = aiohttp.ClientTimeout(total=600)
        async with aiohttp.ClientSession(headers=self._headers, timeout=timeout) as http:
            try:
                async with http.post(f"{self._url}/api/stt", data=form) as answer:
                    body = json.loads(await answer.text())
            except aiohttp.ClientConnectionError:
                return 0, "the server closed the connection"
        if body["ok"]:
            return answer.status, "accepted"
        details = body["error"]["details"] or {}
        return answer.status, f"{body['error']['code']} {details.get('reason', '')}".strip()


async def measure(mebibytes: int) -> None:
    """Print the table."""
    print(machine(), flush=True)
    async with server(None) as (url, pid):
        assert pid is not None
        uploads = Uploads(url, await asyncio.to_thread(new_key), pid)
        print("| file | MiB | status | answer | MiB/s | memory grew by, MiB |")
        print("|---|---|---|---|---|---|")
        size = mebibytes * MIB
        await uploads.send("large", recording(size), size)
        over = 2048 * MIB + 1
        await uploads.send("over-the-limit", recording(over), over)
        flac = await asyncio.to_thread(bomb)
        playlist = b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n"
        script = b"ffconcat version 1.0\nfile /etc/passwd\n"
        whole = (Path("tests/audio") / "lv_0930.wav").read_bytes()
        for name, data in {
            "bomb": flac,
            "playlist": playlist,
            "concat": script,
            "truncated-head": whole[:30],
            "truncated-body": whole[:40_000],
            "mute-video": await asyncio.to_thread(mute_video),
        }.items():
            await uploads.send(name, data, len(data))


def main() -> None:
    """Measure, in a separate data directory, without workers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mebibytes", type=int, default=2047)
    options = parser.parse_args()
    models = Settings.read(os.environ).models_dir
    with tempfile.TemporaryDirectory(prefix="blab-bench-", dir="/tmp") as made:
        Path(made).chmod(0o711)
        os.environ |= {
            "BLAB_DATA_DIR": made, "BLAB_MODELS_DIR": str(models), "BLAB_WORKERS": "0",
        }  # fmt: skip
        asyncio.run(measure(options.mebibytes))


if __name__ == "__main__":
    main()
