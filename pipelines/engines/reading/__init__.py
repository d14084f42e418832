"""Reading a text aloud: what is written (``€1.150,00``, ``jane@example.com``, ``<break/>``) as what
is said, for every embedded voice.

``text.read`` is the way in. Pure, and linear in the text's length whatever it contains.
"""
