"""Dubbings on a real queue: scripted recognition, translation and voices over real media files."""

import asyncio
import io
from collections.abc import Generator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import msgspec
import numpy as np
import pysubs2
import pytest

from media.files.decode import decode
from media.files.limits import DEFAULT_LIMITS, MediaLimits
from media.loudness import measure
from pipelines.dubbing.job import DubbingKind, DubbingOrder
from pipelines.dubbing.track import RATE
from pipelines.engines.base import EngineFailed
from pipelines.engines.scripted.jobs import ScriptedJobEngines, scripted_job_engines, spoken
from pipelines.engines.scripted.live import Fault
from pipelines.jobs.artifacts import Artifacts
from pipelines.jobs.job import JobRun, JobStatus, JobType, NewJob, Unit
from pipelines.jobs.queue import JobQueue
from store.database import Database
from store.objects import ObjectStore
from store.tenants.jobs import Job
from store.tenants.objects import Objects
from tests.support.media_files import audio_file, audio_of, tone, video_file, video_packets
from tests.support.pipelines.job_support import new_workspace, until, working

pytestmark = pytest.mark.slow

SAID = (spoken("Good morning.", 500), spoken("How are you today?", 3000))
GERMAN = {"Good morning.": "Guten Morgen.", "How are you today?": "Wie geht es Ihnen heute?"}
BACKGROUND = 3000.0
"""Hz of what goes on behind the speech."""


class NoVoices:
    async def get(self, workspace_id: str, voice_id: str, /) -> None:
        return None


class Rig:
    """A workspace with a worker's artifacts; ``units`` are those that were booked."""

    def __init__(self, database: Database, folder: Path, workspace_id: str) -> None:
        self.database = database
        self.workspace_id = workspace_id
        self.artifacts = Artifacts(database, ObjectStore.open(folder.as_uri()))
        self.units: list[Unit] = []

    async def submit(self, content: bytes | Path, **order: Any) -> Job:
        key = await self.artifacts.take_in(
            self.workspace_id, "source", content, content_type="video/mp4", filename="film.mp4"
        )
        given = {"source_language": "en", "target_language": "de", "voice": "scripted-high"}
        made = DubbingOrder(**{"source_key": key, "file_name": "film.mp4", **given, **order})
        new = NewJob(JobType.DUBBING, msgspec.to_builtins(made))
        return await JobQueue(self.database).submit(self.workspace_id, new)

    async def run(
        self, job: Job, engines: ScriptedJobEngines, status: str = JobStatus.COMPLETED,
        limits: MediaLimits = DEFAULT_LIMITS,
    ) -> Job:  # fmt: skip
        kind: Any = DubbingKind(engines, NoVoices(), self.artifacts, limits)
        async with working(self.database, kind, hooks=[self.book]):
            return await until(self.database, job, status)

    async def read(self, job: Job, name: str) -> bytes:
        assert job.output is not None
        return await self.artifacts.read(self.workspace_id, job.output[name])

    async def book(self, connection: Any, ended: Sequence[tuple[Job, tuple[Unit, ...]]]) -> None:
        self.units += [unit for _, units in ended for unit in units]


@pytest.fixture
async def rig(database: Database, tmp_path: Path) -> Rig:
    return Rig(database, tmp_path / "objects", await new_workspace(database))


def level(samples: np.ndarray, frequency: float, rate: int, begin: float, end: float) -> float:
    """dB of one frequency between two moments, against a tone at full scale."""
    piece = samples[int(begin * rate) : int(end * rate)].astype(float) / 32768
    at = np.arange(len(piece)) / rate
    found = 2 * abs(np.mean(piece * np.exp(-2j * np.pi * frequency * at)))
    return float(20 * np.log10(found + 1e-9))


