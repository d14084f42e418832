"""Media in a separate process: the same results, and nothing beyond the limits."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from media.files import decode, isolated, mux
from media.files import decode as probe
from media.files.limits import MediaLimits, MediaTooLong, NoAudio, UnreadableMedia
from tests.support.media_files import audio_file, tone, video_file, video_packets
from tests.support.paths import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    path = tmp_path / "speech"
    path.write_bytes(audio_file("flac", tone(3)))
    return path


def decoder() -> int:
    """The pid of the process that holds the library."""
    process = isolated._DECODER._process
    assert process is not None
    return process.pid


def result_of(steps: Generator[None, None, mux.Muxed]) -> mux.Muxed:
    while True:
        try:
            next(steps)
        except StopIteration as ended:
            made: mux.Muxed = ended.value
            return made


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_results_match_the_direct_functions(speech: Path) -> None:
    assert b"".join(isolated.decode(speech, 8_000)) == b"".join(decode.decode(speech, 8_000))
    assert isolated.probe(speech) == probe.probe(speech)


def test_a_video_gets_its_sound(tmp_path: Path) -> None:
    source = video_file(tmp_path / "source", tone(2), seconds=2)
    pcm = tmp_path / "pcm"
    pcm.write_bytes(tone(2, 880).tobytes())
    made = {}
    for name, module in (("here", mux), ("there", isolated)):
        made[name] = result_of(module.replace_audio(source, pcm, 48_000, tmp_path / name))
    assert made["here"] == made["there"]
    assert video_packets(tmp_path / "there") == video_packets(source)


def test_refusals_match_the_direct_functions(tmp_path: Path, speech: Path) -> None:
    text = tmp_path / "text"
    text.write_bytes(b"no media at all")
    with pytest.raises(UnreadableMedia) as here:
        probe.probe(text)
    with pytest.raises(UnreadableMedia) as there:
        isolated.probe(text)
    assert str(there.value) == str(here.value)
    with pytest.raises(NoAudio):
        isolated.probe(video_file(tmp_path / "mute", None, seconds=1))
    with pytest.raises(MediaTooLong):
        list(isolated.decode(speech, limits=MediaLimits(max_seconds=1)))
    with pytest.raises(FileNotFoundError):
        isolated.probe(tmp_path / "absent")


def test_the_process_has_no_secret_in_its_environment(speech: Path) -> None:
    isolated.probe(speech)
    environment = Path(f"/proc/{decoder()}/environ").read_bytes().split(b"\0")
    assert [name.partition(b"=")[0] for name in environment if name] == [b"OPENBLAS_NUM_THREADS"]


def test_a_file_that_is_not_read_to_its_end_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "long"
    path.write_bytes(audio_file("flac", tone(120)))
    pieces = isolated.decode(path)
    next(pieces)
    assert len(children(decoder())) == 1
    pieces.close()
    deadline = time.monotonic() + 5
    while children(decoder()):
        assert time.monotonic() < deadline


def test_a_process_that_died_is_replaced(speech: Path) -> None:
    isolated.probe(speech)
    before = decoder()
    os.kill(before, signal.SIGKILL)
    assert isolated.probe(speech).container == "flac"
    assert decoder() != before


def test_a_process_that_gives_no_sign_is_replaced(
    speech: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    isolated.probe(speech)
    monkeypatch.setattr(isolated, "STALL_SECONDS", 0.1)
    before = decoder()
    os.kill(before, signal.SIGSTOP)
    monkeypatch.setattr(isolated, "ATTEMPTS", 1)
    with pytest.raises(OSError, match="does not answer"):
        isolated.probe(speech)
    monkeypatch.undo()
    assert isolated.probe(speech).container == "flac"
    assert decoder() != before


CONFINED = """
import os, sys
from media.files.decoder_process import ACCOUNT, Messages, confine
confine(1, 0, Messages(os.dup(1)))
assert os.geteuid() in (ACCOUNT, int(sys.argv[1])), os.geteuid()
try:
    bytearray(2 << 30)
except MemoryError:
    print("memory", flush=True)
try:
    os.write(os.open(sys.argv[2], os.O_WRONLY), b"x")
except OSError as error:
    print(error.strerror, flush=True)
while True:
    pass
"""


def test_a_childs_resources_are_bounded(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.touch(0o666)
    target.chmod(0o666)
    target.parent.chmod(0o755)
    account = str(os.geteuid()) if os.geteuid() else "0"
    done = subprocess.run(
        [sys.executable, "-c", CONFINED, account, str(target)],
        cwd=ROOT,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.splitlines()[0] == b"memory", done.stderr
    assert done.stdout.splitlines()[1] in (b"File too large", b"Permission denied")
    assert -done.returncode in (signal.SIGKILL, signal.SIGXCPU)
    assert not target.read_bytes()
