"""Recordings that were sent: checked before anything is begun with them, and read as speech.

The samples of voices, the turns of agents and the media of jobs come in here.
"""

import asyncio
from pathlib import Path
from typing import Any

from msgspec import Struct

from media.files.decode import MediaInfo
from media.files.encode import Encoder
from media.files.isolated import decode, probe
from media.files.limits import MediaError, MediaLimits, MediaTooLong, NoAudio, UnreadableMedia
from media.files.sample_check import SampleCheck, SampleRefused, SampleReport
from media.formats import HEARING_RATE
from media.vad import WINDOW_BYTES, SileroModel, VoiceDetector, speech_parts
from pipelines.clone import SAMPLE_SECONDS
from pipelines.engines.base import ModelUnavailable
from pipelines.engines.catalogue import Catalogue
from pipelines.jobs.artifacts import Artifacts
from rest.http.errors import Unavailable, ValidationFailed
from rest.http.uploads import Upload
from sessions.recorded_channel import OUTPUT_RATE


async def checked_media(path: Path, limits: MediaLimits) -> MediaInfo:
    """What the file contains; raises ValidationFailed, with a reason for programs, where it has no
    audio that can be read."""
    try:
        return await asyncio.to_thread(probe, path, limits)
    except UnreadableMedia as error:
        raise ValidationFailed(str(error), param="file", reason="unreadable_media") from error
    except NoAudio as error:
        raise ValidationFailed(str(error), param="file", reason="no_audio") from error
    except MediaTooLong as error:
        raise ValidationFailed(str(error), param="file", reason="media_too_long") from error


KIND = "sample"
LIMITS = MediaLimits(SAMPLE_SECONDS)


class SampleView(Struct, rename="camel", kw_only=True):
    """A sample that was taken in. ``storage_key`` is what a clone names; lengths in ms, levels in
    dB: ``level_db`` of the speech against full scale, ``contrast_db`` of it against its pauses;
    ``clipped``: the share of it that is at full scale."""

    storage_key: str
    filename: str
    content_type: str
    duration_ms: int
    speech_ms: int
    level_db: float
    contrast_db: float
    clipped: float
    model: str | None = None
    language: str | None = None
    label: str | None = None


class VoiceSamples:
    """Checks and stores samples of voices."""

    def __init__(self, artifacts: Artifacts, engines: Catalogue) -> None:
        self._artifacts = artifacts
        self._engines = engines

    async def take_in(self, workspace_id: str, upload: Upload) -> SampleView:
        """The clip, stored; raises ValidationFailed with a reason, or Unavailable."""
        info = await checked_media(upload.path, LIMITS)
        try:
            report = await asyncio.to_thread(_measured, upload.path, self._engines.vad_model)
        except ModelUnavailable as error:
            raise Unavailable(str(error), retry_after=5) from error
        except SampleRefused as error:
            raise ValidationFailed(str(error), param="file", reason=error.reason) from error
        except MediaError as error:
            raise ValidationFailed(str(error), param="file", reason="unreadable_media") from error
        texts = {"model": upload.model, "language": upload.language, "label": upload.label}
        key = await self._artifacts.take_in(
            workspace_id,
            KIND,
            upload.path,
            content_type=info.content_type,
            filename=upload.filename,
            duration_ms=report.duration_ms,
            details=_details(report) | {name: text for name, text in texts.items() if text},
        )
        return SampleView(
            storage_key=key,
            filename=upload.filename,
            content_type=info.content_type,
            duration_ms=report.duration_ms,
            speech_ms=report.speech_ms,
            level_db=report.level_db,
            contrast_db=report.contrast_db,
            clipped=report.clipped,
            **texts,
        )


def _measured(path: Path, model: SileroModel) -> SampleReport:
    check = SampleCheck(model)
    for piece in decode(path, HEARING_RATE, LIMITS):
        check.push(piece)
    return check.finish()


def _details(report: SampleReport) -> dict[str, Any]:
    return {
        "speechMs": report.speech_ms,
        "levelDb": report.level_db,
        "contrastDb": report.contrast_db,
        "clipped": report.clipped,
    }


RECORDING_SECONDS = 180
"""The longest recording that is one turn."""
FORMAT = "mp3"

_VOICE = 0.5


def read_speech(path: Path, model: SileroModel) -> list[bytes]:
    """The parts of the recording that contain speech, at HEARING_RATE. Blocks.

    Raises ValidationFailed where it cannot be read, is too long or holds no speech."""
    limits = MediaLimits(max_seconds=RECORDING_SECONDS)
    detector = VoiceDetector(model)
    pcm = bytearray()
    voiced: list[bool] = []
    try:
        for piece in decode(path, HEARING_RATE, limits):
            pcm += piece
            voiced += [probability >= _VOICE for probability in detector.windows(piece)]
    except MediaError as error:
        raise ValidationFailed(str(error), param="file", reason="unreadable_audio") from error
    parts = [bytes(pcm[a * WINDOW_BYTES : b * WINDOW_BYTES]) for a, b in speech_parts(voiced)]
    if not parts:
        raise no_speech()
    return parts


def encode_reply(pcm: bytes | bytearray) -> bytes:
    """The reply, PCM16 mono at OUTPUT_RATE, as a file of FORMAT. Blocks."""
    made = Encoder(FORMAT, OUTPUT_RATE)
    return made.push(bytes(pcm)) + made.finish()


def no_speech() -> ValidationFailed:
    """The refusal of a recording without speech."""
    return ValidationFailed(
        "No speech was found in the recording: send one in which somebody speaks.",
        param="file",
        reason="no_speech",
    )
