"""Every regular expression of the packages, and texts on which a slow one is slow.

A pattern is quadratic where a match begins at many places of a text and fails only after a long
look (``\\S*@`` in a long word, ``<b>.*?</b>`` with many openings and no end), or where two of its
repetitions can share a text between them (``\\s*\\s*x``). ``attacks`` builds such texts from the
pattern itself: runs of the characters that it names, and of the beginnings of its matches.
"""

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice, product
from pathlib import Path
from types import ModuleType
from typing import Any

FLOORS = ("gateway", "rest", "sessions", "pipelines", "media", "store")
ANCHORED = frozenset(("match", "fullmatch"))
"""Methods that look for a match at one place only."""
METHODS = ANCHORED | {"search", "finditer", "findall", "split", "sub", "subn"}

Tree = Iterable[tuple[Any, Any]]
"""As ``re`` parses a pattern: there is no public form of it."""


@dataclass
class Found:
    """A pattern, where it is, and what is called of it."""

    pattern: re.Pattern[Any]
    places: set[str] = field(default_factory=set)
    methods: set[str] = field(default_factory=set)

    @property
    def searched(self) -> bool:
        """Whether it is looked for anywhere in a text, as far as is known."""
        return not self.methods or bool(self.methods - ANCHORED)


class Patterns:
    """The patterns of the packages: values of modules, and texts in calls of ``re``."""

    def __init__(self) -> None:
        self.found: dict[tuple[Any, int], Found] = {}
        self.unread: list[str] = []
        """Calls of ``re`` whose pattern is made at run time."""
        for module in _modules():
            if module.__file__ is not None:
                self._read(module, Path(module.__file__).read_text())

    def _read(self, module: ModuleType, source: str) -> None:
        for name, value in vars(module).items():
            for pattern in _within(value):
                self._note(pattern, f"{module.__name__}.{name}", _methods_of(name, source))
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and (method := _re_method(node)) is not None:
                self._read_call(module, node, method)

    def _read_call(self, module: ModuleType, call: ast.Call, method: str) -> None:
        try:
            text, flags = _evaluated(call.args[0], module), 0
            for word in (*call.args[1:], *(keyword.value for keyword in call.keywords)):
                if re.fullmatch(r"re\.[A-Z]+(?: \| re\.[A-Z]+)*", ast.unparse(word)):
                    flags = _evaluated(word, module)
        except NameError:
            self.unread.append(f"{module.__name__}.{ast.unparse(call.args[0])}")
            return
        methods = set() if method == "compile" else {method}
        self._note(re.compile(text, flags), f"{module.__name__}:{call.lineno}", methods)

    def _note(self, pattern: re.Pattern[Any], place: str, methods: set[str]) -> None:
        found = self.found.setdefault((pattern.pattern, pattern.flags), Found(pattern))
        found.places.add(place)
        found.methods |= methods


def _modules() -> Iterator[ModuleType]:
    for floor in FLOORS:
        package = importlib.import_module(floor)
        yield package
        for info in pkgutil.walk_packages(package.__path__, f"{floor}."):
            if not info.name.endswith("__main__"):
                yield importlib.import_module(info.name)


def _within(value: Any, depth: int = 5) -> Iterator[re.Pattern[Any]]:
    """The patterns in a module's value, or in an object of the packages that it has."""
    if isinstance(value, re.Pattern):
        yield value
    if depth == 0 or isinstance(value, type | ModuleType):
        return
    inner: Iterable[Any] = ()
    if isinstance(value, Mapping):
        inner = value.values()
    elif isinstance(value, list | tuple | set | frozenset):
        inner = value
    elif type(value).__module__.partition(".")[0] in FLOORS:
        slots = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
        inner = [*getattr(value, "__dict__", {}).values()]
        inner += [getattr(value, name, None) for name in slots]
    for one in inner:
        yield from _within(one, depth - 1)


def _methods_of(name: str, source: str) -> set[str]:
    """What a module calls of its own pattern; nothing if it passes it on."""
    return {found[1] for found in re.finditer(rf"\b{name}\.(\w+)\(", source)} & METHODS


def _re_method(call: ast.Call) -> str | None:
    called = call.func
    if not (isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name) and call.args):
        return None
    known = called.value.id == "re" and called.attr in METHODS | {"compile"}
    return called.attr if known else None


def _evaluated(node: ast.expr, module: ModuleType) -> Any:
    return eval(compile(ast.Expression(node), "<pattern>", "eval"), vars(module))


# ------------------------------------------------------------------ texts


