"""JobView: a job as the contract shows it.

Convention: in ``output`` a member whose name ends in ``Key`` holds an object's key and is shown
beside a ``…Url``, signed for a short while; members whose name begins with ``_`` are never shown.
"""

from datetime import UTC, datetime
from typing import Any, Protocol, cast

import msgspec
from msgspec import Struct

from pipelines.jobs.job import ApiWarning
from rest.http.fields import JobType
from rest.http.operation import AnyRequest
from store.tenants.jobs import Job


class JobView(Struct, rename="camel"):
    """The contract's Job, with what it leaves open. ``warnings``: what was accepted and did not
    have its full effect."""

    id: str
    type: JobType
    status: str
    progress: int
    output: dict[str, Any] | None
    error: dict[str, Any] | None
    created_at: str
    warnings: list[ApiWarning] = []
    started_at: str | None = None
    finished_at: str | None = None


class JobRef(Struct, rename="camel"):
    """The contract's JobRef: what is answered where a job was accepted."""

    job_id: str
    status: str


class Signer(Protocol):
    """Makes addresses for objects (rest.accounts.signing)."""

    def url(self, request_base: str, workspace_id: str, key: str) -> str: ...


class JobViews:
    """Shows jobs. ``public_url``: what addresses begin with; None: what the request came to."""

    def __init__(self, signer: Signer, public_url: str | None = None) -> None:
        self._signer = signer
        self._public_url = public_url

    def view(self, request: AnyRequest, job: Job) -> JobView:
        """The job with signed addresses of what it made."""
        output = None if job.output is None else self.signed(request, job.workspace_id, job.output)
        return JobView(
            id=job.id,
            type=cast(JobType, job.type),
            status=job.status,
            progress=job.progress,
            output=output,
            error=job.error,
            created_at=timestamp(job.created_at),
            warnings=msgspec.convert(job.warnings, list[ApiWarning]),
            started_at=timestamp(job.started_at) if job.started_at else None,
            finished_at=timestamp(job.finished_at) if job.finished_at else None,
        )

    def url(self, request: AnyRequest, key: str) -> str:
        """The signed address of an object of the caller's workspace."""
        return self._signer.url(self._base(request), request.workspace_id, key)

    def signed(self, request: AnyRequest, workspace_id: str, output: dict[str, Any]) -> Any:
        """``output`` by the convention above, at every depth."""
        return self._shown(self._base(request), workspace_id, output)

    def _base(self, request: AnyRequest) -> str:
        return self._public_url or str(request.http.url.origin())

    def _shown(self, base: str, workspace_id: str, value: Any) -> Any:
        if isinstance(value, list):
            return [self._shown(base, workspace_id, item) for item in value]
        if not isinstance(value, dict):
            return value
        shown: dict[str, Any] = {}
        for name, member in value.items():
            if name.startswith("_"):
                continue
            shown[name] = self._shown(base, workspace_id, member)
            if name.endswith("Key") and isinstance(member, str):
                url = self._signer.url(base, workspace_id, member)
                shown[name.removesuffix("Key") + "Url"] = url
        return shown


def timestamp(moment: datetime) -> str:
    """ISO 8601 in UTC with Z, to the millisecond."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
