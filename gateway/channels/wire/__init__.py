"""The wire vocabulary: OpenAI Realtime GA events to and from the core's events, without I/O.

``vocabulary`` is the door; ``parse`` reads client events, ``render`` and ``replies`` write server
events, ``session_object`` and ``items`` hold the two shapes both directions share, ``fields``
reads JSON strictly, ``ids`` makes event ids, ``transcripts`` finds what of a partial is stable.
Field-level source: the ``openai`` package's ``types/realtime``.
"""
