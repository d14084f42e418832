"""Samples of voices: a clip is taken in only if a voice can be made after it."""

import asyncio
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct

from media.errors import MediaError
from media.files.isolated import decode
from media.files.limits import MediaLimits
from media.files.sample_check import SampleCheck, SampleRefused, SampleReport
from media.formats import HEARING_RATE
from media.silero import SileroModel
from pipelines.clone import SAMPLE_SECONDS
from pipelines.engines.base import ModelUnavailable
from pipelines.jobs.artifacts import Artifacts
from rest.http.errors import Unavailable, ValidationFailed
from rest.http.uploads import Upload
from rest.jobs.media_checks import checked_media

KIND = "sample"
LIMITS = MediaLimits(SAMPLE_SECONDS)


class VoiceDetection(Protocol):
    """Who knows the network that tells speech from other sound."""

    @property
    def vad_model(self) -> SileroModel:
        """Raises ModelUnavailable while it is not loaded."""
        ...


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
    """Checks and keeps samples."""

    def __init__(self, artifacts: Artifacts, detection: VoiceDetection) -> None:
        self._artifacts = artifacts
        self._detection = detection

    async def take_in(self, workspace_id: str, upload: Upload) -> SampleView:
        """The clip, stored; raises ValidationFailed with a reason, and Unavailable."""
        info = await checked_media(upload.path, LIMITS)
        try:
            report = await asyncio.to_thread(_measured, upload.path, self._detection.vad_model)
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
