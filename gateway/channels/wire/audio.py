"""Audio as it stands on the wire: base64 in JSON events or raw, to and from PCM16."""

import binascii
from typing import Any

from media import g711
from media.formats import SAMPLE_BYTES, AudioFormat, Encoding
from sessions.channel import ClientFault

BASE64_SLICE = 256 * 1024
"""Characters of base64 decoded at a stretch (below 1 ms); a multiple of 4."""


def append_payload(message: dict[str, Any]) -> str:
    """The base64 text of an input_audio_buffer.append; raises ClientFault."""
    audio = message.get("audio")
    if audio is None:
        raise ClientFault(
            "missing_required_parameter", "Missing required parameter 'audio'.", param="audio"
        )
    if not isinstance(audio, str):
        raise ClientFault(
            "invalid_type", "'audio' must be a string of base64 characters.", param="audio"
        )
    return audio


def decode_slice(text: str, *, last: bool) -> bytes:
    """Bytes of one slice of base64; only the last may be padded. Raises ClientFault."""
    try:
        decoded = binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError) as error:
        raise _bad_base64() from error
    if not last and text.endswith("="):
        raise _bad_base64()
    return decoded


def to_pcm(payload: bytes, form: AudioFormat) -> bytes:
    """PCM16 of raw samples in ``form``; raises ClientFault where samples are cut in half."""
    match form.encoding:
        case Encoding.PCMU:
            return g711.decode_ulaw(payload)
        case Encoding.PCMA:
            return g711.decode_alaw(payload)
        case Encoding.PCM:
            if len(payload) % SAMPLE_BYTES:
                raise ClientFault(
                    "invalid_audio",
                    f"{len(payload)} bytes are not whole 16-bit samples of audio/pcm: "
                    "send an even number of bytes.",
                    param="audio",
                )
            return payload


def from_pcm(pcm: bytes | memoryview, form: AudioFormat) -> bytes | memoryview:
    """Raw samples in ``form`` of PCM16."""
    match form.encoding:
        case Encoding.PCMU:
            return g711.encode_ulaw(pcm)
        case Encoding.PCMA:
            return g711.encode_alaw(pcm)
        case Encoding.PCM:
            return pcm


def _bad_base64() -> ClientFault:
    return ClientFault(
        "invalid_base64",
        "'audio' is not base64: use the standard alphabet with padding and no line breaks.",
        param="audio",
    )
