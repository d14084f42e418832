"""The WireFormat of one call (sessions.channel): OpenAI Realtime GA both ways."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sessions.channel import Parsed, ServerEvent
from sessions.core.config import SessionConfig
from sessions.core.notices import Notice

from .beta import beta_event
from .checks import UNCHECKED, SessionChecks
from .client_events import parse_event
from .ids import EventIds
from .render import Renderer
from .replies import Body


class RealtimeWireFormat:
    """Client events to core events, notices to numbered server events; one per call.

    ``session_id``: the call's id. ``playout_events``: tell ``output_audio_buffer.*``, which
    OpenAI's clients expect over WebRTC only. ``event_ids``: shared with the channel where it
    writes events of its own. ``rate_limits``: the call's at the moment, none by default.
    ``beta``: tell events by the beta's names (``beta``). ``checks``: what is looked at beyond the
    form of what the client sends."""

    def __init__(
        self,
        session_id: str,
        *,
        playout_events: bool = False,
        event_ids: EventIds | None = None,
        rate_limits: Callable[[], list[Body]] = list,
        beta: bool = False,
        checks: SessionChecks = UNCHECKED,
    ) -> None:
        self._checks = checks
        self._renderer = Renderer(
            session_id, playout_events=playout_events, rate_limits=rate_limits
        )
        self._beta = beta
        self._event_ids = event_ids or EventIds()

    def parse(
        self, message: Mapping[str, Any], config: SessionConfig, *, by_caller: bool = True
    ) -> Parsed:
        """The core event that ``message`` means; raises ClientFault. A locked session is locked to
        its caller only."""
        checks = self._checks if by_caller else replace(self._checks, locked=False)
        return parse_event(message, config, checks)

    def render(self, notice: Notice) -> Sequence[ServerEvent]:
        """The server events that tell ``notice``, in protocol order."""
        bodies = self._renderer.render(notice)
        if self._beta:
            bodies = [known for body in bodies if (known := beta_event(body)) is not None]
        return [{"event_id": self._event_ids.next(), **body} for body in bodies]
