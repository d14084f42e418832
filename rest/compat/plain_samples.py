"""PlainSamples: audio without a container, as OpenAI's ``pcm`` is."""

from media.files.encode import Encoder
from media.formats import SAMPLE_BYTES
from media.resample import Resampler
from pipelines.speech.job import AudioEncoder

PCM = "pcm"
PCM_RATE = 24_000
"""Hz; the samples are 16 bit, little-endian, mono."""


class PlainSamples:
    """An AudioEncoder that changes nothing but the rate."""

    def __init__(self, rate: int) -> None:
        self._resampler = Resampler(rate, PCM_RATE)
        self._late = self._resampler.delay * SAMPLE_BYTES

    def push(self, pcm: bytes) -> bytes:
        """Samples in, samples out."""
        return self._without_delay(self._resampler.push(pcm))

    def finish(self) -> bytes:
        """The last samples."""
        return self._without_delay(self._resampler.flush())

    def _without_delay(self, made: bytes) -> bytes:
        skipped = min(self._late, len(made))
        self._late -= skipped
        return made[skipped:]


def encoder(format: str, rate: int, samples: int | None = None, /) -> AudioEncoder:
    """An EncoderMaker that knows ``pcm``, too."""
    return PlainSamples(rate) if format == PCM else Encoder(format, rate, samples)
