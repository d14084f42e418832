"""Server events of tools: the calls of a reply, their progress, and the tools of MCP servers."""

import json
from typing import Any

from sessions.core.notices import ReplyToolUse, ToolBegun, ToolEnded, ToolListing

from .tool_items import begun, render_tool_item

Body = dict[str, Any]


def reply_call(use: ReplyToolUse, response_id: str) -> list[Body]:
    """A call among a reply's items: added, its arguments, done; of ours only until it begins."""
    item = use.item
    whole, first = render_tool_item(item), begun(item)
    place = {"response_id": response_id, "output_index": use.index}
    added: list[Body] = [
        {"type": "response.output_item.added", "item": first} | place,
        _item("added", first, use.previous_item_id),
    ]
    done: list[Body] = [{"type": "response.output_item.done", "item": whole} | place]
    kind = whole["type"]
    if kind == "mcp_approval_request" or item.tool_use is None:
        return [*added, *done, _item("done", whole, use.previous_item_id)]
    address = place | {"item_id": item.item_id}
    if kind == "mcp_call":
        arguments = "response.mcp_call_arguments"
        ending: list[Body] = []
    else:
        arguments = "response.function_call_arguments"
        address |= {"call_id": item.tool_use.tool_use_id}
        ending = [_item("done", whole, use.previous_item_id)]
    name = {"name": item.tool_use.name} if kind == "function_call" else {}
    return [
        *added,
        {"type": f"{arguments}.delta", "delta": item.tool_use.arguments} | address,
        {"type": f"{arguments}.done", "arguments": item.tool_use.arguments} | name | address,
        *done,
        *ending,
    ]


def tool_begun(notice: ToolBegun) -> list[Body]:
    """A call of ours is being carried out."""
    return [_progress("in_progress", notice.item_id, notice.index)]


def tool_ended(notice: ToolEnded) -> list[Body]:
    """A call of ours is over; its item, with the output, is done."""
    what = "failed" if notice.failed else "completed"
    item = render_tool_item(notice.item)
    return [
        _progress(what, notice.item.item_id, notice.index),
        _item("done", item, notice.previous_item_id),
    ]


def tool_listing(notice: ToolListing) -> list[Body]:
    """``mcp_list_tools.*``, and the item that holds the list."""
    progress: Body = {"type": f"mcp_list_tools.{notice.state}", "item_id": notice.item_id}
    item: Body = {
        "id": notice.item_id,
        "type": "mcp_list_tools",
        "server_label": notice.label,
        "tools": [
            {
                "name": tool.name,
                "description": tool.description,
                "input_schema": json.loads(tool.parameters),
                "annotations": None,
            }
            for tool in notice.tools
        ],
    }
    match notice.state:
        case "in_progress":
            return [_item("added", item, None), progress]
        case "completed":
            return [progress, _item("done", item, None)]
    return [progress]


def _progress(what: str, item_id: str, index: int) -> Body:
    return {"type": f"response.mcp_call.{what}", "item_id": item_id, "output_index": index}


def _item(what: str, item: Body, previous: str | None) -> Body:
    return {
        "type": f"conversation.item.{what}",
        "previous_item_id": previous,
        "item": item,
    }