_CATEGORIES = {
    "CATEGORY_DIGIT": "1",
    "CATEGORY_NOT_DIGIT": "x",
    "CATEGORY_SPACE": " ",
    "CATEGORY_NOT_SPACE": "x",
    "CATEGORY_WORD": "x",
    "CATEGORY_NOT_WORD": "-",
}
_PLAIN = "x1 -.\n"
_REPEATS = ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT")


@dataclass(frozen=True)
class Attack:
    """A text that a pattern may find hard: ``head``, then ``unit`` again and again."""

    head: str
    unit: str
    binary: bool

    def text(self, size: int) -> Any:
        """About ``size`` characters of it, and one that seldom belongs to a match."""
        made = self.head + (self.unit * (size // len(self.unit) + 1))[:size] + "\x01"
        return made.encode() if self.binary else made


def attacks(pattern: re.Pattern[Any], most: int) -> Iterator[Attack]:
    """What ``pattern`` may find hard, ``most`` at most."""
    tree = _parsed(pattern)
    signs = sorted(_signs(tree) | set("x1 "))
    begun = sorted(_beginnings(tree), key=lambda text: (len(text), text))[:24]
    units = [*signs, *begun]
    units += ["".join(pair) for pair in product(signs[:8], repeat=2) if pair[0] != pair[1]]
    made = [("", unit) for unit in units]
    made += product(begun[:8], signs[:8])
    binary = isinstance(pattern.pattern, bytes)
    for head, unit in islice(dict.fromkeys(made), most):
        yield Attack(head, unit, binary)


def _parsed(pattern: re.Pattern[Any]) -> Tree:
    text = pattern.pattern
    parser = re._parser  # type: ignore[attr-defined]
    flags = pattern.flags & ~re.UNICODE if isinstance(text, bytes) else pattern.flags
    tree: Tree = parser.parse(text, flags)
    return tree


def _parts(tree: Tree) -> Iterator[tuple[str, Any, list[Tree]]]:
    """Name, argument and subtrees of each element."""
    for op, argument in tree:
        name = str(op)
        match name:
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                yield name, argument, [argument[2]]
            case "SUBPATTERN":
                yield name, argument, [argument[3]]
            case "ATOMIC_GROUP":
                yield name, argument, [argument]
            case "BRANCH":
                yield name, argument, list(argument[1])
            case "ASSERT" | "ASSERT_NOT":
                yield name, argument, [argument[1]]
            case _:
                yield name, argument, []


def _signs(tree: Tree) -> set[str]:
    """Characters that the pattern names."""
    signs: set[str] = set()
    for name, argument, inner in _parts(tree):
        if name == "LITERAL":
            signs.add(chr(argument))
        elif name == "IN":
            signs.update(_in_class(argument)[:6])
        for subtree in inner:
            signs |= _signs(subtree)
    return signs


def _in_class(members: list[tuple[Any, Any]]) -> list[str]:
    """Characters of a class, or that a negated one names and matches."""
    named: list[str] = []
    for op, argument in members:
        match str(op):
            case "LITERAL":
                named.append(chr(argument))
            case "RANGE":
                named.append(chr(argument[0]))
            case "CATEGORY":
                named.append(_CATEGORIES.get(str(argument), "x"))
    return [*named, *_PLAIN] if str(members[0][0]) == "NEGATE" else named


def _example(tree: Tree) -> str:
    """A text that the pattern may match, each repetition once."""
    made = ""
    for name, argument, inner in _parts(tree):
        if name == "LITERAL":
            made += chr(argument)
        elif name == "IN":
            negated = str(argument[0][0]) == "NEGATE"
            named = _in_class(argument)
            free = [sign for sign in _PLAIN if sign not in named[: -len(_PLAIN)]]
            made += (free or ["x"])[0] if negated else (named or ["x"])[0]
        elif name in ("ANY", "NOT_LITERAL"):
            made += "x"
        elif name in _REPEATS:
            made += _example(inner[0]) * min(max(1, argument[0]), 64)
        elif inner and not name.startswith("ASSERT"):
            made += _example(inner[0])
    return made


def _beginnings(tree: Tree) -> set[str]:
    """What a match may begin with, up to each of its elements, within groups too."""
    elements = list(tree)
    begun = {_example(elements[:count]) for count in range(1, len(elements) + 1)}
    for name, _, inner in _parts(elements):
        if not name.startswith("ASSERT"):
            for subtree in inner[:12]:
                begun |= _beginnings(subtree)
    return begun - {""}
