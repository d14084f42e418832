from pathlib import Path

import numpy as np

from pipelines.engines.kokoro.voices import MEASURED, VOICES, VoiceTable, is_female, measured_voices


def test_what_is_packaged() -> None:
    table = measured_voices()
    assert table.voices == VOICES
    assert np.allclose(np.linalg.norm(table.embeddings, axis=1), 1.0, atol=1e-2)
    women = [pitch for voice, pitch in zip(VOICES, table.pitch, strict=True) if is_female(voice)]
    men = [pitch for voice, pitch in zip(VOICES, table.pitch, strict=True) if not is_female(voice)]
    assert 80 < np.median(men) < 150 < np.median(women) < 250
    assert 0.5 < table.melody.min() < table.melody.max() < 8
    assert MEASURED.stat().st_size < 100_000


def test_written_and_read_again(tmp_path: Path) -> None:
    some = measured_voices().only(("bm_george", "af_heart"))
    some.write(tmp_path / "table.npz")
    again = VoiceTable.read(tmp_path / "table.npz")
    assert again.voices == ("bm_george", "af_heart")
    for name in ("embeddings", "pitch", "melody"):
        assert np.array_equal(getattr(some, name), getattr(again, name))
