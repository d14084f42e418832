"""Scenarios: who calls, what is said and when, and what must happen.

A TOML file, or the same tree from JSON, with one ``[[scenario]]`` for each call;
docs/simulation.md describes every key.

Rules
- The file is read whole before anybody calls. Everything that is wrong with it is reported at once
  (FileFault), each fault with its place, its key and what is accepted; unknown keys are wrong.
- ``[defaults]`` holds what a scenario does not say itself, and ``[defaults.expect]`` the checks of
  every line that does not set them itself.
- A file's recordings are files with paths relative to it; whoever takes scenarios from elsewhere
  says which recordings there are. They are looked at here, so that a missing one stops nothing
  half-way.
"""

import math
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, structs

from gateway.caller import Recording
from gateway.caller.channels import CLIENT_RATE
from pipelines.speech.language import LANGUAGES
from rest.http.body_checks import faults_in, unknown_places
from rest.http.errors import Fault
from store.database import storable

MAX_FILE_BYTES = 1_000_000
MAX_PAUSE_MS = 20_000
DEEPEST = 50
"""Levels of objects and lists."""
_LONG_KEY = re.compile(
    r"""(?<![\w-])(?:(?:[\w-]++|"(?:[^"\\\n]|\\.)*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+)"""
    f"{{{DEEPEST}}}",
    re.ASCII,
)
"""``a.b.c…``: the time that ``tomllib`` takes for a key grows with the square of its parts, to
minutes for 100 kB."""
_INTEGERS = range(-(2**63), 2**64)

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Text = Annotated[str, Meta(min_length=1, max_length=4096)]
Milliseconds = Annotated[int, Meta(ge=0, le=120_000)]
Parts = Text | Annotated[list[Text | int], Meta(min_length=1, max_length=100)]
"""One text or file name, or several with pauses (ms) between them."""
Texts = Text | Annotated[list[Text], Meta(min_length=1, max_length=100)]
Share = Annotated[float, Meta(ge=0, le=1)]


class ToolCheck(Struct, kw_only=True, frozen=True):
    """A tool that must be used. ``arguments``: a regular expression for each text, else equal."""

    name: Name
    arguments: dict[str, Any] = {}


class LineChecks(Struct, kw_only=True, frozen=True):
    """What must happen after a line; see ``checks.Turn`` for what is measured."""

    reply_contains: Texts | UnsetType = UNSET
    reply_matches: Texts | UnsetType = UNSET
    reply_lacks: Texts | UnsetType = UNSET
    reply_language: Annotated[str, Meta(pattern="^[a-z]{2}$")] | UnsetType = UNSET
    tool: ToolCheck | UnsetType = UNSET
    answered_within_ms: Milliseconds | UnsetType = UNSET
    interrupted_within_ms: Milliseconds | UnsetType = UNSET
    not_interrupted: bool | UnsetType = UNSET
    not_cut_off: bool | UnsetType = UNSET
    word_error: Share | UnsetType = UNSET


class CallChecks(Struct, kw_only=True, frozen=True):
    """What must be true of a whole call."""

    reply_contains: Texts | UnsetType = UNSET
    reply_matches: Texts | UnsetType = UNSET
    reply_lacks: Texts | UnsetType = UNSET
    tool: ToolCheck | UnsetType = UNSET
    no_fault: bool = True
    ends: Text | UnsetType = UNSET


class Line(Struct, kw_only=True, frozen=True):
    """What the caller says in one go, and what must happen then."""

    audio: Parts | UnsetType = UNSET
    say: Parts | UnsetType = UNSET
    text: Text | UnsetType = UNSET
    voice: Name | UnsetType = UNSET
    language: Name | UnsetType = UNSET
    over_reply_ms: Milliseconds | UnsetType = UNSET
    expect: LineChecks = LineChecks()

    @property
    def parts(self) -> Sequence[str | int]:
        """Texts or file names, and pauses (ms)."""
        given = self.say if self.audio is UNSET else self.audio
        return [given] if isinstance(given, str) else [] if given is UNSET else given

    @property
    def words(self) -> str:
        """What is said, as text; "" if a recording comes without its text."""
        if self.audio is not UNSET:
            return self.text if isinstance(self.text, str) else ""
        return " ".join(part for part in self.parts if isinstance(part, str))


