"""What tool uses look like when a model writes them as text: where they begin, what they say.

Every family of models has a form of its own, and small or quantised ones several broken ones:

    <tool_call>{"name": …, "arguments": {…}}</tool_call>        Qwen, Hermes
    <function=name>{…}</function>, <parameter=key>value</…>     Llama, Qwen coder
    [TOOL_CALLS][{…}], [TOOL_CALLS]name[ARGS]{…}                Mistral
    <|python_tag|>name.call(key="value")                        Llama 3
    <|tool▁calls▁begin|>…, <|tool_calls_section_begin|>…        DeepSeek, Kimi
    <invoke name="…"><parameter name="…">…                      MiniMax and others
    ```json {"name": …} ```, ```tool_code name(key="value") ``` Gemma and many
    {{"name": …}}}, a missing brace, <tools>…, <function-name>: name, name: {…}, name(key="value")

``opening`` finds where such a form begins; ``interpreted`` reads it, whatever its form.
"""

import ast
import json
import re
from collections.abc import Collection, Iterator
from typing import Any

LOOK = 96
"""Characters held back because they may become the beginning of a form, at most."""

_WORDS = tuple(
    (
        "tool tools tool_call tool_calls tool_use tool_code tool_request toolcall toolcalls"
        " tool-call function functions function_call function_calls functioncall function-name"
        " function_name function-call args-json-object invoke python_tag minimax:tool_call"
        " tool_calls_section_begin tool_call_begin tool_call_start tool_calls_begin"
        " tool_response tool_sep tool▁calls▁begin tool▁call▁begin tool▁sep channel|>commentary"
        " start|>assistant<|channel|>commentary start_function_call"
    ).split()
)
_KEYS = tuple(
    (
        "name function function_name tool tool_name tool_call tool_calls recipient_name action"
        " arguments parameters type id"
    ).split()
)
_NAME_KEYS = ("name", "function", "function_name", "tool", "tool_name", "recipient_name", "action")
_ARGUMENT_KEYS = ("arguments", "parameters", "args", "input", "action_input", "kwargs", "params")
_BRACKETS = ("[TOOL_CALLS]", "[TOOL_CALL]", "[TOOL_REQUEST]", "[tool_calls]", "[tool_call]")
_FENCES = ("json", "tool_call", "tool_calls", "tool_code", "tool", "python", "xml", "")
_NAMES_PREFIX = r"(?:functions?\.|>>> ?|Action: *|to=functions\.)?"


