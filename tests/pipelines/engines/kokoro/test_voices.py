from pathlib import Path

import numpy as np
import pytest

from pipelines.engines.base import EngineFailed
from pipelines.engines.kokoro.voices import (
    ROWS,
    SIZE,
    VOICES,
    Styles,
    default_voice,
    quality,
    voices_for,
)


@pytest.fixture
def styles(tmp_path: Path) -> Styles:
    """Three voices whose styles are all 1, all 2, all 4."""
    for voice, value in (("af_heart", 1), ("bm_george", 2), ("ef_dora", 4)):
        np.full((ROWS, SIZE), value, "<f4").tofile(tmp_path / f"{voice}.bin")
    (tmp_path / "af_sky.bin").write_bytes(b"cut short")
    return Styles(tmp_path)


def test_every_voice_has_its_files(models_dir: Path) -> None:
    there = {path.stem for path in (models_dir / "kokoro" / "voices").glob("*.bin")}
    assert set(VOICES) == there
    assert len(VOICES) == len(there) == 54


def test_the_voices_follow_the_languages() -> None:
    english = voices_for(["en"])
    assert len(english) == 28
    emma = next(info for info in english if info.id == "bf_emma")
    assert (emma.name, emma.language, emma.gender) == ("Emma", "en-GB", "female")
    assert (emma.engine, emma.quality) == ("kokoro", "good")
    more = voices_for(["en", "pt", "hi"])
    assert {info.language for info in more} == {"en-US", "en-GB", "pt-BR", "hi"}
    assert {info.quality for info in more if info.language == "hi"} == {"robotic"}
    assert voices_for([]) == ()


def test_who_speaks_and_how_well() -> None:
    assert [default_voice(tag) for tag in ("en", "en-US", "en-GB", "pt-BR", "de", "sv")] == [
        *("af_heart", "af_heart", "bf_emma", "pf_dora", "if_sara", "if_sara"),
    ]
    assert [quality(tag) for tag in ("de-CH", "el", "ko")] == ["good", "weak", "robotic"]


def test_styles_are_mixed_by_weight(styles: Styles) -> None:
    mix = styles.mix({"af_heart": 1, "bm_george": 2, "ef_dora": 1})
    assert mix.table.shape == (ROWS, SIZE)
    assert np.allclose(mix.table, 9 / 4)
    assert (mix.language, mix.female) == ("en-GB", False)
    alone = styles.mix({"ef_dora": 0.2})
    assert np.array_equal(alone.table, styles.voice("ef_dora").table)


@pytest.mark.parametrize(
    "weights", [{}, {"af_heart": 0.0}, {"af_heart": float("nan")}, {"../../etc/passwd": 1.0}]
)
def test_invalid_mixes_are_refused(styles: Styles, weights: dict[str, float]) -> None:
    with pytest.raises(EngineFailed, match="no styles that are known"):
        styles.mix(weights)


@pytest.mark.parametrize("voice", ["af_sky", "af_nova"])
def test_a_damaged_or_missing_style(styles: Styles, voice: str) -> None:
    with pytest.raises(EngineFailed, match=f"{voice}.bin cannot be read"):
        styles.voice(voice)
