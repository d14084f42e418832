"""Opus (RFC 6716), mono, by the libopus that the ``av`` package carries.

PyAV's own codec contexts give no access to packet-loss concealment, to the redundancy of the next
packet (in-band FEC) or to decoding at 16 kHz; the library inside its wheel offers all three, so it
is used directly (C API: opus-codec.org/docs/opus_api-1.5). The system's libopus is used only if the
wheel contains none.

Rules
- One encoder or decoder per direction of a call; not shareable between threads.
- A lost frame is replaced once, by ``recover`` (from the packet after it) or by ``conceal``, so
  the number of samples stays exact.
"""

import ctypes
import ctypes.util
import weakref
from functools import cache
from pathlib import Path

import av

from .formats import SAMPLE_BYTES

TICK_RATE = 48_000
"""Hz of the RTP timestamps of Opus at every coded rate (RFC 7587)."""
MAX_PACKET_MS = 120
RATES = (8_000, 12_000, 16_000, 24_000, 48_000)

_APPLICATION_VOIP = 2048
_SET_BITRATE, _SET_COMPLEXITY, _SET_FEC = 4002, 4010, 4012
_SET_LOSS, _SET_DTX, _SET_SIGNAL = 4014, 4016, 4024
_RESET_STATE = 4028
_SIGNAL_VOICE = 3001
_MAX_PACKET_BYTES = 1_276


class OpusError(Exception):
    """libopus refused a packet, a frame or a setting; the message names which and why."""


class OpusEncoder:
    """PCM16 mono frames to packets: voice, in-band FEC, variable bit rate."""

    def __init__(
        self,
        rate: int = 24_000,
        *,
        bitrate: int = 32_000,
        complexity: int = 5,
        expected_loss_percent: int = 5,
        dtx: bool = False,
    ) -> None:
        _check_rate(rate)
        self.rate = rate
        library = _library()
        error = ctypes.c_int()
        self._encoder = library.opus_encoder_create(rate, 1, _APPLICATION_VOIP, ctypes.byref(error))
        _check(error.value, "encoder")
        weakref.finalize(self, library.opus_encoder_destroy, self._encoder)
        self._library = library
        self._packet = ctypes.create_string_buffer(_MAX_PACKET_BYTES)
        for request, value in (
            (_SET_BITRATE, bitrate),
            (_SET_COMPLEXITY, complexity),
            (_SET_SIGNAL, _SIGNAL_VOICE),
            (_SET_FEC, 1),
            (_SET_LOSS, expected_loss_percent),
            (_SET_DTX, int(dtx)),
        ):
            code = library.opus_encoder_ctl(self._encoder, request, ctypes.c_int(value))
            _check(code, f"encoder setting {request} = {value}")

    def encode(self, pcm: bytes) -> bytes:
        """One frame of 10, 20, 40 or 60 ms to one packet."""
        samples = len(pcm) // SAMPLE_BYTES
        size = self._library.opus_encode(
            self._encoder, pcm, samples, self._packet, _MAX_PACKET_BYTES
        )
        _check(size, f"frame of {samples} samples at {self.rate} Hz")
        return ctypes.string_at(self._packet, size)

    def reset(self) -> None:
        """Start over, as at the beginning of a stream."""
        self._library.opus_encoder_ctl(self._encoder, _RESET_STATE)