class Markup:
    """The forms of tool uses, for tools of these names."""

    def __init__(self, names: Collection[str], *, bare: bool = True) -> None:
        """``bare``: whether an object, a fence or a name may begin a form, without any tag."""
        self._names = tuple(names)
        self._words = (*_WORDS, *self._names)
        words = _any(self._words)
        tagged = rf"(?P<tag><[|｜]?\s?/?(?:{words})(?=[\s=:>|｜/<]))"
        brackets = rf"(?P<bracket>{_any(_BRACKETS)})"
        self._opening = re.compile(f"{tagged}|{brackets}")
        if bare:
            known = _any((*_KEYS, *self._names))
            opened = rf"\{{[\s{{]{{0,8}}[\"']?(?:{known})[\"']?\s{{0,8}}:"
            name = _any(self._names)
            calls = (
                rf"{_NAMES_PREFIX}(?:{name})(?:\(|\s{{0,8}}:?\s{{0,8}}\{{)|Action: *(?:{name}) *\n"
            )
            named = rf"(?:^|(?<=\n))[ \t]*(?:{calls})"
            self._opening = re.compile(
                rf"{tagged}|{brackets}|(?P<fence>```(?:{_any(_FENCES)})\s{{0,16}}"
                rf"(?:{opened}|\[\s{{0,8}}{opened}|<|{calls}))"
                rf"|(?P<object>{opened}|\[\s{{0,8}}{opened})|(?P<named>{named}|\[(?:{name})\()"
            )
        self._bare = bare

    def opening(self, text: str) -> tuple[str, int] | None:
        """Kind and place of the first form that begins in ``text``."""
        found = self._opening.search(text)
        return (str(found.lastgroup), found.start()) if found else None

    def unsure(self, text: str, *, at_start: bool) -> int:
        """How many characters at the end of ``text`` may become the beginning of a form.

        ``at_start``: nothing but blanks came before ``text``."""
        base = max(0, len(text) - LOOK)
        for place in range(base, len(text)):
            letter = text[place]
            begins = text[place - 1] == "\n" if place else at_start
            if letter in "<[{`":
                may = self._may_open(text[place:])
            else:
                may = self._bare and begins and self._may_name(text[place:])
            if may:
                return len(text) - place
        return 0

    def _may_open(self, tail: str) -> bool:
        if tail[0] == "<":
            word = re.match(r"<[|｜]?\s?/?", tail)
            rest = tail[word.end() :].lower() if word else ""
            return any(known.lower().startswith(rest) for known in self._words)
        if tail[0] == "[" and any(bracket.startswith(tail) for bracket in _BRACKETS):
            return True
        if not self._bare:
            return False
        if tail[0] == "`":
            fence = re.fullmatch(r"`{1,3}|```(\w*)(\s*)(.*)", tail, re.DOTALL)
            if fence is None or fence[3] is None:
                return fence is not None
            if not fence[3]:
                whole = bool(fence[2])
                known = [one for one in _FENCES if one.startswith(fence[1])]
                return fence[1] in _FENCES if whole else bool(known)
            return fence[1] in _FENCES and (
                (fence[3][0] in "[{<" and self._may_open(fence[3])) or self._may_name(fence[3])
            )
        if tail[0] == "[":
            rest = tail[1:].lstrip()
            return (
                not rest
                or (rest[0] == "{" and self._may_open(rest))
                or any(f"{name}(".startswith(rest) for name in self._names)
            )
        key = re.fullmatch(r"\{[\s{]*(?:[\"']?([\w-]*)([\"']?\s*))?", tail)
        if key is None:
            return False
        known = [k for k in (*_KEYS, *self._names) if k.startswith(key[1] or "")]
        return (key[1] in known) if key[2] and key[1] else bool(known)

    def _may_name(self, tail: str) -> bool:
        found = re.fullmatch(rf"[ \t]*+({_NAMES_PREFIX})([\w.-]*+)(\s*+:?\s*+)", tail)
        if found is None:
            return any(p.startswith(tail.lstrip(" \t")) for p in ("functions.", ">>> ", "Action: "))
        begins = (*self._names, "functions.", "Action:") if not found[1] else self._names
        if found[3]:
            return found[2] in self._names
        return any(name.startswith(found[2]) for name in begins)

    def end(self, kind: str, text: str) -> int | None:
        """Where the form of ``kind`` at the beginning of ``text`` ends; None if not known yet."""
        if kind == "tag":
            return self._tag_end(text)
        if kind == "fence":
            close = text.find("```", 3)
            return None if close < 0 else close + 3
        if kind == "bracket":
            close = text.find("[END_TOOL_REQUEST]")
            return None if close < 0 else close + len("[END_TOOL_REQUEST]")
        start = next((n for n, letter in enumerate(text) if letter in "[{("), None)
        return None if start is None else _balanced(text, start)

    def _tag_end(self, text: str) -> int | None:
        name = re.match(r"<([|｜]?)\s?(/?)((?:minimax:)?[\w▁-]+)", text)
        if name is None or name[1]:
            return None
        if name[2] or name[3] in ("function-name", "args-json-object"):
            end = text.find(">") if name[2] else -1
            return None if end < 0 else end + 1
        close = re.search(rf"</\s?{re.escape(name[3])}\s*>", text)
        return close.end() if close else None


def interpreted(text: str, names: Collection[str]) -> list[tuple[str, Any]]:
    """The tool uses in ``text``: names, as written if no tool has them, and arguments, an object or
    None if they cannot be read."""
    objects = list(_objects(text))
    found = [(value, list(_calls_in(value, names))) for value in objects]
    calls = [call for _, made in found for call in made]
    if len(calls) == 1 and calls[0][1] == {} and not _has_arguments(objects[0]):
        apart = [value for value, made in found if not made and isinstance(value, dict)]
        return [(calls[0][0], (apart or [{}])[0])]  # a brace too early: the arguments follow
    if calls:
        return calls
    calls = _tagged(text, names) or _pythonic(text, names)
    if calls:
        return calls
    named = _mentioned(text, names)
    if named is None:
        return []
    plain = [value for value in objects if isinstance(value, dict)]
    if plain:
        return [(named, plain[0])]
    left = re.sub(r"<[^<>]*>|\[[A-Z_]+\]|```\w*|\(\s*\)|functions?\.", "", text)
    return [(named, None if re.search(r"\w", left.replace(named, "", 1)) else {})]


