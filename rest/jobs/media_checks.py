"""A file that was sent, looked at before anything is begun with it."""

import asyncio
from pathlib import Path

from media.errors import MediaTooLong, NoAudio, UnreadableMedia
from media.files.isolated import probe
from media.files.limits import MediaLimits
from media.files.probe import MediaInfo
from rest.http.errors import ValidationFailed


async def checked_media(path: Path, limits: MediaLimits) -> MediaInfo:
    """What the file is; raises ValidationFailed, with a reason for programs, where there is
    nothing in it that can be heard."""
    try:
        return await asyncio.to_thread(probe, path, limits)
    except UnreadableMedia as error:
        raise ValidationFailed(str(error), param="file", reason="unreadable_media") from error
    except NoAudio as error:
        raise ValidationFailed(str(error), param="file", reason="no_audio") from error
    except MediaTooLong as error:
        raise ValidationFailed(str(error), param="file", reason="media_too_long") from error
