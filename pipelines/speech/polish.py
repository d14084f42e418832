"""Polish: the broadcast chain over a finished recording (media.loudness), off the event loop."""

from pathlib import Path

from media.loudness import normalise
from pipelines.decoding import carried_out


async def polish(source: Path, target: Path, rate: int) -> None:
    """From a file of PCM16 mono at ``rate`` Hz to another, as long to the sample; is a
    ``pipelines.speech.job.Polish``. Raises OSError; cancelling stops the work within a second of
    audio."""
    await carried_out(lambda: normalise(source, target, rate))
