"""What becomes of our own scripts and styles before they are served."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.http.static_files import without_comments

SCRIPT = b"""// What it is for.

import { a } from "/a.js";

/** Two lines,
 *  one word. */
export const b = a + 1; // stays, as it is no line of its own
  // indented
const url = "http://example.com"; /* stays too */ let c;
"""
SERVED = b"""

import { a } from "/a.js";



export const b = a + 1; // stays, as it is no line of its own

const url = "http://example.com"; /* stays too */ let c;
"""


def test_a_script_loses_its_comments_and_keeps_its_lines() -> None:
    assert without_comments("app.js", SCRIPT) == SERVED


def test_a_style_has_no_line_comments() -> None:
    style = b"/* Colours. */\n:root {\n  --a: 1 }\n//no-comment { color: red }\n"
    served = b"\n:root {\n--a: 1 }\n//no-comment { color: red }\n"
    assert without_comments("a.css", style) == served


def test_a_page_loses_its_indentation() -> None:
    page = b"<p>\n  <b>a</b> b // c\n\t</p>\n"
    assert without_comments("index.html", page) == b"<p>\n<b>a</b> b // c\n</p>\n"


def test_pictures_and_data_stay_as_they_are() -> None:
    for name in ("icon.svg", "lock.json"):
        assert without_comments(name, SCRIPT) == SCRIPT


LINES = st.sampled_from([*SCRIPT.split(b"\n"), b"a /* b", b"c */ d", b"*/", b"/*", b"'//'"])


@given(st.lists(LINES, min_size=1))
def test_lines_stay_where_they_are(lines: list[bytes]) -> None:
    after = without_comments("app.js", b"\n".join(lines)).split(b"\n")
    assert len(after) == len(lines)
    assert all(one in (b"", whole) for one, whole in zip(after, lines, strict=True))