class Tool(Struct, kw_only=True, frozen=True):
    """A function that the agent is offered; the caller's side answers with ``output``."""

    name: Annotated[str, Meta(pattern="^[a-zA-Z0-9_-]{1,64}$")]
    description: Annotated[str, Meta(max_length=4096)] = ""
    parameters: dict[str, Any] = {}
    output: Annotated[str, Meta(max_length=16_384)] = ""


class _Common(Struct, kw_only=True, frozen=True):
    channel: Literal["websocket", "webrtc"] | UnsetType = UNSET
    agent: Name | UnsetType = UNSET
    instructions: Annotated[str, Meta(max_length=30_000)] | UnsetType = UNSET
    language: Name | UnsetType = UNSET
    voice: Name | UnsetType = UNSET
    noise_dbfs: Annotated[float, Meta(ge=-90, le=-10)] | UnsetType = UNSET
    deadline_s: Annotated[float, Meta(ge=1, le=300)] | UnsetType = UNSET


class Defaults(_Common, kw_only=True, frozen=True):
    """What a scenario does not say itself. ``expect``: checks of every line."""

    expect: LineChecks = LineChecks()


class Scenario(_Common, kw_only=True, frozen=True, rename={"lines": "line", "tools": "tool"}):
    """One call."""

    name: Name
    lines: Annotated[list[Line], Meta(min_length=1, max_length=100)]
    tools: Annotated[list[Tool], Meta(max_length=32)] = []
    expect: CallChecks = CallChecks()

    @property
    def deadline(self) -> float:
        """Seconds that a reply may take before the call is given up."""
        return 30.0 if self.deadline_s is UNSET else self.deadline_s


class _File(Struct, kw_only=True, frozen=True, rename={"scenarios": "scenario"}):
    scenarios: Annotated[list[Scenario], Meta(min_length=1, max_length=500)]
    defaults: Defaults = Defaults()


class ScenarioFault(ValueError):
    """Scenarios that cannot be used; each of ``faults`` has its path in the tree ("" where there is
    none), and a sentence that names place and key."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = faults
        super().__init__("\n".join(fault.message for fault in faults))


class FileFault(ValueError):
    """A file that cannot be used; ``faults`` are sentences that name file, place and key."""

    def __init__(self, path: Path, faults: Sequence[str]) -> None:
        self.faults = [f"{path}: {fault}" for fault in faults]
        super().__init__("\n".join(self.faults))


ProblemWith = Callable[[str], str | None]
"""What keeps a recording of that name from being used."""


def read(path: Path) -> list[Scenario]:
    """The scenarios of a file, with the defaults filled in; raises FileFault."""
    try:
        data = path.read_bytes()
        if len(data) > MAX_FILE_BYTES:
            raise FileFault(path, [f"the file is larger than {MAX_FILE_BYTES} bytes"])
        text = data.decode()
    except OSError as error:
        raise FileFault(path, [f"cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise FileFault(path, [f"is not UTF-8: {error.reason} at byte {error.start}"]) from error
    return parse(text, path)


def parse(text: str, path: Path) -> list[Scenario]:
    """As ``read``, of a file's text; ``path`` names the file and finds its recordings."""
    try:
        return scenarios_of(tree_of(text), in_folder(path.parent))
    except ScenarioFault as error:
        raise FileFault(path, [fault.message for fault in error.faults]) from error


def tree_of(text: str) -> dict[str, Any]:
    """A file's text as a tree; raises ScenarioFault."""
    if _LONG_KEY.search(text):
        raise ScenarioFault([Fault("", f"holds a key of more than {DEEPEST} parts")])
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        fault = Fault("", f"is not TOML: {error or 'nested too deeply'}")
        raise ScenarioFault([fault]) from error
    except ValueError as error:
        raise ScenarioFault([Fault("", "holds an integer that is too long")]) from error


