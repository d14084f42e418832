"""What a media file can be refused for: one tree, every message fit to be shown to its sender.

Tree::

    MediaError
    ├── UnreadableMedia   no container that is read here, damaged, or nothing in it decodes
    ├── NoAudio           a sound container, without an audio track
    └── MediaTooLong      more seconds of audio than are taken
"""


class MediaError(Exception):
    """A file that cannot be used; the message says why and what to do."""


class UnreadableMedia(MediaError):
    """The file is not a media file that is read here, or it is damaged."""


class NoAudio(MediaError):
    """The file is fine, but nothing is to be heard in it."""


class MediaTooLong(MediaError):
    """The file holds more audio than is taken."""
