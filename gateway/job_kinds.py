"""The kinds of jobs that a worker of this installation runs, wired to stores and engines."""

from dataclasses import dataclass

from pipelines.job_runner import FinishHook
from pipelines.jobs import JobKind
from store.bus import Bus
from store.database import Database

from .settings import Settings


@dataclass(frozen=True, slots=True)
class WorkParts:
    """What jobs are built of."""

    settings: Settings
    database: Database
    bus: Bus


def job_kinds(parts: WorkParts) -> list[JobKind]:  # noqa: ARG001 - until the first kind is wired
    """Every kind; a worker registers them all."""
    kinds: list[JobKind] = []
    return kinds


def finish_hooks(parts: WorkParts) -> list[FinishHook]:  # noqa: ARG001 - until one is wired
    """What happens in the transaction that ends a job, in this order."""
    hooks: list[FinishHook] = []
    return hooks
