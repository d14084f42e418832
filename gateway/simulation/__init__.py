"""Simulated callers: scenarios in a file, spoken to a running server, with checks.

``scenarios`` reads the file, ``voice`` makes its lines audible, ``calls`` makes the calls,
``measures`` and ``checks`` judge them, ``report`` prints the outcome: ``blab simulate``.
"""
