"""Tools and their outputs as the embedded models understand them: part of the prompt's text.

The offer stands in the system message in the words that Qwen was taught. What has been called is
written in one of two ways, as measured:

- *in words*, for the 0.5B model: behind ``<tool_response>`` it writes the same call again, and
  where tools are offered behind an output it calls one that nobody asked for (13 of 30: it hung
  up after booking a table). So calls are left out, an output stands there as something the user
  says, and no tool is offered behind it.
- *in tags*, for the 1.5B model: it made no unwanted call in 20 tries, and makes the second
  of two calls where the first one's output is needed for it (3 of 4).
"""

import json
from collections.abc import Sequence
from typing import Any

from pipelines.engines.base import ChatMessage, ToolOffer

from .answer_grammar import CLOSE, OPEN
from .json_schemas import arguments_schema

ANSWER = "Tell me what it says, in one short spoken sentence."
RUNNING = "is still running: there is no output yet. Do not call it again."
SHOWN = 3000
"""Characters of one tool's schema in the prompt; a context has about 12,000."""

_HEAD = """# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
"""
_TAIL = """
</tools>

For each function call, return a json object with function name and arguments within \
<tool_call></tool_call> XML tags:
<tool_call>
{"name": <function-name>, "arguments": <args-json-object>}
</tool_call>"""


def told_offer(messages: Sequence[ChatMessage], offer: ToolOffer | None) -> list[ChatMessage]:
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
    text = f"{_HEAD}{signatures}{_TAIL}"
    if messages and messages[0].role == "system":
        return [ChatMessage("system", f"{messages[0].content}\n\n{text}"), *messages[1:]]
    return [ChatMessage("system", text), *messages]


def told_outputs(messages: Sequence[ChatMessage], *, tagged: bool = False) -> list[ChatMessage]:
    """``messages`` without the roles and fields of calls; ``tagged`` for the second way."""
    answered = {message.call_id for message in messages if message.role == "tool"}
    names = {call.call_id: call.name for message in messages for call in message.calls}
    told: list[ChatMessage] = []
    for message in messages:
        if message.role == "tool":
            name = names.get(message.call_id, "")
            told.append(ChatMessage("user", _output(name, message.content, tagged=tagged)))
            continue
        if tagged and message.calls:
            calls = [_call(call.name, call.arguments) for call in message.calls]
            told.append(ChatMessage("assistant", "\n".join([message.content, *calls]).lstrip("\n")))
        elif message.content or not message.calls:
            told.append(ChatMessage(message.role, message.content))
        told += [
            ChatMessage("user", f"The tool {call.name} {RUNNING}")
            for call in message.calls
            if call.call_id not in answered
        ]
    if messages and messages[-1].role == "tool" and not tagged:
        told[-1] = ChatMessage("user", f"{told[-1].content}\n{ANSWER}")
    return told


def _shown(parameters: str) -> Any:
    """The schema as the prompt has it: what is longer than a prompt can bear loses details."""
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
