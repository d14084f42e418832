from pathlib import Path

import numpy as np
import pytest

from bench import measure_voices
from pipelines.engines.kokoro.voices import measured_voices


async def test_a_measured_voice_matches_the_packaged_table(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One voice and a short sentence in place of 54 voices and two long ones."""
    monkeypatch.setattr(measure_voices, "VOICES", ("am_michael",))
    monkeypatch.setattr(measure_voices, "SENTENCES", ("We could wait for your brother.",))
    measured = await measure_voices.measure_table(models_dir)
    known = measured_voices().only(("am_michael",))
    assert measured.voices == known.voices
    assert np.linalg.norm(measured.embeddings[0]) == pytest.approx(1.0, abs=1e-5)
    assert float(measured.embeddings[0] @ known.embeddings[0]) > 0.8
    assert measured.pitch[0] == pytest.approx(known.pitch[0], rel=0.25)
    assert 1 < measured.melody[0] < 6
