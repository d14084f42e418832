"""The vocabulary of a telephone call: OpenAI's, and what only a telephone has.

The channel's own messages bring a core event ready made, under a member that no JSON has. Who
asks for the events ``call`` is told once, as ``blab.call``, what the carrier told of the call.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.channels.wire.checks import UNCHECKED, SessionChecks
from gateway.channels.wire.ids import EventIds
from gateway.channels.wire.vocabulary import RealtimeVocabulary
from sessions.channel import Parsed, ServerEvent
from sessions.core.config import SessionConfig
from sessions.core.events import Event
from sessions.core.notices import Notice, SessionChanged, SessionOpened

from .events import Started
from .parameters import facts_of

EVENT: Any = object()
"""The member of a channel's message that holds its core event."""
EXTENSION = "call"
"""Name of ``blab.call`` among the events that may be asked for."""


class TelephonyVocabulary:
    """Implements channel.Vocabulary for one call of a carrier."""

    def __init__(
        self, call_id: str, carrier: str, started: Started, checks: SessionChecks = UNCHECKED
    ) -> None:
        self._event_ids = EventIds()
        self._realtime = RealtimeVocabulary(
            call_id, playout_events=True, event_ids=self._event_ids, checks=checks
        )
        self._call = {
            "type": "blab.call",
            "carrier": carrier,
            "stream_id": started.stream_id,
            "carrier_call_id": started.call_id,
            "account_id": started.account_id,
            "parameters": facts_of(started.parameters),
        }
        self._told = False

    def parse(
        self, message: Mapping[str, Any], config: SessionConfig, *, by_caller: bool = True
    ) -> Parsed:
        """The core event that ``message`` means; raises ClientFault."""
        if EVENT in message:
            event: Event = message[EVENT]
            return event
        return self._realtime.parse(message, config, by_caller=by_caller)

    def render(self, notice: Notice) -> Sequence[ServerEvent]:
        """The server events that tell ``notice``, in protocol order."""
        events = list(self._realtime.render(notice))
        if isinstance(notice, SessionOpened | SessionChanged) and not self._told:
            self._told = EXTENSION in notice.config.extensions
            if self._told:
                events.append({"event_id": self._event_ids.next(), **self._call})
        return events
