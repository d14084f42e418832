"""Which container a file is, by its first bytes alone.

The library's own detection is not used: it knows playlists, scripts and image sequences that open
other files. A file whose beginning is not in this table is not read, and the library is forced to
use the demuxer that the table names.
"""

from dataclasses import dataclass

from .limits import UnreadableMedia

HEAD_BYTES = 4096
"""How much of a file's beginning is examined (after an ID3 tag, if there is one)."""


@dataclass(frozen=True, slots=True)
class Container:
    """A container. ``demuxer`` and ``muxer`` as FFmpeg names them; ``exact``: whether the length
    it declares can be relied on, or is guessed from the bit rate."""

    name: str
    demuxer: str
    muxer: str
    audio_type: str
    video_type: str
    exact: bool = True


def _audio(name: str, content_type: str, demuxer: str = "", *, exact: bool = True) -> Container:
    return Container(name, demuxer or name, demuxer or name, content_type, content_type, exact)


WAV = _audio("wav", "audio/wav")
W64 = _audio("w64", "audio/x-w64")
MP3 = _audio("mp3", "audio/mpeg", exact=False)
AAC = Container("aac", "aac", "adts", "audio/aac", "audio/aac", exact=False)
FLAC = _audio("flac", "audio/flac")
AIFF = _audio("aiff", "audio/aiff")
AU = _audio("au", "audio/basic")
CAF = _audio("caf", "audio/x-caf")
AMR = _audio("amr", "audio/amr", exact=False)
WAVPACK = _audio("wv", "audio/x-wavpack")
AC3 = _audio("ac3", "audio/ac3", exact=False)
OGG = Container("ogg", "ogg", "ogg", "audio/ogg", "video/ogg")
MP4 = Container("mp4", "mov", "mp4", "audio/mp4", "video/mp4")
MOV = Container("mov", "mov", "mov", "video/quicktime", "video/quicktime")
THREE_GP = Container("3gp", "mov", "3gp", "audio/3gpp", "video/3gpp")
MATROSKA = Container("matroska", "matroska", "matroska", "audio/x-matroska", "video/x-matroska")
WEBM = Container("webm", "matroska", "webm", "audio/webm", "video/webm")
AVI = Container("avi", "avi", "avi", "video/x-msvideo", "video/x-msvideo")
ASF = Container("asf", "asf", "asf", "audio/x-ms-wma", "video/x-ms-wmv")
FLV = Container("flv", "flv", "flv", "video/x-flv", "video/x-flv")
MPEG_TS = Container("mpegts", "mpegts", "mpegts", "video/mp2t", "video/mp2t", exact=False)
MPEG_PS = Container("mpegps", "mpeg", "vob", "video/mpeg", "video/mpeg", exact=False)

_PREFIXES: tuple[tuple[bytes, Container], ...] = (
    (b"fLaC", FLAC),
    (b"OggS", OGG),
    (b"\x1a\x45\xdf\xa3", MATROSKA),
    (b".snd", AU),
    (b"caff", CAF),
    (b"#!AMR", AMR),
    (b"wvpk", WAVPACK),
    (b"FLV\x01", FLV),
    (b"riff\x2e\x91\xcf\x11", W64),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", ASF),
    (b"\x00\x00\x01\xba", MPEG_PS),
    (b"\x0b\x77", AC3),
)
_FORMS: dict[tuple[bytes, bytes], Container] = {
    (b"RIFF", b"WAVE"): WAV,
    (b"RF64", b"WAVE"): WAV,
    (b"RIFF", b"AVI "): AVI,
    (b"FORM", b"AIFF"): AIFF,
    (b"FORM", b"AIFC"): AIFF,
}
_QUICKTIME_ATOMS = frozenset((b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"))
_IMAGE_BRANDS = frozenset((b"avif", b"avis", b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"jxl "))
_TS_PACKETS = ((188, 0), (192, 4))
"""Size of a transport stream's packets, and the offset of the sync byte in them."""
_TS_SYNC = 0x47
_TS_PROOF = 4

_HELP = (
    "Send sound or video as WAV, MP3, FLAC, Ogg, Opus, M4A, MP4, MOV, WebM, Matroska, AAC, AIFF,"
    " AVI, MPEG, WMA, AMR or 3GP."
)
_TEXTS: tuple[tuple[bytes, str], ...] = (
    (b"#EXTM3U", "a playlist"),
    (b"ffconcat", "a list of other files"),
    (b"[playlist]", "a playlist"),
    (b"v=0", "a session description"),
    (b"<", "a text document"),
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"GIF8", "an image"),
    (b"BM", "an image"),
    (b"PK\x03\x04", "an archive"),
    (b"\x1f\x8b", "an archive"),
)


def container_of(head: bytes) -> Container:
    """The container that begins with ``head``, an ID3 tag already taken off.

    Raises UnreadableMedia, saying what it seems to be instead."""
    looks = (_by_prefix, _by_form, _iso, _by_sync, _transport_stream)
    found = next(filter(None, (look(head) for look in looks)), None)
    if found is None:
        raise UnreadableMedia(f"The file is {_seems(head)}. {_HELP}")
    return found


def id3_bytes(head: bytes) -> int:
    """Length of the ID3v2 tag that ``head`` begins with; 0 if there is none."""
    if len(head) < 10 or head[:3] != b"ID3" or any(byte & 0x80 for byte in head[6:10]):
        return 0
    size = 0
    for byte in head[6:10]:
        size = size << 7 | byte
    footer = 10 if head[5] & 0x10 else 0
    return 10 + size + footer


def _by_prefix(head: bytes) -> Container | None:
    for prefix, container in _PREFIXES:
        if head.startswith(prefix):
            webm = container is MATROSKA and b"webm" in head[:64]
            return WEBM if webm else container
    return None


def _by_form(head: bytes) -> Container | None:
    return _FORMS.get((head[:4], head[8:12]))


def _iso(head: bytes) -> Container | None:
    kind, brand = head[4:8], head[8:12]
    if kind in _QUICKTIME_ATOMS:
        return MOV
    if kind != b"ftyp" or brand in _IMAGE_BRANDS:
        return None
    if brand == b"qt  ":
        return MOV
    return THREE_GP if brand.startswith((b"3gp", b"3g2")) else MP4


def _by_sync(head: bytes) -> Container | None:
    """MPEG audio and ADTS begin with eleven or twelve set bits and little else."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    if head[1] & 0xF6 == 0xF0:
        rate_index = head[2] >> 2 & 0x0F
        return AAC if rate_index < 13 else None
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    bitrate, rate = head[2] >> 4, head[2] >> 2 & 3
    return MP3 if version != 1 and layer and bitrate not in (0, 15) and rate != 3 else None


def _transport_stream(head: bytes) -> Container | None:
    for size, place in _TS_PACKETS:
        marks = head[place : place + size * _TS_PROOF : size]
        if len(marks) == _TS_PROOF and all(mark == _TS_SYNC for mark in marks):
            return MPEG_TS
    return None


def _seems(head: bytes) -> str:
    plain = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not plain:
        return "empty"
    for prefix, what in _TEXTS:
        if plain.startswith(prefix):
            return what + ", not a recording"
    if head[4:8] == b"ftyp":
        return "an image, not a recording"
    return "in no format that is read here"
