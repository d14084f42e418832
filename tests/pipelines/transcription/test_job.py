"""Transcription jobs on a real queue, with a scripted recogniser and real audio files."""

import asyncio
import io
import wave
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from media.files.decode import decode
from media.files.limits import NoAudio, UnreadableMedia
from pipelines.engines.jobs import Segment
from pipelines.engines.scripted.jobs import ScriptedJobEngines, scripted_job_engines, spoken
from pipelines.jobs.artifacts import Artifacts
from pipelines.jobs.job import JobStatus, JobType, NewJob, Unit
from pipelines.jobs.queue import JobQueue
from pipelines.transcription.job import TRANSCRIPT, Decode, SttKind, SttOrder, segments_of
from store.database import Database
from store.objects import ObjectStore
from store.tenants.jobs import Job, Jobs
from tests.support.pipelines.job_support import new_workspace, until, working

SAID = (spoken("good morning", 250), spoken("how are you", 1500))


async def decoded(path: Path) -> AsyncGenerator[bytes, None]:
    for piece in await asyncio.to_thread(lambda: list(decode(path))):
        yield piece


def wav(seconds: float, rate: int = 8000) -> bytes:
    """A file of silence."""
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(bytes(2 * int(seconds * rate)))
    return content.getvalue()


class Rig:
    """A workspace with a worker's artifacts; ``units`` are those that were booked."""

    def __init__(self, database: Database, folder: Path, workspace_id: str) -> None:
        self.database = database
        self.workspace_id = workspace_id
        self.artifacts = Artifacts(database, ObjectStore.open(folder.as_uri()))
        self.units: list[Unit] = []

    async def submit(self, content: bytes, **order: Any) -> Job:
        key = await self.artifacts.take_in(
            self.workspace_id, "upload", content, content_type="audio/wav", filename="talk.wav"
        )
        made = SttOrder(**{"source_key": key, "file_name": "talk.wav", **order})
        new = NewJob(JobType.STT, msgspec.to_builtins(made))
        return await JobQueue(self.database).submit(self.workspace_id, new)

    async def run(
        self, job: Job, engines: ScriptedJobEngines, status: str = JobStatus.COMPLETED,
        read: Decode = decoded, max_record_bytes: int = 10_000,
    ) -> Job:  # fmt: skip
        kind: Any = SttKind(engines, self.artifacts, read, max_record_bytes)
        async with working(self.database, kind, hooks=[self._book]):
            return await until(self.database, job, status)

    async def _book(self, connection: Any, ended: Sequence[tuple[Job, tuple[Unit, ...]]]) -> None:
        self.units += [unit for _, units in ended for unit in units]


@pytest.fixture
async def rig(database: Database, tmp_path: Path) -> Rig:
    return Rig(database, tmp_path / "objects", await new_workspace(database))


async def test_a_transcript_has_segments_and_word_times(rig: Rig) -> None:
    engines = scripted_job_engines(hears=SAID)
    job = await rig.submit(wav(4), label="Standup", duration_ms=4000)
    done = await rig.run(job, engines)
    assert done.output is not None
    segments = done.output.pop("segments")
    assert done.output == {
        "text": "good morning how are you",
        "language": "en",
        "durationMs": 4000,
        "model": "scripted-file-ears",
        "fileName": "talk.wav",
        "sourceKey": job.input["sourceKey"],
        "label": "Standup",
        "segmentCount": 2,
        "wordCount": 5,
    }
    assert [(one["start"], one["text"]) for one in segments] == [
        (0.25, "good morning"),
        (1.5, "how are you"),
    ]
    first = segments[0]["words"][0]
    assert first == {"word": "good", "start": 0.25, "end": 0.5, "confidence": 1.0}
    assert rig.units == [Unit(f"{job.id}:stt", "stt", "scripted-file-ears", audio_ms=4000)]


async def test_words_without_times_are_reported(rig: Rig) -> None:
    untimed = Segment(start=0, end=8000, text="good morning")
    done = await rig.run(await rig.submit(wav(4)), scripted_job_engines(hears=(*SAID, untimed)))
    [warning] = done.warnings
    assert warning["code"] == "words_untimed"
    assert "1 of 3 segments" in warning["message"]


async def test_a_long_transcript_is_an_artifact(rig: Rig) -> None:
    engines = scripted_job_engines(hears=SAID)
    short = await rig.run(await rig.submit(wav(4)), engines)
    long = await rig.run(await rig.submit(wav(4)), engines, max_record_bytes=100)
    assert short.output is not None
    assert long.output is not None
    assert long.output["transcriptKey"] == f"{rig.workspace_id}/{long.id}/{TRANSCRIPT}"
    assert "segments" not in long.output
    assert long.output["text"] == short.output["text"]
    found = [
        await segments_of(rig.artifacts, rig.workspace_id, one.output)
        for one in (short, long)
        if one.output is not None
    ]
    assert found[0] == found[1]
    assert len(found[0]) == 2


