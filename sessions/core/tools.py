"""Tool uses: published, approved, carried out, and recorded in the history with their output.

Rules
- Tools start when the reply that uses them has been heard to its end; a reply that was cut uses
  none.
- A client's function is only published: the client sends the output and requests the reply.
- Every other tool use runs until it returns, times out or is given up. Each of these gives it an
  output, so the history never has one without.
- While tools run, the call does not rest (USING_TOOLS). Once all have returned, the reply continues
  by itself (``Continuation``), with tools at most ``MAXIMUM_ROUNDS`` times in a row.
- If the caller says something meanwhile that is answered, running tools are cancelled; a cough does
  not cancel them.
- Tools do not survive the node that runs them: when the call goes on elsewhere, their output says
  that the outcome is not known. A client's function stays pending until its output comes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sessions.core.call import Call, Timer
from sessions.core.checkpoint import AskedTool, RunningTool, UnfinishedTools
from sessions.core.commands import CancelTool, ListTools, RunTool
from sessions.core.config import AUTO, NONE, ListedTool, SessionConfig, Tool, ToolKind, ToolServer
from sessions.core.events import AnswerApproval, ToolListFailed, ToolReturned, ToolsListed
from sessions.core.items import Continuation, Item, ToolUse, ToolUseState, UnknownItem
from sessions.core.notices import (
    Fault,
    ItemAdded,
    ReplyToolUse,
    ToolBegun,
    ToolEnded,
    ToolListing,
)

MAXIMUM_ROUNDS = 6
"""How many replies in a row may use tools; the next one must speak."""
MAXIMUM_TOOL_USES = 8
"""Per reply; further ones are ignored."""
GIVEN_UP = "Cancelled: the conversation went on before the tool had answered."
TIMED_OUT = "The tool did not answer in time."
UNKNOWN_OUTCOME = "The connection to the tool was lost. It is not known whether it did its work."
REFUSED = "The user did not approve this call."

_GRACE_SECONDS = 1.0
_UNKNOWN_LABEL = "blab"
_MOST_ASKED = 32


@dataclass(slots=True)
class _Work:
    """One running tool."""

    item_id: str
    index: int
    since: float
    due: float


class ToolUses:
    """The tool uses of one conversation, and the tools that it may use."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._listed: dict[str, tuple[Tool, ...]] = {}
        self._servers: dict[str, ToolServer] = {}
        self._listing: dict[str, str] = {}
        """Label -> item id, of the servers whose tools are being listed."""
        self._lists = 0
        self._work: dict[str, _Work] = {}
        self._asked: dict[str, tuple[ToolUse, Tool, Continuation]] = {}
        """Item id of an approval request -> what waits for it."""
        self._continuation: Continuation | None = None
        self.pending = False
        """A tool is running, or a continuation is due."""

    @property
    def busy(self) -> bool:
        """Whether a tool is running."""
        return bool(self._work)

    @property
    def since(self) -> float | None:
        """When the oldest running tool started."""
        return min((work.since for work in self._work.values()), default=None)

    @property
    def continuation(self) -> Continuation | None:
        """The reply to make once the tools have returned."""
        return self._continuation

    def take_continuation(self) -> Continuation | None:
        """Take the reply to make: from now on the taker makes it, or nobody does."""
        taken = self._continuation
        self._continue_with(None)
        return taken

    # ------------------------------------------------------------------ what is offered

    def configure(self, config: SessionConfig) -> None:
        """Adopt ``config``, and list the tools of the servers that are new in it."""
        known = {server.label: server for server in config.servers}
        for label in self._servers.keys() - known.keys():
            self._listed.pop(label, None)
        for label, server in known.items():
            if self._servers.get(label) != server:
                self._listed.pop(label, None)
                self._lists += 1
                item_id = self._listing[label] = f"mcpl_{self._call.call_id}_{self._lists}"
                self._call.publish(ToolListing(item_id, label, "in_progress"))
                self._call.order(ListTools(server))
        self._servers = known

    def on_listed(self, event: ToolsListed) -> None:
        """A server listed its tools."""
        server, item_id = self._servers.get(event.label), self._listing.pop(event.label, None)
        if server is None or item_id is None:
            return
        wanted = [t for t in event.tools if server.allowed is None or t.name in server.allowed]
        self._listed[event.label] = tuple(_tool_of(server, listed) for listed in wanted)
        self._call.publish(ToolListing(item_id, event.label, "completed", tuple(wanted)))

    def on_list_failed(self, event: ToolListFailed) -> None:
        """A server failed to list its tools; the conversation goes on without them."""
        item_id = self._listing.pop(event.label, None)
        if event.label in self._servers and item_id is not None:
            self._call.publish(ToolListing(item_id, event.label, "failed"))
            self._call.publish(Fault("mcp_list_tools_failed", event.message, server=True))

    def offered(self, config: SessionConfig) -> tuple[Tool, ...]:
        """The tools of a reply under ``config``; if names clash, the first one counts."""
        if config.tool_choice == NONE:
            return ()
        found: dict[str, Tool] = {}
        for tool in config.tools:
            found.setdefault(tool.name, tool)
        for server in config.servers:
            for tool in self._listed.get(server.label, ()):
                found.setdefault(tool.name, tool)
        return tuple(found.values())

    # ------------------------------------------------------------------ a reply's tool uses

    def add(
        self, reply: int, uses: Sequence[tuple[str, str]], tools: Sequence[Tool], first_index: int
    ) -> tuple[ReplyToolUse, ...]:
        """Add the tool uses (name, arguments) with which a reply ended to the history.

        ``tools``: those it could use; ``first_index``: place of the first use among its items."""
        added = []
        for number, (name, arguments) in enumerate(uses[:MAXIMUM_TOOL_USES]):
            tool_use_id = f"call_{reply}_{number}_{self._call.call_id}"
            tool = _named(tools, name)
            label = _UNKNOWN_LABEL if tool is None else tool.label
            state = ToolUseState.ASKED if tool and tool.ask else ToolUseState.MADE
            use = ToolUse(tool_use_id, name, arguments, label, reply=reply)
            item = Item(self._call.next_item_id(), "assistant", "", tool_use=use, state=state)
            previous = self._call.transcript.add(item)
            added.append(ReplyToolUse(item, previous, first_index + number))
        return tuple(added)

    def begin(
        self,
        uses: Sequence[ReplyToolUse],
        tools: Sequence[Tool],
        *,
        turn: int,
        config: SessionConfig,
        rounds: int,
    ) -> None:
        """The reply's end has been published: carry out the tool uses that are the server's.

        ``turn``, ``config`` and ``rounds``: of the reply, for the one that follows it."""
        if not uses:
            return
        last = rounds + 1 >= MAXIMUM_ROUNDS
        config = replace(config, tool_choice=NONE if last else AUTO)
        onward = Continuation(turn, config, rounds + 1)
        waits = False
        for added in uses:
            item_id, use = added.item.item_id, added.item.tool_use
            if use is None:
                continue
            tool = _named(tools, use.name)
            if tool is None:
                self._settle(item_id, f"There is no tool {use.name!r}.", failed=True)
                self._publish_end(item_id, added.index, failed=True)
            elif tool.kind is ToolKind.FUNCTION:
                waits = True
            elif tool.ask:
                self._asked[item_id] = use, tool, onward
                waits = True
                while len(self._asked) > _MOST_ASKED:
                    del self._asked[next(iter(self._asked))]
            else:
                self._run(use, tool, item_id, added.index)
        if not waits:
            self._continue_with(onward)

    def approve(self, event: AnswerApproval) -> None:
        """The client approved or refused a tool use."""
        call = self._call
        known = self._asked.pop(event.request_id, None)
        if known is None:
            call.refuse(
                "approval_request_not_found",
                f"No approval request {event.request_id!r} is waiting for an answer.",
                "item.approval_request_id",
                event.event_id,
            )
            return
        use, tool, onward = known
        item_id = call.next_item_id()
        answer = Item(item_id, "user", "", approval=(event.request_id, event.approve))
        call.publish(ItemAdded(answer, call.transcript.add(answer)))
        run_id = call.next_item_id()
        use = replace(use, approval=event.request_id)
        item = Item(run_id, "assistant", "", tool_use=use, state=ToolUseState.MADE)
        call.publish(ItemAdded(item, call.transcript.add(item)))
        if event.approve:
            self._run(use, tool, run_id, 0)
        else:
            reason = f"{REFUSED} {event.reason}" if event.reason else REFUSED
            self._settle(run_id, reason, failed=True)
            self._publish_end(run_id, 0, failed=True)
        self._continue_with(onward)

    def on_returned(self, event: ToolReturned) -> None:
        """A tool use was carried out, or failed."""
        work = self._work.pop(event.tool_use_id, None)
        if work is not None:
            self._end(work, event.output, failed=event.failed)

    def give_up(self) -> None:
        """Cancel the running tools: the conversation goes on without them."""
        self._continue_with(None)
        for tool_use_id in list(self._work):
            self._abandon(tool_use_id, GIVEN_UP)

    def on_overdue(self) -> None:
        """Give up overdue tools; the reply continues and can say so."""
        for tool_use_id, work in list(self._work.items()):
            if work.due <= self._call.now:
                self._abandon(tool_use_id, TIMED_OUT)

    # ------------------------------------------------------------------ resuming

    @property
    def lists(self) -> int:
        """How many lists of tools have been numbered."""
        return self._lists

    def unfinished(self) -> UnfinishedTools:
        """The tool uses that have not ended, for a checkpoint."""
        return UnfinishedTools(
            tuple(RunningTool(work.item_id, work.index) for work in self._work.values()),
            tuple(AskedTool(item_id, *asked) for item_id, asked in self._asked.items()),
            self._continuation,
        )

    def restore(self, lists: int) -> None:
        """Number lists of tools after the first ``lists``; before ``configure``."""
        self._lists = lists

    def settle(self, before: UnfinishedTools) -> None:
        """Go on with what was in flight ``before`` the call was resumed."""
        for asked in before.asked:
            self._asked[asked.item_id] = asked.use, asked.tool, asked.onward
        for running in before.running:
            if self._settle(running.item_id, UNKNOWN_OUTCOME, failed=True):
                self._publish_end(running.item_id, running.index, failed=True)
        self._continue_with(before.continuation)

    # ------------------------------------------------------------------ within

    def _run(self, use: ToolUse, tool: Tool, item_id: str, index: int) -> None:
        call = self._call
        due = call.now + (tool.timeout_ms / 1000 + _GRACE_SECONDS)
        self._work[use.tool_use_id] = _Work(item_id, index, call.now, due)
        self._set_timer()
        call.publish(ToolBegun(item_id, index))
        call.order(RunTool(use.tool_use_id, use.arguments, tool, self._servers.get(tool.server)))

    def _abandon(self, tool_use_id: str, why: str) -> None:
        work = self._work.pop(tool_use_id)
        self._call.order(CancelTool(tool_use_id))
        self._end(work, why, failed=True)

    def _end(self, work: _Work, output: str, *, failed: bool) -> None:
        self._set_timer()
        if self._settle(work.item_id, output, failed=failed):
            self._publish_end(work.item_id, work.index, failed=failed)

    def _continue_with(self, onward: Continuation | None) -> None:
        self._continuation = onward
        self.pending = bool(self._work) or onward is not None

    def _set_timer(self) -> None:
        self.pending = bool(self._work) or self._continuation is not None
        due = min((work.due for work in self._work.values()), default=None)
        self._call.timers.set(Timer.TOOLS, due)

    def _settle(self, item_id: str, output: str, *, failed: bool) -> bool:
        """Give a tool use its output; False if the client has deleted it."""
        try:
            self._call.transcript.settle_tool_use(item_id, output, failed=failed)
        except UnknownItem:
            return False
        return True

    def _publish_end(self, item_id: str, index: int, *, failed: bool) -> None:
        item, previous = self._call.transcript.place(item_id)
        self._call.publish(ToolEnded(item, previous, index, failed))


def _named(tools: Sequence[Tool], name: str) -> Tool | None:
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
