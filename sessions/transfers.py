"""Transfers: another agent of the workspace goes on with a running call.

Rules
- The call's own node reads the agent: the headers of its tools pass through no other store.
- From then on the call has the agent's instructions, model, voice, language and tools. The formats,
  the turn detection and everything else that the client chose stay, and so does the history. What
  is being said is said to its end.
- The caller's client gets ``session.updated``, as for any other change; observers also get
  ``blab.session.transferred``.
"""

from pipelines.engines.catalogue import Catalogue
from sessions.core.events import ConfigureSession
from store.errors import StoreError
from store.tenants.agents import Agents

from .agent_config import names_of, transferred, with_languages
from .host import SessionHost
from .remote import CALL_GONE, Refusal, Transfer


class Transfers:
    """Transfers the calls of this node."""

    def __init__(self, host: SessionHost, agents: Agents, engines: Catalogue) -> None:
        self._host = host
        self._agents = agents
        self._engines = engines

    async def transfer(self, call_id: str, order: Transfer) -> Refusal | None:
        """Carry out a transfer; why it was not, None if it was."""
        try:
            agent = await self._agents.get(order.workspace_id, order.agent_id)
        except StoreError:
            return Refusal("storage_unavailable", "The agent cannot be read just now.", server=True)
        if agent is None:
            message = "There is no such agent in this workspace."
            return Refusal("agent_not_found", message, "agentId")
        session = self._host.find(call_id)
        if session is None:
            return CALL_GONE
        config = with_languages(transferred(session.config, agent), self._engines.languages_for)
        for fault in self._engines.name_faults(names_of(config)):
            message = f"The agent {agent.id} cannot take this call. {fault.message}"
            return Refusal("agent_not_usable", message, "agentId")
        session.dispatch(ConfigureSession(config))
        self._host.note_transfer(call_id, agent)
        return None
