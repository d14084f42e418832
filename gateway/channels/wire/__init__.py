"""The wire format: OpenAI Realtime GA events to and from the core's events, without I/O.

``wire_format`` is the door; ``client_events`` declares and reads client events; ``render``,
``replies`` and ``tool_events`` write server events, ``beta`` tells them by the beta's names;
``session_object``, ``items``, ``tools`` and ``tool_items`` hold the shapes both directions share,
``fields`` reads JSON strictly, ``ids`` makes event ids, ``transcripts`` finds what of a partial is
stable. Field-level source: the ``openai`` package's ``types/realtime``.
"""