async def test_silence_is_an_empty_transcript(rig: Rig) -> None:
    done = await rig.run(await rig.submit(wav(2)), scripted_job_engines(hears=()))
    assert done.output is not None
    assert (done.output["text"], done.output["segments"]) == ("", [])
    assert done.output["durationMs"] == 2000
    assert rig.units[0].audio_ms == 2000


async def test_progress_follows_the_position_in_the_recording(rig: Rig) -> None:
    job = await rig.submit(wav(4))
    heard, go_on = asyncio.Event(), asyncio.Event()

    async def read(path: Path) -> AsyncGenerator[bytes, None]:
        for number, piece in enumerate([bytes(32_000)] * 4):
            if number == 3 and heard.is_set():
                await go_on.wait()
            yield piece
        heard.set()  # the recording's length was not known: it was counted first

    engines = scripted_job_engines(hears=())
    kind: Any = SttKind(engines, rig.artifacts, read)
    async with working(rig.database, kind):
        async with asyncio.timeout(10):
            while (now := await Jobs(rig.database).get(rig.workspace_id, job.id)) is None or (
                not now.progress
            ):
                await asyncio.sleep(0.02)
        assert now.status == JobStatus.RUNNING
        assert now.progress in (25, 50, 75)
        go_on.set()
        await until(rig.database, job, JobStatus.COMPLETED)


async def test_cancel_frees_the_engine_within_a_second(rig: Rig) -> None:
    began, never = asyncio.Event(), asyncio.Event()

    async def hang(seconds: float) -> None:
        began.set()
        await never.wait()

    engines = scripted_job_engines(hears=SAID, delay=hang)
    job = await rig.submit(wav(4), duration_ms=4000)
    kind: Any = SttKind(engines, rig.artifacts, decoded)
    async with working(rig.database, kind):
        await asyncio.wait_for(began.wait(), 10)
        now = asyncio.get_running_loop().time()
        await JobQueue(rig.database).cancel(rig.workspace_id, job.id)
        await until(rig.database, job, JobStatus.CANCELLED)
        assert asyncio.get_running_loop().time() - now < 1.0
    assert engines.ears.running == 0


@pytest.mark.parametrize(
    "error", [NoAudio("There is no audio in the file."), UnreadableMedia("It is damaged.")]
)
async def test_an_undecodable_file_fails_with_the_reason(rig: Rig, error: Exception) -> None:
    async def broken(path: Path) -> AsyncGenerator[bytes, None]:
        yield bytes(3200)
        raise error

    job = await rig.submit(wav(1), duration_ms=1000)
    failed = await rig.run(job, scripted_job_engines(), JobStatus.FAILED, broken)
    assert failed.error == {
        "code": "VALIDATION_ERROR",
        "message": str(error),
        "details": {"path": "file"},
    }
    assert failed.runs == 1


async def test_a_file_that_is_no_media(rig: Rig) -> None:
    failed = await rig.run(
        await rig.submit(b"RIFF but nothing else"), scripted_job_engines(), JobStatus.FAILED
    )
    assert failed.error is not None
    assert failed.error["code"] == "VALIDATION_ERROR"


async def test_a_missing_or_foreign_recording_fails(rig: Rig) -> None:
    theirs = Rig(rig.database, Path("/nowhere"), "")
    theirs.artifacts, theirs.workspace_id = (
        rig.artifacts,
        await new_workspace(rig.database, "other@example.com"),
    )
    key = await theirs.artifacts.take_in(
        theirs.workspace_id, "upload", wav(1), content_type="audio/wav", filename="x"
    )
    for source_key in (key, f"{rig.workspace_id}/upload/obj_absent"):
        job = await rig.submit(b"", source_key=source_key)
        failed = await rig.run(job, scripted_job_engines(), JobStatus.FAILED)
        assert failed.error == {
            "code": "NOT_FOUND",
            "message": "The recording does not exist any more.",
            "details": None,
        }


async def test_a_removed_model_fails_the_job(rig: Rig) -> None:
    engines = scripted_job_engines()
    engines.absent = frozenset({"whisper"})
    failed = await rig.run(await rig.submit(wav(1), model="whisper"), engines, JobStatus.FAILED)
    assert failed.error is not None
    assert failed.error["code"] == "MODEL_UNAVAILABLE"