def scenarios_of(tree: Mapping[str, Any], problem_with: ProblemWith) -> list[Scenario]:
    """The scenarios of a tree, with the defaults filled in; raises ScenarioFault."""
    given = dict(tree)
    try:
        faults = list(_faults_of_shape(given))
    except RecursionError:
        raise ScenarioFault([Fault("", "is nested too deeply")]) from None
    if not faults:
        scenarios = _with_defaults(msgspec.convert(given, _File))
        faults = list(_faults_of_meaning(scenarios, problem_with))
    if faults:
        raise ScenarioFault([Fault(one.path, _sentence(one, given)) for one in faults])
    return scenarios


def in_folder(folder: Path) -> ProblemWith:
    """Recordings are the files of a folder."""

    def problem_with(name: str) -> str | None:
        try:
            Recording.read(folder / name, CLIENT_RATE)
        except (OSError, ValueError) as error:
            return f"cannot be read: {error}"
        return None

    return problem_with


def _faults_of_shape(tree: dict[str, Any]) -> Iterator[Fault]:
    unusable = list(_unusable(tree, ""))
    if unusable:
        yield from unusable
        return
    for place, known in unknown_places(tree, _File):
        yield Fault(place, f"is not a key here: use one of {', '.join(known)}")
    yield from faults_in(tree, _File)


def _unusable(value: Any, place: str, depth: int = 0) -> Iterator[Fault]:
    """Values that no text of JSON, or no store, can hold."""
    if depth > DEEPEST:
        yield Fault(place, "is nested too deeply")
    elif isinstance(value, float) and not math.isfinite(value):
        yield Fault(place, "must be a finite number")
    elif isinstance(value, int) and value not in _INTEGERS:
        yield Fault(place, "must be an integer of 64 bits")
    elif isinstance(value, str) and storable(value) != value:
        yield Fault(place, "holds a character that is not text")
    elif isinstance(value, dict):
        for name, member in value.items():
            yield from _unusable(name, place)
            yield from _unusable(member, f"{place}.{name}".lstrip("."), depth + 1)
    elif isinstance(value, list):
        for number, member in enumerate(value):
            yield from _unusable(member, f"{place}[{number}]", depth + 1)


_PLACE = re.compile(r"^scenario\[(\d+)\](?:\.line\[(\d+)\])?\.?(.*)$")


def _sentence(fault: Fault, tree: dict[str, Any]) -> str:
    found, entries = _PLACE.match(fault.path), tree.get("scenario")
    if not found or not isinstance(entries, list) or int(found[1]) >= len(entries):
        return f"{fault.path}: {fault.message}"
    entry = entries[int(found[1])]
    name = entry.get("name") if isinstance(entry, dict) else None
    place = f"scenario {int(found[1]) + 1}" + (f" ({name!r})" if isinstance(name, str) else "")
    if found[2]:
        place += f", line {int(found[2]) + 1}"
    return f"{place}: {found[3] + ': ' if found[3] else ''}{fault.message}"


def _with_defaults(file: _File) -> list[Scenario]:
    given = {name: getattr(file.defaults, name) for name in _Common.__struct_fields__}
    return [
        structs.replace(
            scenario,
            **{name: value for name, value in given.items() if getattr(scenario, name) is UNSET},
            lines=[
                structs.replace(line, expect=_merged(line, file.defaults.expect))
                for line in scenario.lines
            ],
        )
        for scenario in file.scenarios
    ]


def _merged(line: Line, defaults: LineChecks) -> LineChecks:
    """A line's checks, completed by the default ones that can apply to it."""
    if line.expect.not_interrupted is True:
        return line.expect
    over = line.over_reply_ms is not UNSET
    wanted = [
        name
        for name in LineChecks.__struct_fields__
        if (over or name != "interrupted_within_ms")
        and (name != "word_error" or line.words)
        and name != "not_interrupted"
    ]
    given = structs.asdict(line.expect)
    return structs.replace(
        line.expect, **{n: getattr(defaults, n) for n in wanted if given[n] is UNSET}
    )


# ------------------------------------------------------------------ what the parts mean together