class OpusDecoder:
    """Packets to PCM16 mono at ``rate``, with concealment of what was lost."""

    def __init__(self, rate: int = 16_000) -> None:
        _check_rate(rate)
        self.rate = rate
        library = _library()
        error = ctypes.c_int()
        self._decoder = library.opus_decoder_create(rate, 1, ctypes.byref(error))
        _check(error.value, "decoder")
        weakref.finalize(self, library.opus_decoder_destroy, self._decoder)
        self._library = library
        self._room = rate * MAX_PACKET_MS // 1000
        self._pcm = ctypes.create_string_buffer(self._room * SAMPLE_BYTES)

    def decode(self, packet: bytes) -> bytes:
        """The samples of one packet; stereo is mixed down. Raises OpusError for garbage."""
        if not packet:
            raise OpusError("Opus packet of 0 bytes: there is nothing to decode")
        return self._decode(packet, len(packet), self._room, 0)

    def conceal(self, samples: int) -> bytes:
        """Exactly ``samples`` (at ``rate``) that continue what was heard and fade away."""
        return self._in_steps(None, samples)

    def recover(self, following: bytes, samples: int) -> bytes:
        """The lost frame *before* ``following``, from the redundancy that packet carries.

        Exactly ``samples`` long; concealed as by ``conceal`` if it carries none."""
        return self._in_steps(following, samples)

    def _in_steps(self, following: bytes | None, samples: int) -> bytes:
        """libopus conceals whole units of 2.5 ms, at most 120 ms at once, redundancy last."""
        unit = self.rate // 400
        out = bytearray()
        last = _duration(following, self.rate) if following is not None else 0
        while len(out) < samples * SAMPLE_BYTES:
            rest = samples - len(out) // SAMPLE_BYTES
            if following is not None and last and rest <= last and rest % unit == 0:
                out += self._decode(following, len(following), rest, 1)
            else:
                room = -(-max(rest - last, 1) // unit) * unit
                out += self._decode(None, 0, min(room, self._room), 0)
        return bytes(out[: samples * SAMPLE_BYTES])

    def _decode(self, packet: bytes | None, size: int, room: int, fec: int) -> bytes:
        count = self._library.opus_decode(self._decoder, packet, size, self._pcm, room, fec)
        _check(count, f"packet of {size} bytes")
        return ctypes.string_at(self._pcm, count * SAMPLE_BYTES)


def packet_ticks(packet: bytes) -> int:
    """Duration of a packet in 48 kHz timestamp ticks; raises OpusError for garbage."""
    return _duration(packet, TICK_RATE)


def has_redundancy(packet: bytes) -> bool:
    """Whether the packet carries the frame before it (SILK LBRR)."""
    return bool(_library().opus_packet_has_lbrr(packet, len(packet)) == 1)


def _duration(packet: bytes, rate: int) -> int:
    count = _library().opus_packet_get_nb_samples(packet, len(packet), rate)
    _check(count, f"packet of {len(packet)} bytes")
    return int(count)


def _check(code: int, what: str) -> None:
    if code < 0:
        reason = _library().opus_strerror(code).decode()
        raise OpusError(f"Opus {what}: {reason}")


def _check_rate(rate: int) -> None:
    if rate not in RATES:
        raise OpusError(f"Opus at {rate} Hz: one of {RATES} is needed")


@cache
def _library() -> ctypes.CDLL:
    """libopus with its C signatures; raises OpusError if it is missing."""
    package = Path(av.__file__).parent
    shipped = sorted(
        path
        for folder in (package.parent / "av.libs", package / ".dylibs")
        for path in folder.glob("*opus*")
        if "opusfile" not in path.name and "opusenc" not in path.name
    )
    name = str(shipped[0]) if shipped else ctypes.util.find_library("opus")
    if name is None:
        raise OpusError("no libopus in the av package: install av from its wheel")
    library = ctypes.CDLL(name)
    pointer, number = ctypes.c_void_p, ctypes.c_int
    for function, result, arguments in (
        ("opus_strerror", ctypes.c_char_p, [number]),
        ("opus_encoder_create", pointer, [number, number, number, pointer]),
        ("opus_encoder_destroy", None, [pointer]),
        ("opus_encoder_ctl", number, [pointer, number]),
        ("opus_encode", number, [pointer, ctypes.c_char_p, number, pointer, number]),
        ("opus_decoder_create", pointer, [number, number, pointer]),
        ("opus_decoder_destroy", None, [pointer]),
        ("opus_decode", number, [pointer, ctypes.c_char_p, number, pointer, number, number]),
        ("opus_packet_get_nb_samples", number, [ctypes.c_char_p, number, number]),
        ("opus_packet_has_lbrr", number, [ctypes.c_char_p, number]),
    ):
        entry = getattr(library, function)
        entry.restype, entry.argtypes = result, arguments
    return library
