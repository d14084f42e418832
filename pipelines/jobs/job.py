"""What a job is, and what the kinds of jobs must keep to.

States: queued → running → completed | failed | cancelled; a worker that dies leaves the job to
another, which begins it anew (``runs`` counts). ``retry`` puts a failed or cancelled job back to
queued. A kind is written so that running it twice does no harm: what it stores has keys made of
the job's id, and what it bills is named by unit, so the second run replaces the first.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from msgspec import Struct


class JobType(StrEnum):
    """The contract's job types."""

    TTS = "tts"
    STT = "stt"
    VOICE_CLONE = "voice_clone"
    DUBBING = "dubbing"
    BATCH = "batch"
    WEBHOOK = "webhook"
    CLEANUP = "cleanup"


class JobStatus(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


TERMINAL = frozenset({JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED})


class JobFailed(Exception):
    """The job cannot succeed and is not run again by itself.

    ``code`` is one of the contract's; the message is safe to show to the user."""

    def __init__(self, code: str, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = dict(details) if details else None


class TryAgain(Exception):
    """What the job waits for is not there yet: it is to be begun again after ``delay`` seconds,
    and stays queued meanwhile. The run counts as if it had not been."""

    def __init__(self, delay: float) -> None:
        super().__init__(f"again in {delay} s")
        self.delay = delay


@dataclass(frozen=True, slots=True)
class NewJob:
    """What is given of a new job. ``input`` is JSON, all that the kind needs to run it."""

    type: JobType
    input: dict[str, Any]
    parent_id: str | None = None
    item_index: int | None = None


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of work that is billed: ``name`` is unique in the workspace (the job's id and what
    it was), so that running twice bills once. ``tokens``: those of a chat model, or the characters
    of a text that was spoken; ``audio_ms``: length of the audio heard or made."""

    name: str
    type: str
    model: str
    tokens: int = 0
    audio_ms: int = 0


@dataclass(frozen=True, slots=True)
class JobResult:
    """What a run ends with. ``output`` is JSON; object keys in it become signed URLs when it is
    shown. ``units`` are booked in the same transaction that completes the job."""

    output: dict[str, Any]
    units: tuple[Unit, ...] = ()


MAX_WARNINGS = 20
"""Of one run. One more says that there were others."""
MAX_WARNING_CHARACTERS = 300


class ApiWarning(Struct, frozen=True, omit_defaults=True):
    """Something was accepted and did not have its full effect. Users read it on a job
    (``warnings``) and beside an answer (``meta.warnings``). ``code`` is a constant for programs,
    ``path`` the field of the request that it is about, where there is one."""

    code: str
    message: str
    path: str | None = None


Progress = Callable[[int], Awaitable[None]]
"""Told the percentage done (0..100, never falling); cheap to call often: it writes at most four
times a second."""


@dataclass(frozen=True, slots=True)
class JobRun:
    """One run of a job by a worker. Cancelling the job cancels the task that runs it."""

    id: str
    workspace_id: str
    input: dict[str, Any]
    run: int
    """1 for the first."""
    progress: Progress
    parent_id: str | None = None
    item_index: int | None = None
    warnings: list[ApiWarning] = field(default_factory=list)

    def warn(self, code: str, message: str, path: str | None = None) -> None:
        """Keep a warning for the job's record, whether the run succeeds or fails.

        The same one is kept once; beyond ``MAX_WARNINGS`` a last one counts as "and more"."""
        warning = ApiWarning(code, message[:MAX_WARNING_CHARACTERS], path)
        if warning in self.warnings or len(self.warnings) > MAX_WARNINGS:
            return
        if len(self.warnings) == MAX_WARNINGS:
            warning = ApiWarning("more_warnings", "There are more warnings than are listed here.")
        self.warnings.append(warning)


class JobKind(Protocol):
    """How jobs of one type are run."""

    type: JobType
    concurrency: int
    """How many of this type one worker runs at once."""
    deadline: float
    """Seconds that a run may take."""

    async def run(self, run: JobRun) -> JobResult:
        """Do the work. Raises JobFailed, EngineError (also final), TryAgain, CancelledError;
        anything else is a fault of ours, and the job is tried again until its runs are used up."""
        ...
