"""Names of files in headers."""

import pytest
from aiohttp.multipart import content_disposition_filename, parse_content_disposition

from store.disposition import MAX_FILENAME, disposition, plain_filename


@pytest.mark.parametrize(
    ("filename", "value"),
    [
        ("take.mp3", 'inline; filename="take.mp3"'),
        ("my take.mp3", 'inline; filename="my take.mp3"'),
        ("Müller.mp3", "inline; filename=\"Muller.mp3\"; filename*=UTF-8''M%C3%BCller.mp3"),
        ('a"b.mp3', "inline; filename=\"a_b.mp3\"; filename*=UTF-8''a%22b.mp3"),
        ("日.mp3", "inline; filename=\"_.mp3\"; filename*=UTF-8''%E6%97%A5.mp3"),
    ],
)
def test_any_name_is_encoded_for_every_client(filename: str, value: str):
    assert disposition(filename) == value
    assert disposition(filename, attachment=True) == value.replace("inline", "attachment", 1)
    _, parameters = parse_content_disposition(value)
    assert content_disposition_filename(parameters) == filename


@pytest.mark.parametrize("filename", ["a\r\nSet-Cookie: x", "a;b", "a\0", "\ud800.wav", '"; x="'])
def test_no_name_can_break_out_of_the_header(filename: str):
    value = disposition(filename)
    assert value.isascii()
    assert value.isprintable()
    assert value.count('"') == 2
    assert ";" not in value.split('"')[1]


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\music\\a.wav", "a.wav"),
        ("", "file"),
        ("...", "file"),
        ("\0\x1b[2J", "[2J"),
        (".hidden", "hidden"),
        ("x" * 300 + ".mp3", "x" * (MAX_FILENAME - 4) + ".mp3"),
        ("x" * 300, "x" * MAX_FILENAME),
        ("x." + "y" * 300, "x." + "y" * (MAX_FILENAME - 2)),
    ],
)
def test_a_plain_name(given: str, plain: str):
    assert plain_filename(given) == plain
