"""Voice names of OpenAI's API: clients that exist send one, whatever server they talk to.

An embedded engine, which has none of them, speaks with its default voice instead.
"""

OPENAI_VOICES = frozenset(
    "alloy ash ballad cedar coral echo fable marin nova onyx sage shimmer verse".split()
)


def own_voice(voice: str) -> str:
    """``voice``, or ``default`` where it is one of OpenAI's."""
    return "default" if voice in OPENAI_VOICES else voice
