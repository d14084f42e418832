"""Outputs of tools as a small model understands them: told in words, not in the tools' own format.

Measured with Qwen2.5-Coder 0.5B: behind ``<tool_call>`` and ``<tool_response>`` it writes the same
call again; told in a sentence, it answers. So calls are left out of its prompt, and an output
stands there as something the user says.
"""

from collections.abc import Sequence

from .base import ChatMessage

ANSWER = "Tell me what it says, in one short spoken sentence."


def told_outputs(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """``messages`` without calls and outputs; the last output asks for an answer."""
    told: list[ChatMessage] = []
    names: dict[str, str] = {}
    for message in messages:
        names |= {call.call_id: call.name for call in message.calls}
        if message.role == "tool":
            name = names.get(message.call_id, "")
            told.append(ChatMessage("user", f"The tool {name} answered: {message.content}"))
        elif message.content or not message.calls:
            told.append(ChatMessage(message.role, message.content))
    if messages and messages[-1].role == "tool":
        told[-1] = ChatMessage("user", f"{told[-1].content}\n{ANSWER}")
    return told
