"""What is measured of each line and each call, and the checks that judge it. Pure.

Rules
- Every check of the file gives one result, passed or failed, with what was found instead. Three
  need not be written: a line is answered (unless it must not interrupt), the call lasts as long as
  the lines do, and no fault is reported.
- Texts are compared without regard to case; regular expressions may match anywhere.
- Word errors are counted over words in lower case without punctuation (Levenshtein): what has to be
  changed, added or dropped, divided by the words that were said. Figures and words differ.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec import UnsetType

from gateway.simulation.scenarios import CallChecks, LineChecks, ToolCheck, listed
from pipelines.speech.language import language_of

CALL_LANGUAGES = ("de", "en", "es", "fr", "it", "pt")
"""What a reply is taken for, beside the wanted language, unless it is certainly in another."""
WENT_ON = ("completed", "in_progress")
"""Statuses of a reply that was not interrupted."""


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check. ``name``: its key and value as in the file."""

    name: str
    passed: bool
    found: str
    """What was found, in words."""


@dataclass(frozen=True, slots=True)
class ToolUse:
    """A tool that the agent used."""

    name: str
    arguments: Any
    """As decoded from JSON; the text itself if it is none."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What followed a line. Times in milliseconds, as the caller heard them."""

    said: str
    """The line's words; "" if its recording came without them."""
    transcripts: Sequence[str]
    """What the server understood, one text per utterance that it took."""
    reply: str
    """All that the agent said to it, heard or not."""
    tools: Sequence[ToolUse] = ()
    ttfa_ms: int | None = None
    """From the end of the line to the first audible sample of its reply; None if none was."""
    cut_offs: int = 0
    """How often the server took the turn to be over before the line's last audible sample."""
    silenced_ms: int | None = None
    """From the line's onset to the last audible sample of the reply over which it was said (0 if it
    paused just then); of one that went on, to where it first paused, None if it was not audible."""
    reply_before: str | None = None
    """The status of that reply (``completed``, ``cancelled``, …) when the next line began,
    ``in_progress`` if it was still heard; None without one."""
    stages: Mapping[str, int] = field(default_factory=dict)
    """Where the waiting time went, as the server reports it of the answer that TTFA is about."""


def word_error(said: str, heard: str) -> float:
    """The share of words that were heard wrongly; may exceed 1."""
    expected, found = _words(said), _words(heard)
    row = list(range(len(found) + 1))
    for n, word in enumerate(expected, 1):
        above, row[0] = row[0], n
        for m, other in enumerate(found, 1):
            above, row[m] = row[m], min(row[m] + 1, row[m - 1] + 1, above + (word != other))
    return row[-1] / max(1, len(expected))


def _words(text: str) -> list[str]:
    return re.sub(r"[^\w\s]", "", text.replace("-", " ").casefold()).split()


def of_turn(turn: Turn, expect: LineChecks) -> Iterator[Check]:
    """The results of a line's checks. Recognising a language takes some ms."""
    if expect.not_interrupted is True:
        yield _went_on(turn)
        return
    yield _answered(turn, expect.answered_within_ms)
    yield from _of_reply(turn.reply, expect)
    if isinstance(expect.reply_language, str):
        yield _in_language(turn.reply, expect.reply_language)
    if isinstance(expect.tool, ToolCheck):
        yield _used(turn.tools, expect.tool)
    if isinstance(expect.interrupted_within_ms, int):
        yield _interrupted(turn, expect.interrupted_within_ms)
    if expect.not_cut_off is True:
        parts = " | ".join(turn.transcripts)
        often = "once" if turn.cut_offs == 1 else f"{turn.cut_offs} times"
        found = f"cut off {often}: {parts}" if turn.cut_offs else "heard to its end"
        yield Check("not_cut_off", not turn.cut_offs, found)
    if isinstance(expect.word_error, int | float):
        heard = " ".join(turn.transcripts)
        error = word_error(turn.said, heard)
        found = f"{error:.2f}: {heard!r} for {turn.said!r}"
        yield Check(f"word_error {expect.word_error:g}", error <= expect.word_error, found)


