"""What an agent may call: functions of the client's, HTTP tools and MCP servers of ours to call.

A function is the client's own: the call is told, the client brings the output. The others are
carried out by the shell. ``sealed`` holds request headers that are nobody else's business; what
opens it stands in ``sessions.tools``.
"""

from dataclasses import dataclass
from enum import StrEnum

AUTO, NONE, REQUIRED = "auto", "none", "required"

HTTP_LABEL = "blab.http"
"""Stands for the server where an HTTP tool's call is told as one of MCP's."""


class ToolKind(StrEnum):
    """Who carries a call out."""

    FUNCTION = "function"
    HTTP = "http"
    MCP = "mcp"


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool. ``parameters``: a JSON schema, as JSON."""

    name: str
    description: str = ""
    parameters: str = '{"type":"object","properties":{}}'
    kind: ToolKind = ToolKind.FUNCTION
    server: str = ""
    """Label of its MCP server."""
    ask: bool = False
    """A call waits for the client's approval."""
    url: str = ""
    method: str = "POST"
    sealed: str = ""
    timeout_ms: int = 15_000
    fixed: bool = False
    """It is the agent's: a client's list of tools leaves it in place."""

    @property
    def label(self) -> str:
        """The server under which its calls are told; empty for a client's function."""
        return HTTP_LABEL if self.kind is ToolKind.HTTP else self.server


@dataclass(frozen=True, slots=True)
class ToolServer:
    """An MCP server, whose tools are asked for when it is first named."""

    label: str
    url: str
    sealed: str = ""
    allowed: tuple[str, ...] | None = None
    """Names of the tools that are offered; None: all."""
    ask: bool = True
    """Calls wait for the client's approval, but for those named in ``trusted``."""
    asked: tuple[str, ...] = ()
    """Names of the tools that need approval although ``ask`` is False."""
    trusted: tuple[str, ...] = ()
    timeout_ms: int = 15_000
    fixed: bool = False

    def asks(self, name: str) -> bool:
        """Whether calls of that tool wait for approval."""
        return name in self.asked or (self.ask and name not in self.trusted)


@dataclass(frozen=True, slots=True)
class ListedTool:
    """A tool as its MCP server describes it."""

    name: str
    description: str
    parameters: str