def _faults_of_meaning(scenarios: Sequence[Scenario], problem_with: ProblemWith) -> Iterator[Fault]:
    names: set[str] = set()
    for number, scenario in enumerate(scenarios):
        place = f"scenario[{number}]"
        if scenario.name in names:
            yield Fault(f"{place}.name", "another scenario has this name already")
        names.add(scenario.name)
        yield from _faults_of_checks(scenario.expect, f"{place}.expect")
        offered = [tool.name for tool in scenario.tools]
        if len(set(offered)) < len(offered):
            yield Fault(f"{place}.tool", "two tools have the same name")
        for index, line in enumerate(scenario.lines):
            where = f"{place}.line[{index}]"
            yield from _faults_of_line(line, where, problem_with, first=not index)


def _faults_of_line(
    line: Line, place: str, problem_with: ProblemWith, *, first: bool
) -> Iterator[Fault]:
    if (line.audio is UNSET) == (line.say is UNSET):
        yield Fault(place, "needs either audio (a recording) or say (a text)")
        return
    key = "say" if line.audio is UNSET else "audio"
    if not any(isinstance(part, str) for part in line.parts):
        yield Fault(f"{place}.{key}", "holds pauses only")
    for part in line.parts:
        if isinstance(part, int) and not 0 < part <= MAX_PAUSE_MS:
            yield Fault(f"{place}.{key}", f"a pause has 1 to {MAX_PAUSE_MS} ms, not {part}")
        problem = problem_with(part) if isinstance(part, str) and key == "audio" else None
        if problem is not None:
            yield Fault(f"{place}.audio", f"{part!r} {problem}")
    if key == "say":
        if line.text is not UNSET:
            yield Fault(f"{place}.text", "goes with audio only; say is its own text")
    else:
        for name in ("voice", "language"):
            if getattr(line, name) is not UNSET:
                yield Fault(f"{place}.{name}", "goes with say only; a recording has its own")
    if first and line.over_reply_ms is not UNSET:
        yield Fault(f"{place}.over_reply_ms", "the first line has no reply before it")
    yield from _faults_of_line_checks(line, f"{place}.expect")


def _faults_of_line_checks(line: Line, place: str) -> Iterator[Fault]:
    expect = line.expect
    yield from _faults_of_checks(expect, place)
    if line.over_reply_ms is UNSET:
        for name in ("interrupted_within_ms", "not_interrupted"):
            if getattr(expect, name) is not UNSET:
                yield Fault(f"{place}.{name}", "goes with a line that has over_reply_ms only")
    elif expect.not_interrupted is True:
        for name in LineChecks.__struct_fields__:
            if name != "not_interrupted" and getattr(expect, name) is not UNSET:
                yield Fault(f"{place}.{name}", "contradicts not_interrupted: no reply follows it")
    if expect.word_error is not UNSET and not line.words:
        yield Fault(f"{place}.word_error", "needs the recording's words as the line's text")
    if isinstance(expect.reply_language, str) and expect.reply_language not in LANGUAGES:
        known = ", ".join(LANGUAGES)
        yield Fault(f"{place}.reply_language", f"cannot be recognised: use one of {known}")


def _faults_of_checks(expect: LineChecks | CallChecks, place: str) -> Iterator[Fault]:
    patterns = [(f"{place}.reply_matches", pattern) for pattern in listed(expect.reply_matches)]
    if isinstance(expect, CallChecks) and isinstance(expect.ends, str):
        patterns.append((f"{place}.ends", expect.ends))
    if isinstance(expect.tool, ToolCheck):
        patterns += [
            (f"{place}.tool.arguments.{name}", value)
            for name, value in expect.tool.arguments.items()
            if isinstance(value, str)
        ]
    for where, pattern in patterns:
        try:
            re.compile(pattern)
        except (re.error, RecursionError, OverflowError) as error:
            yield Fault(where, f"{pattern!r} is not a regular expression: {error}")


def listed(texts: str | Sequence[str] | UnsetType) -> Sequence[str]:
    """One text, several or none, as a sequence."""
    return [] if texts is UNSET else [texts] if isinstance(texts, str) else list(texts)
