"""Reading a text takes time that grows as the text does, whatever the text is.

Measured is the CPU time of this thread, and only how it grows: for a text four times as long it is
four times as much, or sixteen times if it is quadratic. Other work on the machine does not count.
"""

import json
import re
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec
import pytest

from gateway.channels.webrtc.offer import OfferError, check_offer
from pipelines.engines.base import ToolDefinition, ToolOffer
from pipelines.engines.chat.json_schemas import bounded
from pipelines.engines.chat.sums import fact
from pipelines.engines.chat.thoughts import ThoughtFilter
from pipelines.engines.chat.tool_markup import Markup, interpreted
from pipelines.engines.chat.tool_uses import ToolUseReader
from pipelines.engines.openai_compatible.client import EventReader
from pipelines.engines.reading.clauses import ClauseSplitter, clauses, sentences
from pipelines.engines.reading.kinds import pattern
from pipelines.engines.reading.text import LANGUAGES, read
from pipelines.speech.delivery import punctuated, unchanged
from pipelines.speech.script import steps
from rest.http.body_checks import fault_of
from sessions.core.turns.dictation import progress_of
from sessions.core.turns.endpointing import ending_of
from sessions.languages.packs import PACKS
from sessions.speech.spoken_form import SpokenForm
from tests.support.text_patterns import ANCHORED, Found, Patterns, attacks

SIZE = 2_000
SHARE = 4
"""The shorter text has a fourth of it."""
MOST_TEXTS = 50
SUSPICIOUS = 0.001
"""Seconds for a pattern: a linear one takes a tenth of that, a quadratic one ten times as long."""
GROWTH = 9.0
ENDLESS = 2.0
"""Seconds after which a pattern is given up: an exponential one takes years."""

AT_RUN_TIME = {
    "gateway.channels.wire.fields.bounds.pattern": "patterns of Blab's own",
    "gateway.simulation.": "run in a process that makes its owner's calls, and no others",
    "sessions.languages.packs.": "what it makes is in PACKS",
    "pipelines.engines.chat.json_schemas.pattern": "a client's pattern is compiled, not run",
    "pipelines.engines.chat.sums.pattern": "what it makes is in _PATTERNS",
    "pipelines.engines.chat.tool_markup.f'{tagged}|{brackets}": "MADE has it",
    "pipelines.engines.chat.tool_markup.f'</": "one literal",
    "pipelines.engines.chat.tool_markup.f'(?<![": "one literal",
    "pipelines.engines.reading.clauses.f": "what it makes is in _BREATHS",
    "pipelines.engines.reading.kinds.": "MADE has it",
}
"""Calls whose pattern is not a constant, and why that is covered."""
MADE = [
    *(Markup(("get_weather", "find"), bare=bare)._opening for bare in (True, False)),
    *map(pattern, LANGUAGES.values()),
]
_ONE_LINE = "the beginning of a line, with match alone"
_QUESTION = "a question of up to 240 characters, with fullmatch"
BY_OTHERS = {
    "sessions.speech.spoken_form._BLANK_LINE": _ONE_LINE,
    "sessions.speech.spoken_form._FENCE": _ONE_LINE,
    "sessions.speech.spoken_form._RULER": _ONE_LINE,
    "pipelines.engines.chat.sums._PATTERNS": _QUESTION,
    "pipelines.engines.chat.english_numbers._SYMBOLS": _QUESTION,
    "pipelines.engines.call_names._PATTERNS": "a name, with fullmatch",
}
"""Patterns that the source does not show to be matched at one place, or in short texts, only."""


def spent(work: Callable[[], Any]) -> float:
    began = time.thread_time()
    work()
    return time.thread_time() - began


