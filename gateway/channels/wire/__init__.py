"""The wire format: OpenAI Realtime GA events to and from the core's events, without I/O.

``wire_format`` is the door. ``client_events`` declares and reads what clients send, by ``fields``
and, beyond the form, ``checks``; ``render`` and ``replies`` write server events;
``session_object``, ``items`` and ``tools`` hold the objects that both directions share. Field-level
source: the ``openai`` package's ``types/realtime``.
"""
