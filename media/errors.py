"""Why a media file is refused: one tree of errors, every message safe to show to the sender.

Tree::

    MediaError
    ├── UnreadableMedia   not a supported container, damaged, or nothing in it decodes
    ├── NoAudio           a valid container, but without an audio track
    └── MediaTooLong      more seconds of audio than are accepted
"""


class MediaError(Exception):
    """A file that cannot be used; the message says why and what to do."""


class UnreadableMedia(MediaError):
    """The file is not a supported media file, or it is damaged."""


class NoAudio(MediaError):
    """The file is valid, but has no audio."""


class MediaTooLong(MediaError):
    """The file holds more audio than is accepted."""
