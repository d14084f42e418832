"""The kinds of jobs that a worker of this installation runs, wired to stores and engines."""

from dataclasses import dataclass
from functools import partial

from media.files.encode import Encoder
from pipelines.clone import CloneKind
from pipelines.decoding import decoded
from pipelines.dubbing.job import DubbingKind
from pipelines.engines.jobs import JobEngines
from pipelines.jobs.artifacts import Artifacts
from pipelines.jobs.batch import BatchKind
from pipelines.jobs.cleanup import Cleanup
from pipelines.jobs.job import JobKind
from pipelines.jobs.runner import FinishHook
from pipelines.jobs.usage import Usage
from pipelines.speech.job import TtsKind
from pipelines.speech.polish import polish
from pipelines.ssrf import CustomerHttp
from pipelines.transcription.job import SttKind
from pipelines.webhooks.delivery import WebhookKind
from pipelines.webhooks.events import WebhookEvents
from store.tenants.voices import Voices

from .platform import media_limits
from .settings import Settings
from .stores import Stores


@dataclass(frozen=True, slots=True)
class WorkParts:
    """What jobs are built of."""

    settings: Settings
    stores: Stores
    engines: JobEngines
    http: CustomerHttp
    usage: Usage


def job_kinds(parts: WorkParts) -> list[JobKind]:
    """Every kind; a worker registers them all."""
    database, engines = parts.stores.database, parts.engines
    artifacts = Artifacts(database, parts.stores.objects)
    voices = Voices(database)
    limits = media_limits(parts.settings)
    return [
        TtsKind(engines, voices, artifacts, Encoder, polish),
        BatchKind(database),
        SttKind(engines, artifacts, partial(decoded, limits=limits)),
        CloneKind(database, engines, artifacts, Encoder),
        DubbingKind(engines, voices, artifacts, limits),
        WebhookKind(database, parts.http),
        Cleanup(database, parts.stores.objects, parts.settings.retention_days),
    ]


def finish_hooks(parts: WorkParts) -> list[FinishHook]:
    """What happens in the transaction that ends a job, in this order."""
    return [parts.usage.hook, WebhookEvents(parts.stores.database).hook]
