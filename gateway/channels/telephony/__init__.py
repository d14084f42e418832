"""Telephone calls: the media streams of Twilio and its like, each a dialect of one protocol.

Sans-I/O: ``parser`` and ``writer`` (messages), ``reorder`` and ``timeline`` (the caller's audio in
order, without holes), ``marks`` (what was heard). ``channel`` joins them to a WebSocket.
"""