@contextmanager
def cut_short() -> Iterator[None]:
    """TimeoutError after ENDLESS seconds of CPU time, within a pattern too."""

    def stop(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, ENDLESS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def growth(short: Callable[[], Any], long: Callable[[], Any], suspicious: float) -> float | None:
    """How much more ``long`` takes than ``short``; None if it takes little anyway."""
    try:
        with cut_short():
            if (
                spent(long) < suspicious
                or (after := min(spent(long) for _ in range(3))) < suspicious
            ):
                return None
            return after / min(spent(short) for _ in range(5))
    except TimeoutError:
        return float("inf")


def superlinear(found: Found) -> list[str]:
    """The texts for which a pattern takes more than linear time."""
    methods = sorted(found.methods & ANCHORED) + (["finditer"] if found.searched else [])
    for attack in attacks(found.pattern, MOST_TEXTS):
        short, long = attack.text(SIZE // SHARE), attack.text(SIZE)
        for method in methods:
            times = growth(
                partial(_look, found.pattern, method, short),
                partial(_look, found.pattern, method, long),
                SUSPICIOUS,
            )
            if times is not None and times > GROWTH:
                return [f"{sorted(found.places)[0]} {method} {attack}: {times:.0f} times"]
    return []


def _look(searched: re.Pattern[Any], method: str, text: Any) -> None:
    found = getattr(searched, method)(text)
    if method == "finditer":
        deque(found, maxlen=0)


@pytest.mark.slow
def test_no_pattern_takes_more_than_linear_time() -> None:
    patterns = Patterns()
    made = [Found(one, {"made at run time"}) for one in MADE]
    faults = []
    for found in (*patterns.found.values(), *made):
        if not any(place in BY_OTHERS for place in found.places):
            faults += superlinear(found)
    assert not faults, "a bounded, possessive or anchored repetition makes it linear"
    assert not [one for one in patterns.unread if not one.startswith(tuple(AT_RUN_TIME))]


@pytest.mark.slow
def test_a_slow_pattern_is_found() -> None:
    for slow in (r"(\S*[/@]\S*)", r"<b>.*?</b>", r"\s*\s*x", r"}+$", r"(?:\(|\(\??)*+x|(?:a|a)*b"):
        assert superlinear(Found(re.compile(slow, re.DOTALL), {slow}))


TOOLS = ToolOffer((ToolDefinition("get_weather", "", '{"type": "object"}'),))


def tool_uses(text: str) -> None:
    reader = ToolUseReader(TOOLS)
    reader.feed(text)
    reader.flush()


def thoughts(text: str) -> None:
    for thinking in (False, True):
        reader = ThoughtFilter(thinking=thinking)
        reader.feed(text)
        reader.flush()


def spoken(text: str) -> None:
    form, splitter = SpokenForm(), ClauseSplitter()
    splitter.feed(form.feed(text))
    splitter.feed(form.flush())
    splitter.feed(text)


def upstream_events(text: str) -> None:
    reader, body = EventReader(), text.encode()
    for at in range(0, len(body), 16):
        reader.feed(body[at : at + 16])


def offer(text: str) -> None:
    for head in ("v=0\r\n", "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n"):
        try:
            check_offer(head + text)
        except OfferError:
            continue


def language_words(text: str) -> None:
    for tag in PACKS:
        for said in (text, f"my e-mail is {text}", f"the code is {text}"):
            progress_of(said, "", tag)
            ending_of(said, tag)


READERS: dict[Callable[[str], Any], tuple[str, ...]] = {
    lambda text: punctuated(text, "en"): ("x", "x/", "x, ", "well ", ". ", " ,", "\n"),
    lambda text: unchanged(text, text): ("<laugh>", "<sigh><laugh>", "x ", "'", "-1"),
    lambda text: read(text, "de"): ("9", "1.", "x@", "<p>", "&amp;", "http://a.", "€1", "A.", "á"),
    lambda text: list(steps(text)): ("<laugh>", "a. ", "x", "\n", "<break/>"),
    lambda text: list(clauses(text)): ("e.g. ", "?", "x", ", ", "\n"),
    sentences: ("e.g. ", "?! ", "x", ". ", "\n", " "),
    spoken: ("*", "<b", "[a](", "(", "_", "1. ", "- ", "|", "```", ". ", "e.g. ", "x", "\n"),
    thoughts: ("<think>", "</think>", "<", "<think", "[THINK]x[/THINK]", " "),
    tool_uses: (
        *("{", '{"name": "get_weather", ', "<tool_call>", "<parameter=x>", "<arg_key>", "x", "}"),
        *("get_weather(", "```json\n", "[TOOL_CALLS]", "</tool_call>", '"', "\\", "\n"),
    ),
    lambda text: interpreted(text, ("get_weather",)): (
        *(
            "{",
            "}",
            "{}",
            "[{",
            "{x}",
            "{'a':",
            '{"a":',
            "get_weather(a=",
            "<function=x>",
            "<parameter=x>",
            "x",
        ),
    ),
    upstream_events: ("x", "\r", "\n", "data: x\n", "data:\n\n"),
    offer: (
        "m=\r\n",
        "m=audio 1 x 0\r\n",
        "a=rtpmap:1 x/1\r\n",
        "a=x\r\n",
        "x",
        "a=ssrc:1 x:1\r\n",
    ),
    language_words: ("a ", "one ", "at ", "@", "x.", "7", "uno ", "vier und "),
    lambda text: fact(text, datetime.now(UTC)): ("1 plus ", "what is ", "x"),
    lambda text: bounded({"type": "string", "pattern": text[:200]}): ("(?:", "(", "[a", "a{1}"),
    lambda text: fault_of(msgspec.ValidationError(text)): (" - at `$", "`", "x"),
    lambda text: bounded(
        json.loads('{"anyOf":[' * 40 + json.dumps({"enum": [text]}) + "]}" * 40)
    ): (*("x", "é"),),
}
"""What takes text from outside apart, and what it may find hard."""


@pytest.mark.parametrize("reader", READERS, ids=lambda one: f"reader{list(READERS).index(one)}")
def test_no_reader_takes_more_than_linear_time(reader: Callable[[str], Any]) -> None:
    for unit in READERS[reader]:
        long = unit * (SIZE // len(unit))
        short = unit * (SIZE // SHARE // len(unit))
        times = growth(partial(reader, short), partial(reader, long), 3 * SUSPICIOUS)
        assert times is None or times < GROWTH, f"{unit!r} again and again"
