"""Items that are matters of tools: read from clients and written for them.

A call that the server carries out is told as an ``mcp_call``, an HTTP tool's too (its server is
then ``blab.http``): clients take a ``function_call`` for their own.
"""

from typing import Any

from sessions.core.events import AddToolOutput, AddToolUse, AnswerApproval
from sessions.core.items import Item, ToolUse, ToolUseState

from .fields import Fields

TOOL_ITEMS = ("function_call", "function_call_output", "mcp_approval_response")
_MAX_OUTPUT_CHARS = 262_144
_MAX_CALL_ID = 128

ToolItemEvent = AddToolUse | AddToolOutput | AnswerApproval


def parse_tool_item(event: Fields, item: Fields, event_id: str | None) -> ToolItemEvent:
    """conversation.item.create of one of TOOL_ITEMS; raises ClientFault."""
    item_id = item.text("id", max_chars=64) or None
    after = event.text("previous_item_id", max_chars=64) or None
    common = ("id", "type", "object", "status")
    match item.raw("type"):
        case "function_call_output":
            item.only((*common, "call_id", "output"))
            item.need("output")
            return AddToolOutput(
                item.need_text("call_id", max_chars=_MAX_CALL_ID),
                item.text("output", max_chars=_MAX_OUTPUT_CHARS) or "",
                item_id,
                after,
                event_id,
            )
        case "function_call":
            item.only((*common, "call_id", "name", "arguments"))
            return AddToolUse(
                item.need_text("call_id", max_chars=_MAX_CALL_ID),
                item.need_text("name", max_chars=64),
                item.need_text("arguments", max_chars=_MAX_OUTPUT_CHARS),
                item_id,
                after,
                event_id,
            )
    item.only((*common, "approval_request_id", "approve", "reason"))
    item.need("approve")
    return AnswerApproval(
        item.need_text("approval_request_id", max_chars=64),
        item.flag("approve") or False,
        item.text("reason", max_chars=1_024) or "",
        event_id,
    )


def render_tool_item(item: Item) -> dict[str, Any]:
    """A call, its output, or an approval."""
    if item.tool_use is not None:
        return _call(item, item.tool_use)
    if item.approval is not None:
        request_id, approve = item.approval
        return {
            "id": item.item_id,
            "type": "mcp_approval_response",
            "approval_request_id": request_id,
            "approve": approve,
        }
    call_id, output = item.output or ("", "")
    return {
        "id": item.item_id,
        "object": "realtime.item",
        "type": "function_call_output",
        "status": "completed",
        "call_id": call_id,
        "output": output,
    }


def is_open(item: Item) -> bool:
    """Whether it is a call of ours that has no output yet."""
    ours = item.tool_use is not None and bool(item.tool_use.label)
    return ours and item.state is ToolUseState.MADE


def begun(item: Item) -> dict[str, Any]:
    """A call before its arguments have been told."""
    told = render_tool_item(item)
    if told["type"] == "function_call":
        return told | {"status": "in_progress", "arguments": ""}
    return told | {"arguments": ""} if told["type"] == "mcp_call" else told


def _call(item: Item, use: ToolUse) -> dict[str, Any]:
    if not use.label:
        return {
            "id": item.item_id,
            "object": "realtime.item",
            "type": "function_call",
            "status": "completed",
            "call_id": use.tool_use_id,
            "name": use.name,
            "arguments": use.arguments,
        }
    told = {
        "id": item.item_id,
        "name": use.name,
        "arguments": use.arguments,
        "server_label": use.label,
    }
    if item.state is ToolUseState.ASKED:
        return told | {"type": "mcp_approval_request"}
    output = item.output[1] if item.output else None
    failed = item.state is ToolUseState.FAILED
    return told | {
        "type": "mcp_call",
        "approval_request_id": use.approval,
        "output": None if failed else output,
        "error": {"type": "tool_execution_error", "message": output} if failed else None,
    }
