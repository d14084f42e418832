"""Which embedded chat model answers: the larger one if this machine is fast enough.

The small model is loaded first, because it is ready sooner. The larger one answers better
(``bench/brain.py``) and takes over in the background if all of this holds, checked in this order so
that a slow machine never fetches a gigabyte for nothing:

1. no chat model is configured (``BLAB_CHAT_MODEL``; the profile ``full`` configures the larger);
2. ``LEAST_MEMORY`` bytes are free;
3. by the small model's speed the larger one would reach ``HOPE`` of ``LEAST_SPEED``;
4. its weights can be fetched and loaded;
5. it generates ``LEAST_SPEED`` tokens a second and its first clause within ``MOST_WAIT`` seconds,
   so that voice to voice stays within 1.2 s.

The verdict for this machine is stored with the weights: the next start loads the winner at once. A
replaced small model frees its memory when its last answer has ended.
"""

import json
import logging
import platform
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from pipelines.engines.base import ChatMessage, ChatModel
from pipelines.engines.resources import available_memory, usable_cores

log = logging.getLogger(__name__)

CHAT_MODELS = ("qwen2.5-1.5b", "qwen2.5-0.5b")
"""Best first."""
LARGER, SMALLER = CHAT_MODELS
PROFILES = {"small": (SMALLER,), "standard": (SMALLER,), "full": (LARGER, SMALLER)}
"""The embedded chat models of each profile, best first."""

LEAST_MEMORY = 4_000_000_000
LEAST_SPEED = 15.0
"""Tokens a second; speech takes about 5, but the caller waits for the first clause."""
SPEED_RATIO = 1.75
"""How much faster the small model is: 81 against 142 ms of CPU time a token, on one thread."""
HOPE = 0.8
MOST_WAIT = 0.8
GIVEN = "It is the chat model of this profile."
COMING = f"It was ready first; {LARGER} is being fetched or loaded and takes over when it is warm."
_CLAUSE_TOKENS = 8
_RUNS = 3
_TOKENS = 32
_VERDICT = "chat-model.json"
_QUESTION = (
    ChatMessage("system", "You are a friendly voice assistant on a live call. Answer briefly."),
    ChatMessage("user", "Can you tell me a short story about a ship and the sea?"),
)


@dataclass(frozen=True, slots=True)
class ChatChoice:
    """The embedded chat model that answers, and why it is that one (a sentence)."""

    model_id: str
    reason: str
    final: bool = True
    """False: the larger one is being fetched or loaded."""


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast a chat model answers. ``wait``: seconds to the end of a first clause."""

    tokens_per_second: float
    wait: float

    @property
    def enough(self) -> bool:
        """Whether it is fast enough for a conversation."""
        return self.tokens_per_second >= LEAST_SPEED and self.wait <= MOST_WAIT

    def __str__(self) -> str:
        return f"{self.tokens_per_second:.0f} tokens/s, first clause after {self.wait:.1f} s"


async def measured(model: ChatModel, clock: Callable[[], float] = time.perf_counter) -> Speed:
    """The best of a few runs: other work on the machine makes it look slower, never faster."""
    runs = [await _run(model, clock) for _ in range(_RUNS)]
    return Speed(max(rate for rate, _ in runs), min(wait for _, wait in runs))


async def _run(model: ChatModel, clock: Callable[[], float]) -> tuple[float, float]:
    began = clock()
    moments: list[float] = []
    tokens = 0
    async with aclosing(model.stream(_QUESTION, max_tokens=_TOKENS)) as answer:
        async for delta in answer:
            if delta.text:
                moments.append(clock())
            tokens = delta.completion_tokens or tokens
    if len(moments) < 2:
        return 0.0, float("inf")
    rate = (max(tokens, len(moments)) - 1) / (moments[-1] - moments[0])
    return rate, moments[0] - began + (_CLAUSE_TOKENS - 1) / rate


@dataclass(frozen=True, slots=True)
class Verdict:
    """The speed of LARGER on this machine; ``estimated`` from the small model's, or measured."""

    speed: Speed
    estimated: bool

    @property
    def hopeful(self) -> bool:
        """Whether it is worth loading."""
        if self.estimated:
            return self.speed.tokens_per_second >= HOPE * LEAST_SPEED
        return self.speed.enough

    @property
    def reason(self) -> str:
        """Why it answers, or why not."""
        if self.hopeful:
            return f"It answers better than {SMALLER}, and is fast enough here: {self.speed}."
        found = "would probably be" if self.estimated else "is"
        return f"{LARGER} {found} too slow for a conversation here: {self.speed}."


class Verdicts:
    """The verdict on this machine, in a file in the models' directory, which may be deleted."""

    def __init__(self, models_dir: Path) -> None:
        self._file = models_dir / _VERDICT

    def read(self) -> Verdict | None:
        """The stored verdict; None if there is none for this machine."""
        try:
            kept = json.loads(self._file.read_text())
            if kept["machine"] != _machine():
                return None
            return Verdict(Speed(*map(float, kept["speed"])), bool(kept["estimated"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, verdict: Verdict) -> None:
        """Store it; if the directory is not writable, the next start measures again."""
        speed = [verdict.speed.tokens_per_second, verdict.speed.wait]
        kept = {"machine": _machine(), "speed": speed, "estimated": verdict.estimated}
        try:
            self._file.write_text(json.dumps(kept))
        except OSError as error:
            log.info("the chat model's speed could not be stored: %s", error.strerror)


def _machine() -> str:
    """What the speed depends on, as far as it is known."""
    return f"{LARGER} on {platform.machine()}, {usable_cores()} cores, {_processor()}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if "model name" in line), "")


def free_memory() -> int:
    """Bytes available without swapping; enough if unknown."""
    available = available_memory()
    return LEAST_MEMORY if available is None else available


def too_little_memory() -> str | None:
    """Why LARGER is not tried, if memory is the reason."""
    free = free_memory()
    if free >= LEAST_MEMORY:
        return None
    needed = LEAST_MEMORY / 1e9
    return f"{LARGER} needs {needed:.0f} GB of free memory; this machine has {free / 1e9:.1f} GB."


async def estimated(small: ChatModel, clock: Callable[[], float] = time.perf_counter) -> Verdict:
    """The expected speed of LARGER here, from the speed of SMALLER."""
    speed = await measured(small, clock)
    larger = Speed(speed.tokens_per_second / SPEED_RATIO, speed.wait * SPEED_RATIO)
    return Verdict(larger, estimated=True)
