"""EngineSettings: what a deployment chooses about its engines."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


def _chat_threads() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return 2 if cores == 2 else max(1, (cores or 1) - 1)


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Model ids of None mean the best embedded engine. ``threads`` are those of the chat model: one
    less than the cores, so that it does not stall beside speech recognition, but two on two cores,
    where one alone would be too slow (see ``llama_server``)."""

    models_dir: Path
    profile: str = "small"
    upstream_url: str | None = None
    upstream_key: str | None = field(default=None, repr=False)
    chat_model: str | None = None
    speech_model: str | None = None
    transcription_model: str | None = None
    threads: int = field(default_factory=_chat_threads)
    chat_slots: int = 2
    """Answers generated at once."""
    calls: int = 4
    """Calls at once: as many recognisers are kept ready."""
    chat_names: Mapping[str, str] = field(default_factory=lambda: {"verinova-stable": "default"})
    """Contract name to chat model id."""
    speech_names: Mapping[str, str] = field(default_factory=lambda: {"blab-stable": "default"})
    """Contract name to text-to-speech model id."""
    transcription_names: Mapping[str, str] = field(
        default_factory=lambda: {"verinova-stable": "default"}
    )
    """Contract name to speech-to-text model id."""