async def test_a_film_speaks_another_language(rig: Rig, tmp_path: Path) -> None:
    film = await asyncio.to_thread(
        lambda: video_file(tmp_path / "film.mp4", tone(6, BACKGROUND), seconds=6)
    )
    job = await rig.submit(film)
    done = await rig.run(job, scripted_job_engines(hears=SAID, translate=GERMAN))
    made = done.output
    assert made is not None
    assert made["durationMs"] == pytest.approx(6000, abs=40)
    assert (made["sourceLanguage"], made["targetLanguage"]) == ("en", "de")
    assert made["translation"] == {"model": "scripted-translator", "draft": False, "failed": 0}
    video = tmp_path / "dubbed"
    video.write_bytes(await rig.read(done, "videoKey"))
    assert video_packets(video) == video_packets(film)
    with av.open(str(video)) as file:
        assert file.format.name.startswith("mov")
        assert file.streams.audio[0].codec_context.name == "aac"
    heard = audio_of(video, 16_000)
    # under the speech the original is 18 dB lower, and the voice is there, as loud to the ear
    # (which hears 3 kHz louder than 660 Hz) as the original was
    assert level(heard, BACKGROUND, 16_000, 0.05, 0.3) == pytest.approx(-12, abs=1)
    assert level(heard, BACKGROUND, 16_000, 0.55, 0.95) == pytest.approx(-30, abs=1.5)
    assert level(heard, 660, 16_000, 0.6, 0.9) == pytest.approx(-8, abs=2)
    assert level(heard, BACKGROUND, 16_000, 1.5, 2.5) == pytest.approx(-12, abs=1)
    assert level(heard, 660, 16_000, 1.5, 2.5) < -50
    assert level(heard, 660, 16_000, 3.1, 3.9) == pytest.approx(-8, abs=2)


async def test_a_dub_has_lines_subtitles_and_a_bill(rig: Rig) -> None:
    sound = audio_file("flac", tone(6, BACKGROUND))
    engines = scripted_job_engines(hears=SAID, translate=GERMAN)
    engines.words.draft = True
    done = await rig.run(await rig.submit(sound, format="wav", allow_draft=True), engines)
    assert [(one["code"], one["path"]) for one in done.warnings] == [
        ("draft_translation", "allowDraft")
    ]
    assert done.output is not None
    assert "videoKey" not in done.output
    first, second = done.output["segments"]
    assert (first["start"], first["end"]) == (0.5, 1.0)
    assert (first["sourceText"], first["targetText"]) == ("Good morning.", "Guten Morgen.")
    assert first["draft"]
    assert (first["spokenStart"], first["tempo"]) == (0.5, 1.0)
    assert second["spokenStart"] == 3.0
    assert second["spokenEnd"] <= 6.0
    assert done.output["translation"]["draft"]
    for name, texts in (("source", SAID), ("target", GERMAN.values())):
        for format in ("srt", "vtt"):
            text = (await rig.read(done, f"{name}{format.title()}Key")).decode()
            read = pysubs2.SSAFile.from_string(text, format_=format)
            wanted = [getattr(one, "text", one) for one in texts]
            assert [event.plaintext for event in read] == wanted
    with av.open(io.BytesIO(await rig.read(done, "audioKey"))) as file:
        assert (file.format.name, file.duration) == ("wav", 6_000_000)
    characters = sum(map(len, GERMAN.values()))
    assert rig.units == [
        Unit(f"{done.id}:transcription", "stt", "scripted-file-ears", audio_ms=6000),
        Unit(f"{done.id}:translation", "translation", "scripted-translator", 31),
        Unit(f"{done.id}:speech", "tts", "blab-stable", characters, 1750),
    ]


async def test_lines_are_stretched_and_never_overlap(rig: Rig) -> None:
    said = (spoken("One.", 0), spoken("Two.", 1000), spoken("Sunday in the sun.", 3000))
    wordy = {"One.": "a b c d e", "Two.": "a b c d e f g h i j", "Sunday in the sun.": "Sonntag ja"}
    engines = scripted_job_engines(hears=said, translate=wordy)
    done = await rig.run(await rig.submit(audio_file("mp3", tone(8))), engines)
    assert done.output is not None
    lines = done.output["segments"]
    assert lines[0]["tempo"] == 1.3
    assert lines[1]["tempo"] == 1.3
    assert lines[2]["tempo"] == 0.8
    for line, following in pairwise(lines):
        assert line["spokenEnd"] < following["spokenStart"]
        assert 0 <= following["spokenStart"] - following["start"] <= 0.5
    assert lines[1]["spokenStart"] == pytest.approx(lines[0]["spokenEnd"] + 0.08, abs=0.002)
    assert done.warnings == []


async def test_a_line_without_room_keeps_the_original(rig: Rig) -> None:
    said = (spoken("One.", 0), spoken("Two.", 1000), spoken("Three.", 1300))
    wordy = {"Two.": "a b c d e f g h i j", "Three.": "c d e"}
    engines = scripted_job_engines(hears=said, translate=wordy)
    done = await rig.run(await rig.submit(audio_file("mp3", tone(8))), engines)
    assert done.output is not None
    _, second, third = done.output["segments"]
    assert second["problem"] == "it takes longer to say than there is time"
    assert "spokenStart" not in second
    assert third["spokenStart"] == 1.3
    assert done.output["translation"]["failed"] == 1
    [warning] = done.warnings
    assert warning["code"] == "not_dubbed"
    assert warning["message"].startswith("At 1.0 s the original is left (it takes longer")


