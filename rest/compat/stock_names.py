"""Model ids that OpenAI's clients bring along, each standing for what this server has.

An engine that really serves such an id goes first; where none does, it means the default of its
kind. Any other unknown id stays an error.
"""

import re

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
"""Those that a list of models shows; what else the patterns take is served all the same."""
