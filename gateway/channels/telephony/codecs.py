"""How a carrier's media stream writes audio: one codec per stream, PCM16 mono on our side.

Rules
- A payload decodes to samples at ``input_rate``; a frame of ``frame_ms`` at ``output_rate`` encodes
  to one payload. Codecs with a memory (G.722, Opus) see every frame once and in order.
- What cannot be decoded raises ``BadAudio`` and leaves the codec as it was: the call goes on.

Linear audio is little-endian whatever the carrier calls it: ``raw/slin``, ``audio/x-raw``, ``L16``.
"""

from collections.abc import Callable
from dataclasses import dataclass

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext

from media import g711
from media.formats import HEARING_RATE, SAMPLE_BYTES, AudioFormat, Encoding
from media.opus import OpusDecoder, OpusEncoder, OpusError

OPUS_BITRATE = 32_000
_PACKET_BYTES = 16_384
"""Of one payload of G.722: 2 s of audio. Carriers send 20 ms."""


class BadAudio(Exception):
    """A payload that is no audio of the stream's format; ``code`` is a constant."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Codec:
    """One stream's audio, both ways; made by ``StreamFormat.open``."""

    def __init__(
        self,
        form: AudioFormat,
        decode: Callable[[bytes], bytes],
        encode: Callable[[bytes], bytes],
        *,
        input_rate: int | None = None,
    ) -> None:
        self.format = form
        """What the session object calls the stream's audio; its rate is ``output_rate``."""
        self.output_rate = form.rate
        self.input_rate = input_rate or form.rate
        self.decode = decode
        """A payload to PCM16 at ``input_rate``; raises BadAudio."""
        self.encode = encode
        """One frame of PCM16 at ``output_rate`` to a payload."""


@dataclass(frozen=True, slots=True)
class StreamFormat:
    """A codec's name, as carriers have it, and its rate in Hz."""

    name: str
    rate: int

    def open(self) -> Codec:
        """A codec for one stream; raises KeyError for a name that is not in ``NAMES``."""
        return _OPENERS[self.name](self.rate)


def _g711_ulaw(_rate: int) -> Codec:
    return Codec(AudioFormat(Encoding.PCMU, g711.RATE), g711.decode_ulaw, g711.encode_ulaw)


def _g711_alaw(_rate: int) -> Codec:
    return Codec(AudioFormat(Encoding.PCMA, g711.RATE), g711.decode_alaw, g711.encode_alaw)


def _linear(rate: int) -> Codec:
    return Codec(AudioFormat(Encoding.PCM, rate), _whole_samples, bytes)


def _whole_samples(payload: bytes) -> bytes:
    if len(payload) % SAMPLE_BYTES:
        raise BadAudio("odd_samples")
    return payload


G722_RATE = 16_000
"""Hz of the samples; RTP's clock for it says 8000 (RFC 3551, section 4.5.2)."""


def _g722(_rate: int) -> Codec:
    decoder = AudioCodecContext.create("g722", "r")
    encoder = AudioCodecContext.create("g722", "w")
    for context in (decoder, encoder):
        context.sample_rate = G722_RATE
        context.layout = "mono"
        context.format = "s16"

    def decode(payload: bytes) -> bytes:
        if len(payload) > _PACKET_BYTES:
            raise BadAudio("packet_too_long")
        if not payload:
            return b""
        try:
            frames = decoder.decode(av.Packet(payload))
        except av.FFmpegError as error:
            raise BadAudio("invalid_g722") from error
        return b"".join(frame.to_ndarray().astype("<i2").tobytes() for frame in frames)

    def encode(pcm: bytes) -> bytes:
        samples = np.frombuffer(pcm, "<i2").reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = G722_RATE
        return b"".join(bytes(packet) for packet in encoder.encode(frame))

    return Codec(AudioFormat(Encoding.PCM, G722_RATE), decode, encode)


def _opus(rate: int) -> Codec:
    decoder = OpusDecoder(HEARING_RATE)
    encoder = OpusEncoder(rate, bitrate=OPUS_BITRATE)

    def decode(payload: bytes) -> bytes:
        if not payload:
            return b""
        try:
            return decoder.decode(payload)
        except OpusError as error:
            raise BadAudio("invalid_opus") from error

    form = AudioFormat(Encoding.PCM, rate)
    return Codec(form, decode, encoder.encode, input_rate=decoder.rate)


_OPENERS: dict[str, Callable[[int], Codec]] = {
    "pcmu": _g711_ulaw,
    "pcma": _g711_alaw,
    "l16": _linear,
    "g722": _g722,
    "opus": _opus,
}
NAMES = tuple(_OPENERS)