async def test_a_line_that_fits_only_when_spoken_faster_is_spoken_again(rig: Rig) -> None:
    said = (spoken("One.", 0), spoken("Two.", 1000))
    engines = scripted_job_engines(hears=said, translate={"One.": "a b c d e f g h"})
    done = await rig.run(await rig.submit(audio_file("mp3", tone(8))), engines)
    assert done.output is not None
    first, second = done.output["segments"]
    assert first["tempo"] == 1.3
    assert first["spokenEnd"] == pytest.approx(8 * 0.25 / 1.2 / 1.3, abs=0.1)
    assert second["spokenStart"] - 1.0 <= 0.5
    assert done.warnings == []


async def test_a_rejected_translation_is_retried_or_left(rig: Rig) -> None:
    said = (spoken("What time do you open?", 0), spoken("I am here at 10.", 3000))
    engines = scripted_job_engines(
        hears=said,
        translate={said[0].text: "Um 9 Uhr.", said[1].text: "Ich bin um 12 da."},
    )
    engines.words.second = {said[0].text: "Wann machen Sie auf?", said[1].text: "Ich bin da."}
    done = await rig.run(await rig.submit(audio_file("mp3", tone(6))), engines)
    assert done.output is not None
    first, second = done.output["segments"]
    assert first["targetText"] == "Wann machen Sie auf?"
    assert (second["targetText"], second["problem"]) == ("", "the number 10 is lost")
    assert [one["code"] for one in done.warnings] == ["not_dubbed"]


async def test_a_dub_is_as_loud_as_its_source(rig: Rig, tmp_path: Path) -> None:
    for loud in (0.03, 0.25):
        sound = audio_file("wav", tone(6, 440, level=loud))
        job = await rig.submit(sound, format="wav")
        done = await rig.run(job, scripted_job_engines(hears=SAID, translate=GERMAN))
        assert done.output is not None
        spans = [
            (int(RATE * line["spokenStart"]), int(RATE * line["spokenEnd"]))
            for line in done.output["segments"]
        ]
        dubbed = tmp_path / "dubbed"
        dubbed.write_bytes(await rig.read(done, "audioKey"))
        (tmp_path / "source").write_bytes(sound)
        made = await asyncio.to_thread(loudness, dubbed, spans)
        wanted = await asyncio.to_thread(loudness, tmp_path / "source", spans)
        assert made == pytest.approx(wanted, abs=1)


def loudness(path: Path, spans: list[tuple[int, int]]) -> float:
    def result() -> Generator[None, None, None]:
        measured = yield from measure(decode(path, RATE), spans, RATE)
        found.append(measured.lufs)

    found: list[float | None] = []
    for _ in result():
        pass
    assert found[0] is not None
    return found[0]


async def test_a_draft_needs_consent(rig: Rig) -> None:
    engines = scripted_job_engines(hears=SAID, translate=GERMAN)
    engines.words.draft = True
    job = await rig.submit(audio_file("mp3", tone(6)), source_language=None)
    failed = await rig.run(job, engines, JobStatus.FAILED)
    assert failed.error is not None
    assert (failed.error["code"], failed.error["details"]) == (
        "MODEL_UNAVAILABLE", {"path": "targetLanguage"}
    )  # fmt: skip
    assert "from 'en' to 'de'" in failed.error["message"]
    assert failed.error["message"].endswith("send sourceLanguage if it is another.")
    assert engines.words.asked == []


async def test_the_source_language_is_detected(rig: Rig) -> None:
    engines = scripted_job_engines(hears=SAID, translate=GERMAN)
    sound = audio_file("mp3", tone(6))
    done = await rig.run(await rig.submit(sound, source_language=None), engines)
    assert done.output is not None
    assert done.output["sourceLanguage"] == "en"
    engines.ears.language = "de"
    same = await rig.run(await rig.submit(sound, source_language=None), engines, JobStatus.FAILED)
    assert same.error is not None
    assert (same.error["code"], same.error["details"]) == (
        "VALIDATION_ERROR", {"path": "targetLanguage"}
    )  # fmt: skip