def _calls_in(value: Any, names: Collection[str]) -> Iterator[tuple[str, Any]]:
    """The tool uses in a JSON value."""
    if isinstance(value, list):
        for inner in value[:16]:
            yield from _calls_in(inner, names)
        return
    if not isinstance(value, dict):
        return
    for key in ("tool_calls", "tool_call", "function_call", "function"):
        if isinstance(value.get(key), dict | list):
            yield from _calls_in(value[key], names)
            return
    name = next((value[key] for key in _NAME_KEYS if isinstance(value.get(key), str)), None)
    given = next((key for key in _ARGUMENT_KEYS if key in value), None)
    if name is not None and (given is not None or name in names):
        yield name, _object_of(value[given]) if given is not None else _rest(value)
        return
    if len(value) == 1:
        ((name, inner),) = value.items()
        if name in names and isinstance(inner, dict):
            yield name, inner


def _has_arguments(value: Any) -> bool:
    return isinstance(value, dict) and any(key in value for key in _ARGUMENT_KEYS)


def _rest(value: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in value.items() if k not in (*_NAME_KEYS, "type", "id")}


def _object_of(value: Any) -> Any:
    if isinstance(value, str):
        value = _loaded(value) if value.strip() else {}
    if value is None:
        return {}
    return value if isinstance(value, dict) else None


def _tagged(text: str, names: Collection[str]) -> list[tuple[str, Any]]:
    """``<function=name><parameter=key>value``, ``<invoke name="…">``, ``<arg_key>`` pairs."""
    parts = _HEAD.split(text)
    if len(parts) == 1:
        name = _mentioned(text, names)
        if name is None or ("<arg_key>" not in text and "<parameter" not in text):
            return []
        parts = ["", name, text]
    calls: list[tuple[str, Any]] = []
    for name, body in zip(parts[1::2], parts[2::2], strict=True):
        pairs = _pairs(body, _PARAMETER, "</parameter>") or _pairs(body, _KEY, "</arg_value>")
        values = next((v for v in _objects(body) if isinstance(v, dict)), None)
        if not pairs and values is None and "{" in body:
            calls.append((name, None))
        else:
            calls.append((name, dict(pairs) if pairs else values or {}))
    return calls


_HEAD = re.compile(r"<(?:function|invoke|tool)(?:=|\s+name=)[\"']?([\w.-]++)[\"']?\s*>")
_PARAMETER = re.compile(r"<parameter(?:=|\s+name=)[\"']?([\w.-]++)[\"']?[^<>]*+>")
_KEY = re.compile(r"<arg_key>([^<>]*+)</arg_key>\s*+<arg_value>")


def _pairs(text: str, opening: re.Pattern[str], closing: str) -> list[tuple[str, str]]:
    """Name and value of each span from ``opening``, whose group is the name, to ``closing``."""
    pairs: list[tuple[str, str]] = []
    place = 0
    while (found := opening.search(text, place)) is not None:
        end = text.find(closing, found.end())
        if end < 0:
            break
        pairs.append((found[1].strip(), text[found.end() : end].strip()))
        place = end + len(closing)
    return pairs


_KEYWORDS = re.compile(r"(?<![\w.-])([\w.-]++)\(([^()]*+)\)")


def _pythonic(text: str, names: Collection[str]) -> list[tuple[str, Any]]:
    """``name(key="value")``."""
    calls = []
    for found in _KEYWORDS.finditer(text):
        name = found[1].removesuffix(".call").rpartition(".")[2]
        if name not in names:
            continue
        try:
            tree = ast.parse(f"f({found[2]})", mode="eval").body
            assert isinstance(tree, ast.Call)  # noqa: S101 - by its form
            if tree.args:
                continue
            values = {str(word.arg): ast.literal_eval(word.value) for word in tree.keywords}
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            continue
        calls.append((name, values))
    return calls


