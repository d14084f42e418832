"""The ids of OpenAI's own models, which its clients send to any server (``?model=gpt-realtime``,
``gpt-4o-mini``, transcription by ``whisper-1``, speech by ``tts-1``).

An engine that really serves such an id goes first; where none does, it means the default of its
kind. Any other unknown id is an error.
"""

import re

from .engine import Role

_DATED = r"(-\d{4}(-\d{2}-\d{2})?|-latest|-preview)?"

REALTIME = re.compile(r"gpt-(4o-|4o-mini-)?realtime(-[\w.\-]+)?|gpt-audio(-[\w.\-]+)?")
TRANSCRIPTION = re.compile(
    r"whisper-1|(?!.*diarize)gpt-(4o-|4o-mini-|live-)?transcribe(-[\w.\-]+)?|gpt-realtime-whisper"
)
SPEECH = re.compile(rf"tts-1(-hd)?{_DATED}|gpt-4o-mini-tts{_DATED}")
CHAT = re.compile(
    rf"(gpt-(3\.5-turbo|4o?|4-turbo|4\.1|5(\.\d)?)(-mini|-nano)?|o[134](-mini)?){_DATED}"
)

LISTED_REALTIME = ("gpt-realtime", "gpt-realtime-mini")
LISTED_TRANSCRIPTION = ("whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe")
LISTED_SPEECH = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts")
LISTED_CHAT = ("gpt-4o", "gpt-4o-mini")
"""Those that a list of models shows; the others that the patterns match are served all the same."""

_PATTERNS = {
    Role.STREAMING_TRANSCRIPTION: (TRANSCRIPTION,),
    Role.TRANSCRIPTION: (TRANSCRIPTION,),
    Role.CHAT: (REALTIME, CHAT),
    Role.SPEECH: (SPEECH,),
}


def is_stock(role: Role, model_id: str) -> bool:
    """Whether it is the id of one of OpenAI's models of that role; a realtime model chats."""
    return any(pattern.fullmatch(model_id) for pattern in _PATTERNS.get(role, ()))
