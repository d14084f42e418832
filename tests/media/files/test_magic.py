"""Which container a file has, and the error for those without one."""

import pytest

from media.files.limits import UnreadableMedia
from media.files.magic import container_of, id3_bytes


def atom(kind: bytes, brand: bytes = b"isom") -> bytes:
    return b"\0\0\0\x18" + kind + brand + bytes(8)


def mpeg_ts(size: int, place: int) -> bytes:
    packet = bytearray(size)
    packet[place] = 0x47
    return bytes(packet) * 4


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"RIFF\0\0\0\0WAVEfmt ", "wav"),
        (b"RF64\xff\xff\xff\xffWAVEds64", "wav"),
        (b"RIFF\0\0\0\0AVI LIST", "avi"),
        (b"FORM\0\0\0\0AIFF", "aiff"),
        (b"FORM\0\0\0\0AIFC", "aiff"),
        (b"fLaC\0\0\0\x22", "flac"),
        (b"OggS\0\x02", "ogg"),
        (b"\x1a\x45\xdf\xa3\x9fB\x86\x81\x01B\x82\x88matroska", "matroska"),
        (b"\x1a\x45\xdf\xa3\x9fB\x86\x81\x01B\x82\x84webm", "webm"),
        (b"\xff\xfb\x90\x64", "mp3"),
        (b"\xff\xe3\x18\xc4", "mp3"),
        (b"\xff\xf1\x50\x80", "aac"),
        (atom(b"ftyp"), "mp4"),
        (atom(b"ftyp", b"M4A "), "mp4"),
        (atom(b"ftyp", b"qt  "), "mov"),
        (atom(b"moov"), "mov"),
        (atom(b"ftyp", b"3gp5"), "3gp"),
        (b".snd\0\0\0\x18", "au"),
        (b"caff\0\x01", "caf"),
        (b"#!AMR\n", "amr"),
        (b"#!AMR-WB\n", "amr"),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9", "asf"),
        (b"FLV\x01\x05", "flv"),
        (b"\0\0\x01\xba\x44", "mpegps"),
        (mpeg_ts(188, 0), "mpegts"),
        (mpeg_ts(192, 4), "mpegts"),
    ],
)
def test_known_beginnings(head: bytes, name: str) -> None:
    assert container_of(head).name == name


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (b"", "empty"),
        (b"#EXTM3U\n#EXT-X-VERSION:3\n", "a playlist"),
        (b"\xef\xbb\xbf#EXTM3U\n", "a playlist"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "a list of other files"),
        (b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\n", "a session description"),
        (b"<?xml version='1.0'?><MPD>", "a text document"),
        (b"\x89PNG\r\n\x1a\n", "an image"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "an image"),
        (atom(b"ftyp", b"avif"), "an image"),
        (atom(b"ftyp", b"heic"), "an image"),
        (b"PK\x03\x04", "an archive"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "in no format that is read here"),
        (b"\x7fELF", "in no format that is read here"),
        (b"\xff\xff\xff\xff", "in no format that is read here"),
    ],
)
def test_unreadable_formats_are_named(head: bytes, what: str) -> None:
    with pytest.raises(UnreadableMedia, match=f"^The file is {what}") as refused:
        container_of(head)
    assert "Send sound or video as WAV" in str(refused.value)


def test_the_length_of_an_id3_tag() -> None:
    assert id3_bytes(b"ID3\x04\0\0\0\0\x02\x01more") == 10 + 257
    assert id3_bytes(b"ID3\x04\0\x10\0\0\x02\x01more") == 20 + 257
    assert id3_bytes(b"ID3\x04\0\0\0\0\x80\x01") == 0
    assert id3_bytes(b"ID3") == 0