def _mentioned(text: str, names: Collection[str]) -> str | None:
    """The tool that ``text`` names first."""
    places = [
        (found.start(), -len(name), name)
        for name in names
        if (found := re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text))
    ]
    return min(places)[2] if places else None


_EFFORT = 20_000
"""Characters that are looked at in all, beginning at one brace after the other: more than the
longest text has (``tool_uses.LIMIT``), and about 5 ms for the worst."""
_LITERAL = re.compile(r"'|\b(?:True|False|None)\b")
"""What Python writes otherwise than JSON."""
_LONGEST_LITERAL = 4_096


def _objects(text: str) -> Iterator[Any]:
    """The JSON values in ``text``, repaired where they are broken."""
    place, effort = 0, _EFFORT
    for _ in range(16):
        starts = [n for n in (text.find("{", place), text.find("[{", place)) if n >= 0]
        if not starts:
            return
        start = min(starts)
        end = _balanced(text, start)
        piece = text[start:end] if end is not None else text[start:]
        effort -= len(piece)
        if effort < 0:
            return
        value = _loaded(piece)
        if value is None and end is not None:
            effort -= len(text) - start
            value = _loaded(text[start:]) if effort >= 0 else None
        if value is not None:
            yield value
            if end is None:
                return
        place = end if value is not None and end is not None else start + 1


def _loaded(piece: str) -> Any:
    """The JSON value that ``piece`` is or was meant to be; None if it cannot be read."""
    for tried in _mended(piece.strip()):
        try:
            value, _ = _DECODER.raw_decode(tried)
        except (ValueError, RecursionError):
            if len(tried) > _LONGEST_LITERAL or not _LITERAL.search(tried):
                continue
            try:
                value = ast.literal_eval(tried)
            except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
                continue
        if isinstance(value, dict | list):
            return value
    return None


_DECODER = json.JSONDecoder(strict=False)
_DOUBLED_END = re.compile(r"\}\s++\}++$|(?<!\})\}\}++$")
"""Closing braces of which only one is meant."""


def _mended(piece: str) -> Iterator[str]:
    yield piece
    doubled = re.sub(r"^\{\s*(?=\{)", "", piece)
    if doubled != piece:
        yield doubled
    for tried in dict.fromkeys((piece, doubled)):
        cut = _without_tail(tried)
        cut = re.sub(r",\s?([}\]])", r"\1", cut).rstrip(" \n,")
        opened = _still_open(cut)
        if opened is not None:
            yield cut + opened
        yield _DOUBLED_END.sub("}", cut)


def _without_tail(text: str) -> str:
    """``text`` without the tags and fences at its end."""
    for _ in range(8):
        text = text.rstrip()
        place = max(text.rfind("<", -LOOK), text.rfind("```", -LOOK), 0)
        if re.fullmatch(r"</?[\w|]*>?|```", text[place:]) is None:
            break
        text = text[:place]
    return text


_MARKS = re.compile(r'"(?:[^"\\]++|\\.?)*+("?)|[{}\[\]()]', re.DOTALL)
"""A string, perhaps without its end, or a bracket."""
_DEEPEST = 64
"""Brackets within brackets: no tool use has more, and what has is not worth its time."""


def _still_open(text: str) -> str | None:
    """The closing brackets that ``text`` lacks; None if it has one too many, or is too deep."""
    stack: list[str] = []
    quote = ""
    for mark in _MARKS.finditer(text):
        letter = text[mark.start()]
        if letter == '"':
            quote = "" if mark[1] else '"'
        elif letter in "{[":
            stack.append("}" if letter == "{" else "]")
            if len(stack) > _DEEPEST:
                return None
        elif letter in "}]" and (not stack or stack.pop() != letter):
            return None
    return quote + "".join(reversed(stack))


def _balanced(text: str, start: int) -> int | None:
    """Where the bracket at ``start`` is closed; None if it is not (yet), or too deep."""
    depth = 0
    for mark in _MARKS.finditer(text, start):
        letter = text[mark.start()]
        if letter in "{[(":
            depth += 1
            if depth > _DEEPEST:
                return None
        elif letter in "}])":
            depth -= 1
            if depth <= 0:
                return mark.end()
    return None


def _any(words: Collection[str]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True)) or r"(?!)"
