"""The audio of a turn: the caller's recording as a session hears it, the reply as a file.

All of it blocks: call it in a thread.
"""

from pathlib import Path

from media.errors import MediaError
from media.files.isolated import decode
from media.files.limits import MediaLimits
from media.formats import HEARING_RATE
from media.silero import SileroModel
from media.speech_parts import speech_parts
from media.vad import WINDOW_BYTES, VoiceDetector
from pipelines.speech.job import EncoderMaker
from rest.http.errors import ValidationFailed
from sessions.recorded_channel import OUTPUT_RATE

RECORDING_SECONDS = 180
"""The longest recording that is one turn."""
FORMAT = "mp3"

_VOICE = 0.5


def read_speech(path: Path, model: SileroModel) -> list[bytes]:
    """The parts of the recording in which somebody speaks, at HEARING_RATE.

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


def encode_reply(pcm: bytes | bytearray, encoder: EncoderMaker) -> bytes:
    """The reply, PCM16 mono at OUTPUT_RATE, as a file of FORMAT."""
    made = encoder(FORMAT, OUTPUT_RATE)
    return made.push(bytes(pcm)) + made.finish()


def no_speech() -> ValidationFailed:
    """Why a recording without a word is no turn."""
    return ValidationFailed(
        "No speech was found in the recording: send one in which somebody speaks.",
        param="file",
        reason="no_speech",
    )