async def test_one_line_that_is_not_translated_stays_as_it_was(rig: Rig) -> None:
    engines = scripted_job_engines(hears=SAID, translate=GERMAN)
    engines.words.fault = Fault(EngineFailed("too hard"), times=2)
    done = await rig.run(await rig.submit(audio_file("mp3", tone(6, BACKGROUND))), engines)
    assert done.output is not None
    assert done.output["translation"]["failed"] == 1
    first, second = done.output["segments"]
    assert (first["targetText"], first["problem"]) == ("", "too hard")
    assert "spokenStart" not in first
    assert second["targetText"] == GERMAN["How are you today?"]
    assert "problem" not in second


async def test_impossible_dubs_fail_with_the_reason(rig: Rig, tmp_path: Path) -> None:
    silent = await asyncio.to_thread(lambda: video_file(tmp_path / "silent.mp4", None))
    sound = audio_file("flac", tone(3))

    async def failure(content: bytes | Path, engines: ScriptedJobEngines, **order: Any) -> Any:
        job = await rig.submit(content, **order)
        failed = await rig.run(job, engines, JobStatus.FAILED, MediaLimits(max_seconds=5))
        assert failed.error is not None
        return failed.error["code"], failed.error["message"]

    engines = scripted_job_engines(hears=SAID)
    assert (await failure(b"#EXTM3U", engines))[1].startswith("The file is a playlist")
    assert (await failure(silent, engines))[1].startswith("There is no audio")
    long = audio_file("flac", tone(6))
    assert "more than 5 seconds" in (await failure(long, engines))[1]
    nothing = scripted_job_engines(hears=())
    assert (await failure(sound, nothing))[1] == "No speech was found in the recording."
    code, _ = await failure(sound, engines, voice="voi_gone")
    assert code == "NOT_FOUND"
    engines.words.fault = Fault(EngineFailed("the translator is out"), times=4)
    assert await failure(sound, engines) == ("PROVIDER_ERROR", "the translator is out")
    no_pair = ScriptedJobEngines(absent=frozenset({"en-de"}))
    assert (await failure(sound, no_pair))[0] == "MODEL_UNAVAILABLE"
    mute = scripted_job_engines(hears=SAID, translate=dict.fromkeys(GERMAN, "..."))
    assert (await failure(sound, mute))[0] == "PROVIDER_ERROR"


async def test_progress_moves(rig: Rig) -> None:
    told: list[int] = []

    async def tell(percent: int) -> None:
        told.append(percent)

    job = await rig.submit(audio_file("mp3", tone(6)))
    run = JobRun(job.id, rig.workspace_id, job.input, 1, tell)
    engines = scripted_job_engines(hears=SAID, translate=GERMAN)
    await DubbingKind(engines, NoVoices(), rig.artifacts).run(run)
    assert told == sorted(told)
    assert len(set(told)) >= 12
    assert (told[0] < 10, told[-1]) == (True, 99)


async def test_cancelling_stops_the_voice(rig: Rig) -> None:
    speaking, never = asyncio.Event(), asyncio.Event()

    async def hang(seconds: float) -> None:
        if seconds:
            speaking.set()
            await never.wait()

    engines = scripted_job_engines(hears=SAID, translate=GERMAN)
    engines.voice.delay, engines.voice.word_delay = hang, 1.0
    job = await rig.submit(audio_file("mp3", tone(6)))
    kind: Any = DubbingKind(engines, NoVoices(), rig.artifacts)
    loop = asyncio.get_running_loop()
    async with working(rig.database, kind, hooks=[rig.book]):
        await asyncio.wait_for(speaking.wait(), 20)
        asked = loop.time()
        await JobQueue(rig.database).cancel(rig.workspace_id, job.id)
        await until(rig.database, job, JobStatus.CANCELLED)
    assert loop.time() - asked < 1.0
    assert engines.ears.running == 0
    assert [speaker.running for speaker in engines.speakers] == [0]
    assert rig.units == []


async def test_a_second_run_replaces_the_first(rig: Rig) -> None:
    async def tell(percent: int) -> None:
        assert 0 <= percent <= 100

    job = await rig.submit(audio_file("mp3", tone(6)))
    kind = DubbingKind(
        scripted_job_engines(hears=SAID, translate=GERMAN), NoVoices(), rig.artifacts
    )
    run = JobRun(job.id, rig.workspace_id, job.input, 1, tell)
    assert await kind.run(run) == await kind.run(run)
    objects = Objects(rig.database)
    assert len(await objects.keys_of_jobs(rig.workspace_id, [job.id])) == 5
