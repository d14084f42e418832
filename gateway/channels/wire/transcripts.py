"""What of a growing partial transcript may be told as a delta: only what can never be retracted.

A word is stable when two consecutive partials agree on it and on all words before it. What was
told stays told: the deltas of one item concatenate to a prefix of some partial, and to the whole
final text where that begins with them.
"""


class StablePrefix:
    """The deltas of one item's transcription."""

    def __init__(self) -> None:
        self._told: list[str] = []
        self._previous: list[str] = []

    def advance(self, partial: str) -> str:
        """The delta that this partial makes safe to tell; often empty."""
        words = partial.split()
        agreed = _common(self._previous, words)
        self._previous = words
        told = len(self._told)
        if agreed <= told or words[:told] != self._told:
            return ""
        return self._tell(words[told:agreed])

    def finish(self, final: str) -> str:
        """What is left of the final text to tell; empty where it differs from what was told."""
        words = final.split()
        told = len(self._told)
        return self._tell(words[told:]) if words[:told] == self._told else ""

    def _tell(self, words: list[str]) -> str:
        delta = " ".join(words)
        if self._told and delta:
            delta = " " + delta
        self._told += words
        return delta


def _common(first: list[str], second: list[str]) -> int:
    for index, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return index
    return min(len(first), len(second))
