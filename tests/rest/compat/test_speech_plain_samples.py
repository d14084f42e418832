"""Samples without a container: at 24 kHz, complete, none late."""

import pytest

from media.files.encode import PLAIN_RATE
from pipelines.engines.scripted.live import tone, tone_of
from rest.compat.speech import encoder


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000, 48_000])
def test_every_rate_that_engines_have(rate: int) -> None:
    spoken = tone(440.0, rate, rate)
    plain = encoder("pcm", rate)
    made = b"".join(plain.push(spoken[at : at + 2000]) for at in range(0, len(spoken), 2000))
    made += plain.finish()
    assert len(made) == 2 * PLAIN_RATE
    assert tone_of(made, PLAIN_RATE) == pytest.approx(440, abs=1)


def test_other_formats_are_files() -> None:
    assert encoder("wav", 8_000).push(bytes(2))[:4] == b"RIFF"
