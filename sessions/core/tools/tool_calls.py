"""Tool calls: told, approved, carried out, and what comes of them put into the history.

Rules
- Calls begin when their reply has been heard to its end; a reply that was cut has made none.
- A client's function is told and no more: the client brings the output and asks for the reply.
- Every other call is at work until it returns, its time is over, or it is given up; each of
  these gives it an output, so the history never holds a call without one.
- While calls are at work the call does not rest (USING_TOOLS), and once all have returned the reply
  goes on by itself (``continuation``), ``MAXIMUM_ROUNDS`` times in a row with tools.
- Words of the caller's that are answered meanwhile end the calls at work; a cough does not.
"""

from dataclasses import dataclass, replace

from sessions.core.call import Call
from sessions.core.commands import CancelTool, ListTools, RunTool
from sessions.core.config import SessionConfig
from sessions.core.events import AnswerApproval, ToolListFailed, ToolReturned, ToolsListed
from sessions.core.items import Item, ToolUse, ToolUseState
from sessions.core.notices import Fault, ItemAdded, ReplyToolUse, ToolBegun, ToolEnded, ToolListing
from sessions.core.replies.reply import Reply
from sessions.core.transcript import UnknownItem

from .tools import AUTO, NONE, ListedTool, Tool, ToolKind, ToolServer

MAXIMUM_ROUNDS = 6
"""Replies in a row that may call tools; the next one has to speak."""
MAXIMUM_TOOL_USES = 8
"""Of one reply; more are not made."""
GIVEN_UP = "Cancelled: the conversation went on before the tool had answered."
TIMED_OUT = "The tool did not answer in time."
REFUSED = "The user did not approve this call."

_GRACE_SECONDS = 1.0
_UNKNOWN_LABEL = "blab"
_MOST_ASKED = 32


@dataclass(slots=True)
class _Work:
    """One call being carried out."""

    item_id: str
    index: int
    since: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Continuation:
    """A reply that is to be made once the calls have returned."""

    turn: int
    config: SessionConfig
    rounds: int


