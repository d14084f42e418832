"""The engines of the cluster's nodes, as a package of a third party would add them.

Scripted, so that two hundred calls fit on one machine; voice activity is real. The chat model
counts the questions of a call, which shows whether a call that moved kept its history.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipelines.engines.base import ChatMessage
from pipelines.engines.engine import Engine, EngineSettings, Role
from pipelines.engines.scripted.live import (
    ScriptedChatModel,
    ScriptedSpeaker,
    ScriptedTranscriber,
)

EARS, CHAT, VOICE = "cluster-ears", "cluster-chat", "cluster-voice"
ANSWER = re.compile(r"answer number (\d+)")
"""Finds the number in what the chat model says."""
_ANSWER = "This is answer number {}, and it goes on for a while. Then it comes to its end."
"""16 words: 4 s of tone."""


def answer(messages: Sequence[ChatMessage]) -> str:
    """The answer to the last question; it says the how many-th of the call that was."""
    return _ANSWER.format(sum(message.role == "user" for message in messages))


class Closing:
    """Adds what an engine needs at the end."""

    async def close(self) -> None:
        """Nothing to release."""


class Ears(Closing, ScriptedTranscriber):
    """Hears the same question again and again."""


class Chat(Closing, ScriptedChatModel):
    """Says which answer this is."""


class Voice(Closing, ScriptedSpeaker):
    """A tone."""


async def _load(make: Callable[[], Any], _settings: EngineSettings) -> Any:
    return make()


def _ears() -> Ears:
    return Ears(texts=("what about this one",), model_id=EARS)


ENGINES = tuple(
    Engine(role=role, id=id, load=partial(_load, make))
    for role, id, make in (
        (Role.STREAMING_TRANSCRIPTION, EARS, _ears),
        (Role.TRANSCRIPTION, EARS, _ears),
        (Role.CHAT, CHAT, lambda: Chat(model_id=CHAT, answer=answer, first_token_delay=0.05)),
        (Role.SPEECH, VOICE, lambda: Voice(model_id=VOICE)),
    )
)

ENVIRONMENT = {
    "BLAB_CHAT_MODEL": CHAT,
    "BLAB_SPEECH_MODEL": VOICE,
    "BLAB_TRANSCRIPTION_MODEL": EARS,
}
"""Makes calls use them."""


@contextmanager
def installed() -> Iterator[Path]:
    """A folder for PYTHONPATH in which this module is an installed package of engines."""
    with TemporaryDirectory(prefix="blab-cluster-") as folder:
        about = Path(folder) / "blab_cluster-0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: blab-cluster\nVersion: 0\n")
        (about / "entry_points.txt").write_text(f"[blab.engines]\ncluster = {__name__}:ENGINES\n")
        yield Path(folder)
