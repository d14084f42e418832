"""The seam between the telephony channel and a carrier: what one carrier's file has to hold.

A carrier is one subclass of ``Carrier`` in one file, listed in ``CARRIERS`` of
``gateway.calls.telephony``. The class proves opening requests (``verify``); an object of it reads
and writes one stream, sans I/O. The channel owns everything else: the socket, its limits, the
queue, pacing, the clock.

Rules
- A message is ``str`` where it is a text frame and ``bytes`` where it is a binary one, both ways.
- ``parse`` returns events or raises ``WireFault``, whatever comes in; a message at fault changes
  nothing. The audio that it yields is PCM16 mono at ``input_rate``, in order and without holes.
- Formats are agreed when ``parse`` returns ``Started``; nothing is written before that.
- ``media`` gets one frame of ``frame_ms`` at ``output_rate`` at a time, each once and in order.
- Each stream has its own ``Codec``. One with a memory (G.722, Opus) sees every frame once and in
  order. What cannot be decoded raises ``BadAudio`` and changes nothing: the call goes on.
- Linear audio is little-endian whatever the carrier calls it: ``raw/slin``, ``audio/x-raw``,
  ``L16``.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import ClassVar

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext

from media import g711
from media.formats import HEARING_RATE, SAMPLE_BYTES, AudioFormat, Encoding
from media.opus import OpusDecoder, OpusEncoder, OpusError

# ---------------------------------------------------------------------- how audio is written


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
        """A codec for one stream; raises KeyError for a name that is not in ``CODECS``."""
        return _OPENERS[self.name](self.rate)


Message = str | bytes
"""A text frame or a binary one."""
MAX_ID_CHARS = 128
USUAL_FORMAT = StreamFormat("pcmu", 8_000)


# ---------------------------------------------------------------------- what a stream brings


@dataclass(frozen=True, slots=True)
class Started:
    """The stream has begun."""

    stream_id: str
    call_id: str
    """The carrier's own; empty where it sent none."""
    account_id: str
    form: StreamFormat
    """How the caller's audio is written."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    """What the customer sends along, as it came."""
    caller: str = ""
    """The number that called; empty where the carrier does not say it."""


@dataclass(frozen=True, slots=True)
class Heard:
    """The caller's next samples: PCM16 mono at the carrier's input rate, gaps filled."""

    pcm: bytes


@dataclass(frozen=True, slots=True)
class Pressed:
    """A key of the caller's telephone: 0-9, ``*``, ``#``, A-D."""

    digit: str


@dataclass(frozen=True, slots=True)
class MarkReturned:
    """A mark of ours came back: what stands before it was played, or cleared."""

    name: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A message that the protocol wants sent back at once, such as a pong."""

    message: Message


@dataclass(frozen=True, slots=True)
class Stopped:
    """The stream has ended."""


StreamEvent = Started | Heard | Pressed | MarkReturned | Answer | Stopped


class WireFault(Exception):
    """A message that cannot be taken; ``code`` is a constant without any of its content."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class UnsupportedFormat(WireFault):
    """The stream's audio is in a format that is not spoken here: the call cannot go on. ``answer``:
    the message with which the protocol wants that said, before the connection is closed."""

    def __init__(self, code: str, answer: Message | None = None) -> None:
        super().__init__(code)
        self.answer = answer


# ---------------------------------------------------------------------- who sent the stream


@dataclass(frozen=True, slots=True)
class OpeningRequest:
    """The request that asks for the WebSocket, as far as a signature covers it."""

    host: str
    """Host and port as the carrier knows them: those of BLAB_PUBLIC_URL where it is set."""
    path: str
    """As it was sent, with its query."""
    headers: Mapping[str, str]


class Proof(Enum):
    """What an opening request proves about its sender."""

    VALID = "valid"
    """It comes from the operator's account at the carrier."""
    INVALID = "invalid"
    """It is signed, but not as the secret would have it: another account's, or an attack."""
    ABSENT = "absent"
    """It is not signed."""


# ---------------------------------------------------------------------- the carrier


class Carrier(ABC):
    """One carrier; an object of it is one stream. Unless it is a ``MarkingCarrier``, audio is sent,
    and counted as heard, in real time."""

    name: ClassVar[str]
    """In addresses, logs and metrics, and the channel's name in the calls table."""
    lead_ms: ClassVar[int] = 1000
    """How far audio is sent ahead of what was heard. What a carrier cannot clear, the caller still
    hears after interrupting: keep it short there."""
    subprotocol: ClassVar[str | None] = None
    """Echoed in the handshake, for carriers that insist on one."""
    secret_setting: ClassVar[str] = ""
    """The setting that holds the secret for ``verify``; empty where streams are not signed."""
    signs_in_authorization: ClassVar[bool] = False
    """A JWT in ``Authorization`` is the carrier's, and no key of ours."""
    resumes: ClassVar[bool] = False
    """Its streams name the telephone call by an id that lasts as long as the call, and say that
    they stop: a call whose stream broke off goes on over the next one."""
    frame_ms: int = 20
    """Length of one outgoing frame; final with ``Started``."""

    def __init__(self, form: StreamFormat = USUAL_FORMAT) -> None:
        """``form``: how audio is written where the stream's start does not say."""
        self._agree(form, form)

    def _agree(self, heard: StreamFormat, answer: StreamFormat) -> None:
        """Take the stream's formats: of the caller's audio, and of what is sent back."""
        self._decoder = heard.open()
        self._encoder = answer.open()

    @property
    def input_rate(self) -> int:
        """Hz of the samples in ``Heard``; final with ``Started``."""
        return self._decoder.input_rate

    @property
    def output_rate(self) -> int:
        """Hz of the samples that ``media`` takes; final with ``Started``."""
        return self._encoder.output_rate

    @property
    def format(self) -> AudioFormat:
        """How outgoing audio is written, as the session object says it."""
        return self._encoder.format

    @classmethod
    def verify(cls, request: OpeningRequest, secret: str) -> Proof:  # noqa: ARG003
        """What ``request`` proves, given the value of ``secret_setting``."""
        return Proof.ABSENT

    @abstractmethod
    def parse(self, message: Message) -> list[StreamEvent]:
        """The events of one message; raises WireFault."""

    def audio(self, message: bytes) -> bytes | None:  # noqa: ARG002
        """The audio (PCM16 mono at ``input_rate``) of a text message that is nothing else, as
        ``parse`` would have it; None, and nothing has changed, for any other message, and where the
        carrier has no quick way."""
        return None

    @abstractmethod
    def media(self, pcm: bytes) -> Message:
        """One frame of audio for the caller (PCM16 mono at ``output_rate``)."""

    def clear(self) -> Message | None:
        """Has the carrier forget all audio that it has not played; None where it cannot."""
        return None

    def hang_up(self, reason: str) -> Message | None:  # noqa: ARG002
        """The last message before the socket is closed; None where the close says it all."""
        return None


class MarkingCarrier(Carrier):
    """A carrier that returns each mark once the audio before it was played, or cleared: its marks
    say what the caller has heard."""

    @abstractmethod
    def mark(self, name: str) -> Message:
        """To be returned as ``MarkReturned``; ``name`` is short and printable."""


def is_id(text: str) -> bool:
    """Whether a carrier's identifier may be logged, stored and sent back."""
    return 0 < len(text) <= MAX_ID_CHARS and text.isprintable()


# ---------------------------------------------------------------------- the codecs


OPUS_BITRATE = 32_000
_PACKET_BYTES = 16_384
"""Of one payload of G.722: 2 s of audio. Carriers send 20 ms."""


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
CODECS = tuple(_OPENERS)
