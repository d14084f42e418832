"""Client messages on their way into a call: parsed, answered where they are faulty, and attributed.

Rules
- A message comes from the caller, or from somebody else: a sideband, another node. Its effects are
  published either way; a fault goes to whoever sent the message, and to nobody else.
- ``MOST_INJECTED`` messages of others are remembered; the fault of a forgotten one goes to nobody.
"""

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from sessions.core.config import SessionConfig
from sessions.core.events import ConfigureSession, Event, KeyPressed
from sessions.core.notices import Fault, Pong

from .agent_config import LanguagesFor, with_languages
from .channel import ClientFault, Partly, ServerEvent, SpokenItem, WireFormat

PING = "blab.ping"
MOST_INJECTED = 256
_LONGEST_ID = 512

Answer = Callable[[list[ServerEvent]], None]
"""Receives the server events that answer one injected message."""


class InjectedMessages:
    """Messages that somebody other than the caller sent into a call, and who receives their faults.

    Such a message is given an event id of ours. A fault with that id, at once or later, goes to the
    sender alone, under the sender's own event id."""

    def __init__(self) -> None:
        self._prefix = f"aside_{secrets.token_hex(8)}_"
        self._count = 0
        self._senders: dict[str, tuple[str | None, Answer]] = {}

    def mark(self, message: Mapping[str, Any], answer: Answer) -> Mapping[str, Any]:
        """The message under an event id of ours; ``answer`` receives its faults."""
        own = message.get("event_id")
        known = isinstance(own, str) and len(own) <= _LONGEST_ID and own.isprintable()
        self._count += 1
        event_id = f"{self._prefix}{self._count}"
        if len(self._senders) >= MOST_INJECTED:
            del self._senders[next(iter(self._senders))]
        self._senders[event_id] = own if known else None, answer
        return {**message, "event_id": event_id}

    def claim(self, fault: Fault) -> tuple[Fault, Answer] | None:
        """The fault for its sender, and the sender; None if it is the caller's."""
        if fault.event_id is None or not fault.event_id.startswith(self._prefix):
            return None
        own, answer = self._senders.get(fault.event_id, (None, lambda _events: None))
        return replace(fault, event_id=own), answer


class ClientMessages:
    """Reads the messages for one call."""

    def __init__(
        self,
        wire_format: WireFormat,
        languages_for: LanguagesFor,
        keep: Callable[[bytes, int], int],
        send: Answer,
        unix_time: Callable[[], float] = time.time,
    ) -> None:
        """``keep``: keeps the audio of an item (PCM16, Hz) under a number. ``send``: sends to the
        caller alone."""
        self._wire_format = wire_format
        self._languages_for = languages_for
        self._keep = keep
        self._send = send
        self._unix_time = unix_time
        self._injected = InjectedMessages()

    def read(
        self, message: Mapping[str, Any], config: SessionConfig, answer: Answer | None
    ) -> Iterator[Fault | Event]:
        """What a message means under ``config``: an event for the core, a fault to publish, or
        both. A ping is answered here.

        ``answer``: receives what only the sender may see; None: the caller is the sender."""
        if message.get("type") == PING:
            self._pong(message, answer or self._send)
            return
        if answer is not None:
            message = self._injected.mark(message, answer)
        try:
            event = self._wire_format.parse(message, config, by_caller=answer is None)
        except ClientFault as fault:
            yield _published(fault)
            return
        if isinstance(event, Partly):
            yield _published(event.fault)
            event = event.event
        if isinstance(event, SpokenItem):
            event = replace(event.event, clip=self._keep(event.pcm, event.rate))
        elif isinstance(event, ConfigureSession):
            event = replace(event, config=with_languages(event.config, self._languages_for))
        elif isinstance(event, KeyPressed):
            event = replace(event, at=int(self._unix_time()))
        yield event

    def answered(self, fault: Fault) -> bool:
        """Send a fault to whoever caused it; False if that is the caller."""
        claimed = self._injected.claim(fault)
        if claimed is not None:
            own, answer = claimed
            answer(list(self._wire_format.render(own)))
        return claimed is not None

    def _pong(self, ping: Mapping[str, Any], answer: Answer) -> None:
        """Answer a ping to its sender; it is no part of the conversation."""
        ping_id = ping.get("event_id")
        known = ping_id if isinstance(ping_id, str) else None
        answer(list(self._wire_format.render(Pong(known))))


def _published(fault: ClientFault) -> Fault:
    return Fault(fault.code, fault.message, fault.param, fault.event_id)
