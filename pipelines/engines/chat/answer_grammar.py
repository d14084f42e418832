"""The grammar of an answer: what the embedded model may write where tools or a format are given.

The grammars are llguidance's, which llama.cpp has built in (this build converts JSON schemas to
nothing else; a GBNF of its own is not to be had). They hold from the first token on, not from a
trigger: a small model forgets the tag that would be the trigger, and its JSON was then spoken.

- ``auto``: prose, calls, or prose and then calls. Prose has no ``<``, ``{`` or ``[``: whatever
  begins with one of them is a call. A call stands in ``<tool_call>`` tags, or alone.
- Behind calls where none may be made now: prose alone.
- ``required``, a named tool: calls only, or that one call. The answer ends with it.
- Arguments fit the tool's schema as ``json_schemas.bounded`` has it; so does a formatted answer.

A grammar that does not compile would be left out by llama.cpp without a word. ``bounded`` is
there to make that impossible, and what is written is read again (``json_schemas.fits``).

https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md
"""

import json
from collections.abc import Mapping
from typing import Any

from pipelines.engines.base import AnswerFormat, ToolOffer

from .json_schemas import arguments_schema, bounded

MOST_CALLS = 4
"""Calls of one answer; a small model would go on for ever."""
MOST_SCHEMA = 60_000
"""Characters of all tools' schemas together; beyond it the arguments are any object."""
OPEN, CLOSE = "<tool_call>", "</tool_call>"
_PROSE = r"/[^<{\[*#`|]+/"
"""Neither markup of calls nor markdown that has no sound."""
_COMPACT = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
    "lenient": True,
}
"""As Qwen was taught to write JSON; blanks without end cannot come."""


def answer_grammar(
    offer: ToolOffer | None, answer_format: AnswerFormat | None, *, prose: bool = False
) -> str:
    """The grammar, or nothing where anything may be written.

    ``prose``: where nothing may be called and no format is asked for, prose all the same."""
    tools = bool(offer and offer.tools and offer.choice != "none")
    if offer is None or not tools:
        if answer_format is not None:
            return f"{_HEAD}start: {_json(_format_schema(answer_format))}\n"
        return f"{_HEAD}start: PROSE\nPROSE: {_PROSE}\n" if prose else ""
    rules = _call_rules(offer)
    count = f"{{0,{MOST_CALLS - 1}}}"
    more = (
        f' ("\\n" tagged){count}' if offer.parallel and offer.choice in ("auto", "required") else ""
    )
    calls = f"calls: tagged{more}\n"
    if offer.choice != "auto":
        return f"{_HEAD}start: calls\n{calls}{rules}"
    if answer_format is not None:
        start = f"start: calls | formatted\nformatted: {_json(_format_schema(answer_format))}\n"
        return f"{_HEAD}{start}{calls}{rules}"
    start = f"start: PROSE | calls | bare | PROSE calls | PROSE bare\nbare: call\nPROSE: {_PROSE}\n"
    return f"{_HEAD}{start}{calls}{rules}"


_HEAD = "%llguidance {}\n"


def _call_rules(offer: ToolOffer) -> str:
    wanted = [t for t in offer.tools if offer.choice in ("auto", "required", t.name)]
    schemas: list[Mapping[str, Any]] = [arguments_schema(tool.parameters) for tool in wanted]
    if sum(len(json.dumps(schema)) for schema in schemas) > MOST_SCHEMA:
        schemas = [{"type": "object"}] * len(schemas)
    names = " | ".join(f"call{number}" for number in range(len(wanted)))
    rules = [
        f"tagged: {_text(f'{OPEN}{chr(10)}')} call {_text(f'{chr(10)}{CLOSE}')}",
        f"call: {names}",
    ]
    for number, (tool, schema) in enumerate(zip(wanted, schemas, strict=True)):
        head = _text(f'{{"name": {json.dumps(tool.name)}, "arguments": ')
        rules.append(f'call{number}: {head} {_json(schema)} "}}"')
    return "\n".join(rules) + "\n"


def _format_schema(answer_format: AnswerFormat) -> dict[str, Any]:
    if not answer_format.schema:
        return {"type": "object"}
    return bounded(json.loads(answer_format.schema))


def _json(schema: Mapping[str, Any]) -> str:
    return f"%json {json.dumps({**schema, 'x-guidance': _COMPACT})}"


def _text(text: str) -> str:
    return json.dumps(text)
