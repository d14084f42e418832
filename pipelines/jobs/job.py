"""What a job is, and the contract of the kinds of jobs.

States: queued → running → completed | failed | cancelled; if a worker dies another starts the job
again (``runs`` counts). ``retry`` puts a failed or cancelled job back to queued. Running a kind
twice does no harm: the keys of what it stores contain the job's id, and the units it bills are
named, so the second run replaces the first.
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
    """The state of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


TERMINAL = frozenset({JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED})


class JobFailed(Exception):
    """The job cannot succeed and is not retried automatically.

    ``code`` is one of the contract's; the message is safe to show to the user."""

    def __init__(self, code: str, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = dict(details) if details else None


class TryAgain(Exception):
    """What the job waits for is not ready: it stays queued and is started again after ``delay``
    seconds. The run does not count."""

    def __init__(self, delay: float) -> None:
        super().__init__(f"again in {delay} s")
        self.delay = delay


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to submit. ``input`` is JSON, everything the kind needs to run it."""

    type: JobType
    input: dict[str, Any]
    parent_id: str | None = None
    item_index: int | None = None


@dataclass(frozen=True, slots=True)
class Unit:
    """A billed unit of work: ``name`` is unique in the workspace (the job's id and the kind of
    work), so that running twice bills once. ``tokens``: of a chat model, or the characters of a
    spoken text; ``audio_ms``: length of the audio transcribed or produced."""

    name: str
    type: str
    model: str
    tokens: int = 0
    audio_ms: int = 0


@dataclass(frozen=True, slots=True)
class JobResult:
    """The result of a run. ``output`` is JSON; object keys in it are shown as signed URLs.
    ``units`` are booked in the transaction that completes the job."""

    output: dict[str, Any]
    units: tuple[Unit, ...] = ()


MAX_WARNINGS = 20
"""Per run. One more says that there were others."""
MAX_WARNING_CHARACTERS = 300


class ApiWarning(Struct, frozen=True, omit_defaults=True):
    """Something was accepted but did not have its full effect. Shown on a job (``warnings``) and
    with a response (``meta.warnings``). ``code`` is a constant for programs, ``path`` the field of
    the request, if there is one."""

    code: str
    message: str
    path: str | None = None


Progress = Callable[[int], Awaitable[None]]
"""Reports the percentage done (0..100, never decreasing). Cheap to await often: it writes at most
four times a second."""


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

        Duplicates are dropped; beyond ``MAX_WARNINGS`` a last one says that there are more."""
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
        """Do the work. Raises JobFailed, EngineError (also final), TryAgain, CancelledError.
        Anything else is a fault of ours: the job is tried again until its runs are used up."""
        ...
