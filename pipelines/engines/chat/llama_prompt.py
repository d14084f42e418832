"""The embedded model's prompt and grammar: how tools, their outputs and formats are put to it.

The grammars are llguidance's, built into llama.cpp (this build converts JSON schemas to nothing
else; GBNF is not available). They hold from the first token on, not from a trigger: a small model
forgets the tag that would be the trigger, and its JSON was then spoken.

- ``auto``: prose, tool uses, or prose and then tool uses. Prose has no ``<``, ``{`` or ``[``:
  whatever begins with one of them is a tool use. It stands in ``<tool_call>`` tags, or alone.
- After tool uses, when none may follow: prose alone.
- ``required``, a named tool: tool uses only, or that one. The answer ends with it.
- Arguments, and a formatted answer, fit the schema as ``json_schemas.bounded`` returns it.

llama.cpp silently ignores a grammar that does not compile. ``bounded`` makes that impossible, and
the output is checked again (``json_schemas.fits``).
https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md

Tools stand in the system message in the words that Qwen was trained on. Past tool uses are written
in one of two ways, as measured:

- *in words*, for the 0.5B model: after ``<tool_response>`` it writes the same tool use again, and
  if tools are offered after an output it uses one that nobody asked for (13 of 30: it hung up after
  booking a table). So tool uses are left out, an output appears as something the user says, and no
  tool is offered after it.
- *in tags*, for the 1.5B model: it made no unwanted tool use in 20 tries, and makes the second of
  two where it needs the first one's output (3 of 4).
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.engines.base import AnswerFormat, ChatMessage, ToolOffer

from .json_schemas import arguments_schema, bounded

MOST_TOOL_USES = 4
"""Tool uses in one answer; a small model would go on for ever."""
MOST_SCHEMA = 60_000
"""Characters of all tools' schemas together; beyond it arguments may be any object."""
OPEN, CLOSE = "<tool_call>", "</tool_call>"
_PROSE = r"/[^<{\[*#`|]+/"
"""Neither the markup of tool uses nor markdown, which has no sound."""
_COMPACT = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
    "lenient": True,
}
"""How Qwen was trained to write JSON; endless blanks are impossible."""


def answer_grammar(
    offer: ToolOffer | None, answer_format: AnswerFormat | None, *, prose: bool = False
) -> str:
    """The grammar; empty if anything may be written.

    ``prose``: restrict the answer to prose if no tool may be used and no format is requested."""
    tools = bool(offer and offer.tools and offer.choice != "none")
    if offer is None or not tools:
        if answer_format is not None:
            return f"{_GRAMMAR_HEAD}start: {_json(_format_schema(answer_format))}\n"
        return f"{_GRAMMAR_HEAD}start: PROSE\nPROSE: {_PROSE}\n" if prose else ""
    rules = _call_rules(offer)
    count = f"{{0,{MOST_TOOL_USES - 1}}}"
    more = (
        f' ("\\n" tagged){count}' if offer.parallel and offer.choice in ("auto", "required") else ""
    )
    calls = f"calls: tagged{more}\n"
    if offer.choice != "auto":
        return f"{_GRAMMAR_HEAD}start: calls\n{calls}{rules}"
    if answer_format is not None:
        start = f"start: calls | formatted\nformatted: {_json(_format_schema(answer_format))}\n"
        return f"{_GRAMMAR_HEAD}{start}{calls}{rules}"
    start = f"start: PROSE | calls | bare | PROSE calls | PROSE bare\nbare: call\nPROSE: {_PROSE}\n"
    return f"{_GRAMMAR_HEAD}{start}{calls}{rules}"


_GRAMMAR_HEAD = "%llguidance {}\n"


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


ANSWER = "Tell me what it says, in one short spoken sentence."
RUNNING = "is still running: there is no output yet. Do not call it again."
SHOWN = 3000
"""Characters of one tool's schema in the prompt; a context holds about 12,000."""

_TOOLS_HEAD = """# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
"""
_TOOLS_TAIL = """
</tools>

For each function call, return a json object with function name and arguments within \
<tool_call></tool_call> XML tags:
<tool_call>
{"name": <function-name>, "arguments": <args-json-object>}
</tool_call>"""


def with_tools(messages: Sequence[ChatMessage], offer: ToolOffer | None) -> list[ChatMessage]:
    """``messages`` with the tools at the end of the first system message."""
    if offer is None:
        return list(messages)
    signatures = "\n".join(
        json.dumps(
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": _shown(tool.parameters),
                },
            },
            ensure_ascii=False,
        )
        for tool in offer.tools
    )
    text = f"{_TOOLS_HEAD}{signatures}{_TOOLS_TAIL}"
    if messages and messages[0].role == "system":
        return [ChatMessage("system", f"{messages[0].content}\n\n{text}"), *messages[1:]]
    return [ChatMessage("system", text), *messages]


def with_outputs(messages: Sequence[ChatMessage], *, tagged: bool = False) -> list[ChatMessage]:
    """``messages`` without the roles and fields of tool uses; ``tagged``: in tags, not in words."""
    answered = {message.call_id for message in messages if message.role == "tool"}
    names = {call.call_id: call.name for message in messages for call in message.calls}
    shown: list[ChatMessage] = []
    for message in messages:
        if message.role == "tool":
            name = names.get(message.call_id, "")
            shown.append(ChatMessage("user", _output(name, message.content, tagged=tagged)))
            continue
        if tagged and message.calls:
            calls = [_call(call.name, call.arguments) for call in message.calls]
            text = "\n".join([message.content, *calls]).lstrip("\n")
            shown.append(ChatMessage("assistant", text))
        elif message.content or not message.calls:
            shown.append(ChatMessage(message.role, message.content))
        shown += [
            ChatMessage("user", f"The tool {call.name} {RUNNING}")
            for call in message.calls
            if call.call_id not in answered
        ]
    if messages and messages[-1].role == "tool" and not tagged:
        shown[-1] = ChatMessage("user", f"{shown[-1].content}\n{ANSWER}")
    return shown


def _shown(parameters: str) -> Any:
    """The schema as the prompt shows it; one that is too long loses its details."""
    if len(parameters) <= SHOWN:
        return json.loads(parameters)
    made = arguments_schema(parameters)
    return made if len(json.dumps(made)) <= SHOWN else {"type": "object"}


def _output(name: str, content: str, *, tagged: bool) -> str:
    if tagged:
        return f"<tool_response>\n{content}\n</tool_response>"
    return f"The tool {name} answered: {content}"


def _call(name: str, arguments: str) -> str:
    return f'{OPEN}\n{{"name": {json.dumps(name)}, "arguments": {arguments}}}\n{CLOSE}'
