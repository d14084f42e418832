"""Items that are matters of tools: read from clients and written for them.

A call that the server carries out is told as an ``mcp_call``, an HTTP tool's too (its server is
then ``blab.http``): clients take a ``function_call`` for their own.
"""

from typing import Annotated, Any, assert_never, get_args

import msgspec
from msgspec import Meta

from sessions.core.events import AddToolOutput, AddToolUse, AnswerApproval
from sessions.core.items import Item, ToolUse, ToolUseState

from .fields import Fields, read

ToolItemEvent = AddToolUse | AddToolOutput | AnswerApproval

_Id = Annotated[str, Meta(max_length=64)]
_ToolUseId = Annotated[str, Meta(max_length=128)]
_Output = Annotated[str, Meta(max_length=262_144)]


class _Item(msgspec.Struct, tag_field="type", kw_only=True):
    id: _Id | None = None
    object: Any = None
    status: Any = None


class _FunctionCall(_Item, tag="function_call"):
    call_id: _ToolUseId
    name: _Id
    arguments: _Output


class _FunctionCallOutput(_Item, tag="function_call_output"):
    call_id: _ToolUseId
    output: _Output


class _ApprovalResponse(_Item, tag="mcp_approval_response"):
    approval_request_id: _Id
    approve: bool
    reason: Annotated[str, Meta(max_length=1_024)] = ""


_ToolItem = _FunctionCall | _FunctionCallOutput | _ApprovalResponse
TOOL_ITEMS: dict[str, type[_ToolItem]] = {
    str(declaration.__struct_config__.tag): declaration for declaration in get_args(_ToolItem)
}
"""Declarations of the items that clients may create, by their type."""


def parse_tool_item(item: Fields, after: str | None, event_id: str | None) -> ToolItemEvent:
    """conversation.item.create of one of TOOL_ITEMS; raises ClientFault."""
    declared = read(TOOL_ITEMS[item.raw("type")], item)
    item_id = declared.id or None
    match declared:
        case _FunctionCallOutput():
            return AddToolOutput(declared.call_id, declared.output, item_id, after, event_id)
        case _FunctionCall(call_id=call_id, name=name, arguments=arguments):
            return AddToolUse(call_id, name, arguments, item_id, after, event_id)
        case _ApprovalResponse(approval_request_id=request_id, approve=approve):
            return AnswerApproval(request_id, approve, declared.reason, event_id)
        case _:
            assert_never(declared)


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