class ToolUses:
    """The calls of one conversation."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._listed: dict[str, tuple[Tool, ...]] = {}
        self._servers: dict[str, ToolServer] = {}
        self._listing: dict[str, str] = {}
        """Label -> item id, of the servers that are being asked for their tools."""
        self._lists = 0
        self._work: dict[str, _Work] = {}
        self._asked: dict[str, tuple[ToolUse, Tool, Continuation]] = {}
        """Approval request's item id -> what waits for it."""
        self.continuation: Continuation | None = None

    @property
    def busy(self) -> bool:
        """Whether a call is at work."""
        return bool(self._work)

    @property
    def since(self) -> float | None:
        """When the oldest call at work began."""
        return min((work.since for work in self._work.values()), default=None)

    # ------------------------------------------------------------------ what is offered

    def configured(self, config: SessionConfig) -> None:
        """``config`` holds: have the tools of servers that are new in it listed."""
        known = {server.label: server for server in config.servers}
        for label in self._servers.keys() - known.keys():
            self._listed.pop(label, None)
        for label, server in known.items():
            if self._servers.get(label) != server:
                self._listed.pop(label, None)
                self._lists += 1
                item_id = self._listing[label] = f"mcpl_{self._call.call_id}_{self._lists}"
                self._call.tell(ToolListing(item_id, label, "in_progress"))
                self._call.order(ListTools(server))
        self._servers = known

    def on_listed(self, event: ToolsListed) -> None:
        """A server told its tools."""
        server, item_id = self._servers.get(event.label), self._listing.pop(event.label, None)
        if server is None or item_id is None:
            return
        wanted = [t for t in event.tools if server.allowed is None or t.name in server.allowed]
        self._listed[event.label] = tuple(_tool_of(server, listed) for listed in wanted)
        told = ToolListing(item_id, event.label, "completed", tuple(wanted))
        self._call.tell(told)

    def on_list_failed(self, event: ToolListFailed) -> None:
        """A server did not tell its tools; the call goes on without them."""
        item_id = self._listing.pop(event.label, None)
        if event.label in self._servers and item_id is not None:
            self._call.tell(ToolListing(item_id, event.label, "failed"))
            self._call.tell(Fault("mcp_list_tools_failed", event.message, server=True))

    def offered(self, config: SessionConfig) -> tuple[Tool, ...]:
        """The tools of a reply under ``config``; where names clash the first one counts."""
        if config.tool_choice == NONE:
            return ()
        found: dict[str, Tool] = {}
        for tool in config.tools:
            found.setdefault(tool.name, tool)
        for server in config.servers:
            for tool in self._listed.get(server.label, ()):
                found.setdefault(tool.name, tool)
        return tuple(found.values())

    # ------------------------------------------------------------------ a reply's calls

    def tell(self, reply: Reply, first_index: int) -> tuple[ReplyToolUse, ...]:
        """Put the calls that ``reply`` ended in into the history, as they are to be told."""
        told = []
        for number, (name, arguments) in enumerate(reply.tool_uses[:MAXIMUM_TOOL_USES]):
            tool_use_id = f"call_{reply.number}_{number}_{self._call.call_id}"
            tool = _named(reply.tools, name)
            label = _UNKNOWN_LABEL if tool is None else tool.label
            state = ToolUseState.ASKED if tool and tool.ask else ToolUseState.MADE
            made = ToolUse(tool_use_id, name, arguments, label, reply=reply.number)
            item = Item(self._call.next_item_id(), "assistant", "", tool_use=made, state=state)
            previous = self._call.transcript.add(item)
            told.append(ReplyToolUse(item, previous, first_index + number))
        return tuple(told)

    def begin(self, reply: Reply, calls: tuple[ReplyToolUse, ...]) -> None:
        """The reply's end has been told: carry out what is ours to carry out."""
        if not calls:
            return
        config = replace(reply.config, tool_choice=AUTO)
        if reply.rounds + 1 >= MAXIMUM_ROUNDS:
            config = replace(config, tool_choice=NONE)
        onward = Continuation(reply.turn, config, reply.rounds + 1)
        waits = False
        for told in calls:
            made = told.item.tool_use
            if made is None:
                continue
            tool = _named(reply.tools, made.name)
            if tool is None:
                self._settle(told.item.item_id, f"There is no tool {made.name!r}.", failed=True)
                self._tell_end(told.item.item_id, told.index, failed=True)
            elif tool.kind is ToolKind.FUNCTION:
                waits = True
            elif tool.ask:
                self._asked[told.item.item_id] = made, tool, onward
                waits = True
                while len(self._asked) > _MOST_ASKED:
                    del self._asked[next(iter(self._asked))]
            else:
                self._run(made, tool, told.item.item_id, told.index)
        if not waits:
            self.continuation = onward

    def approve(self, event: AnswerApproval) -> None:
        """The client approved a call, or did not."""
        call = self._call
        known = self._asked.pop(event.request_id, None)
        if known is None:
            call.refuse(
                "approval_request_not_found",
                f"No approval request {event.request_id!r} waits for an answer.",
                "item.approval_request_id",
                event.event_id,
            )
            return
        made, tool, onward = known
        item_id = call.next_item_id()
        answer = Item(item_id, "user", "", approval=(event.request_id, event.approve))
        call.tell(ItemAdded(answer, call.transcript.add(answer)))
        run_id = call.next_item_id()
        made = replace(made, approval=event.request_id)
        item = Item(run_id, "assistant", "", tool_use=made, state=ToolUseState.MADE)
        call.tell(ItemAdded(item, call.transcript.add(item)))
        if event.approve:
            self._run(made, tool, run_id, 0)
        else:
            reason = f"{REFUSED} {event.reason}" if event.reason else REFUSED
            self._settle(run_id, reason, failed=True)
            self._tell_end(run_id, 0, failed=True)
        self.continuation = onward

    def on_returned(self, event: ToolReturned) -> None:
        """A call was carried out, or failed."""
        work = self._work.pop(event.tool_use_id, None)
        if work is not None:
            self._end(work, event.output, failed=event.failed)

    def give_up(self) -> None:
        """The conversation goes on without what is at work."""
        self.continuation = None
        for tool_use_id in list(self._work):
            self._abandon(tool_use_id, GIVEN_UP)

    # ------------------------------------------------------------------ deadlines

    def deadline(self) -> float | None:
        """When the next call at work is given up."""
        return min((work.since + work.seconds for work in self._work.values()), default=None)

    def expire(self, now: float) -> None:
        """Give up what is overdue; the reply goes on and can say so."""
        for tool_use_id, work in list(self._work.items()):
            if work.since + work.seconds <= now:
                self._abandon(tool_use_id, TIMED_OUT)

    # ------------------------------------------------------------------ within

    def _run(self, made: ToolUse, tool: Tool, item_id: str, index: int) -> None:
        call = self._call
        seconds = tool.timeout_ms / 1000 + _GRACE_SECONDS
        self._work[made.tool_use_id] = _Work(item_id, index, call.now, seconds)
        call.tell(ToolBegun(item_id, index))
        call.order(RunTool(made.tool_use_id, made.arguments, tool, self._servers.get(tool.server)))

    def _abandon(self, tool_use_id: str, why: str) -> None:
        work = self._work.pop(tool_use_id)
        self._call.order(CancelTool(tool_use_id))
        self._end(work, why, failed=True)

    def _end(self, work: _Work, output: str, *, failed: bool) -> None:
        if self._settle(work.item_id, output, failed=failed):
            self._tell_end(work.item_id, work.index, failed=failed)

    def _settle(self, item_id: str, output: str, *, failed: bool) -> bool:
        """Give a call its output; False where the client has deleted it."""
        try:
            self._call.transcript.settle_tool_use(item_id, output, failed=failed)
        except UnknownItem:
            return False
        return True

    def _tell_end(self, item_id: str, index: int, *, failed: bool) -> None:
        item, previous = self._call.transcript.place(item_id)
        self._call.tell(ToolEnded(item, previous, index, failed))


def _named(tools: tuple[Tool, ...], name: str) -> Tool | None:
    return next((tool for tool in tools if tool.name == name), None)


def _tool_of(server: ToolServer, listed: ListedTool) -> Tool:
    return Tool(
        listed.name,
        listed.description,
        listed.parameters,
        ToolKind.MCP,
        server.label,
        server.asks(listed.name),
        timeout_ms=server.timeout_ms,
    )