def of_call(
    turns: Sequence[Turn],
    expect: CallChecks,
    *,
    faults: Sequence[str],
    ended: str | None,
    problem: str | None,
) -> Iterator[Check]:
    """The results of a call's checks. ``ended``: the reason with which the server ended the call;
    ``problem``: why not all lines were said."""
    yield Check("call completed", problem is None, problem or "all lines were said")
    if expect.no_fault:
        yield Check("no_fault", not faults, "; ".join(faults) or "none")
    yield from _of_reply(" ".join(turn.reply for turn in turns), expect)
    if isinstance(expect.tool, ToolCheck):
        yield _used([use for turn in turns for use in turn.tools], expect.tool)
    if isinstance(expect.ends, str):
        passed = ended is not None and _matches(expect.ends, ended)
        yield Check(f"ends {expect.ends!r}", passed, ended or "the server did not end the call")


def _answered(turn: Turn, within: int | UnsetType) -> Check:
    name = "answered" if isinstance(within, UnsetType) else f"answered_within_ms {within}"
    if turn.ttfa_ms is None:
        return Check(name, passed=False, found="no reply was heard")
    passed = isinstance(within, UnsetType) or turn.ttfa_ms <= within
    return Check(name, passed, f"after {turn.ttfa_ms} ms")


def _of_reply(reply: str, expect: LineChecks | CallChecks) -> Iterator[Check]:
    shown = repr(reply) if reply else "no words"
    folded = reply.casefold()
    for text in listed(expect.reply_contains):
        yield Check(f"reply_contains {text!r}", text.casefold() in folded, shown)
    for pattern in listed(expect.reply_matches):
        yield Check(f"reply_matches {pattern!r}", _matches(pattern, reply), shown)
    for text in listed(expect.reply_lacks):
        yield Check(f"reply_lacks {text!r}", text.casefold() not in folded, shown)


def _in_language(reply: str, wanted: str) -> Check:
    found = language_of(reply, {*CALL_LANGUAGES, wanted}, own="")
    words = found or "too short, or too mixed, to recognise its language"
    return Check(f"reply_language {wanted!r}", found == wanted, f"{words}: {reply!r}")


def _used(uses: Sequence[ToolUse], wanted: ToolCheck) -> Check:
    shown = ", ".join(f"{name} = {value!r}" for name, value in wanted.arguments.items())
    passed = any(
        use.name == wanted.name and _arguments_match(use.arguments, wanted.arguments)
        for use in uses
    )
    found = ", ".join(f"{use.name}({use.arguments})" for use in uses) or "no tool was used"
    return Check(f"tool {wanted.name}({shown})", passed, found)


def _arguments_match(given: Any, wanted: Mapping[str, Any]) -> bool:
    if not isinstance(given, dict):
        return not wanted
    for name, value in wanted.items():
        if name not in given:
            return False
        if isinstance(value, str):
            if not _matches(value, str(given[name])):
                return False
        elif type(given[name]) is bool or type(value) is bool:
            if given[name] is not value:
                return False
        elif given[name] != value:
            return False
    return True


def _interrupted(turn: Turn, within: int) -> Check:
    name = f"interrupted_within_ms {within}"
    if turn.reply_before is None or turn.silenced_ms is None:
        return Check(name, passed=False, found=f"no reply was cut ({turn.reply_before or 'none'})")
    if turn.reply_before != "cancelled":
        return Check(name, passed=False, found=f"the reply went on ({turn.reply_before})")
    return Check(name, turn.silenced_ms <= within, f"silent after {turn.silenced_ms} ms")


def _went_on(turn: Turn) -> Check:
    if turn.reply_before is None:
        return Check("not_interrupted", passed=False, found="no reply was being heard")
    passed = turn.reply_before in WENT_ON and not turn.reply
    found = "the reply went on" if passed else f"the reply was {turn.reply_before}"
    return Check("not_interrupted", passed, found + (f", then {turn.reply!r}" * bool(turn.reply)))


def _matches(pattern: str, text: str) -> bool:
    return re.search(pattern, text, re.IGNORECASE) is not None
