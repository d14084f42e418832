"""The program that runs Pico: one phrase in on stdin, its samples out on stdout, until EOF.

A request is one line of JSON ``[text, voice, speed or null]``. The answer is a line of JSON
``{"bytes": n}`` followed by n bytes of PCM16 at 16 kHz, or ``{"error": "..."}``.

It is a program of its own because the vendor's code holds the GIL while it speaks (10-90 ms, in
which a server would serve nobody) and can only be interrupted by ending it. It imports nothing
from Blab, and exits when its parent closes the pipe or dies.
"""

import json
import sys

VOLUME = 0.45
"""Relative to Pico's own, at which it clips up to 600 samples of a sentence; at this one the
loudest sentence peaks at -4 dBFS."""


def serve() -> None:
    """Answer requests until stdin ends."""
    from py_nanotts import NanoTTS

    engine = NanoTTS()
    out = sys.stdout.buffer
    for line in sys.stdin.buffer:
        text, voice, speed = json.loads(line)
        try:
            pcm = engine.speak(text, voice=voice, speed=speed, volume=VOLUME)
        except (RuntimeError, ValueError, MemoryError, OSError) as error:
            out.write(json.dumps({"error": type(error).__name__}).encode() + b"\n")
        else:
            out.write(json.dumps({"bytes": len(pcm)}).encode() + b"\n" + pcm)
        out.flush()


if __name__ == "__main__":
    serve()
