"""Mixes of voices that should sound like a target, by what the speaker encoder heard of each.

A mix of styles sounds roughly like the same mix of the voices' embeddings: good enough to begin
a search, not to end it. Pure.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from .voice_table import VoiceTable

Floats = npt.NDArray[np.float32]
Mix = dict[str, float]
"""Voice to its share; shares add up to 1."""

NEAREST = 3
MOST = 8
"""Voices in a mix; more blur what they have in common."""

LEAST_SHARE = 0.05
FACTOR = 1.7
"""By which a neighbour's share is greater or less."""

_STEPS = 2000


def beginnings(table: VoiceTable, target: Floats) -> list[Mix]:
    """Where to begin, each mix once: the three voices that together come nearest, as many as help,
    and the three that are nearest one by one."""
    whole = _shares(table.embeddings, target)
    together = np.argsort(-whole)
    alone = np.argsort(-(table.embeddings @ target))
    choices = (together[:NEAREST], together[:MOST], alone[:NEAREST])
    mixes: list[Mix] = []
    for rows in choices:
        shares = _shares(table.embeddings[rows], target)
        mix = _mix({table.voices[row]: float(s) for row, s in zip(rows, shares, strict=True)})
        if mix not in mixes:
            mixes.append(mix)
    return mixes


def neighbours(mix: Mix) -> Iterator[Mix]:
    """Mixes of the same voices with one share greater or less, the heaviest voice first."""
    for voice in sorted(mix, key=lambda one: -mix[one]):
        for factor in (FACTOR, 1 / FACTOR):
            if len(mix) > 1:
                yield _mix({**mix, voice: mix[voice] * factor})


def _mix(shares: Mix) -> Mix:
    """``shares`` without the smallest, adding up to 1."""
    total = sum(shares.values())
    kept = {voice: share for voice, share in shares.items() if share >= LEAST_SHARE * total}
    total = sum(kept.values())
    return {voice: round(share / total, 3) for voice, share in kept.items()}


def _shares(embeddings: Floats, target: Floats) -> Floats:
    """Shares, none negative, whose mix of ``embeddings`` points most nearly to ``target``.

    Least squares by projected gradients; of vectors without negative numbers, which the
    encoder's are, at least one share is positive."""
    products = embeddings @ embeddings.T
    wanted = embeddings @ target
    step = 1 / float(np.linalg.eigvalsh(products)[-1])
    shares = np.full(len(embeddings), 1 / len(embeddings), np.float32)
    for _ in range(_STEPS):
        shares = np.maximum(0.0, shares - step * (products @ shares - wanted))
    return shares
