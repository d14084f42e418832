from pathlib import Path

import numpy as np
import pytest

from pipelines.engines.kokoro.voices import NEUTRAL, PROSODY, Emotions, Styles, emotion_steps


@pytest.fixture(scope="module")
def styles(models_dir: Path) -> Styles:
    return Styles(models_dir / "kokoro" / "voices")


def test_it_grows_from_calm_to_lively() -> None:
    far = [emotion_steps(emotion) for emotion in range(101)]
    assert far == sorted(far)
    assert (far[0], far[NEUTRAL], far[100]) == (-1.2, 0.0, 1.5)


@pytest.mark.parametrize("voice", ["af_heart", "am_michael", "ef_dora"])
def test_only_the_prosody_is_moved(styles: Styles, voice: str) -> None:
    emotions, style = Emotions(styles), styles.voice(voice)
    calm, lively = emotions.applied(style, 0), emotions.applied(style, 100)
    timbre = slice(0, PROSODY.start)
    for felt in (calm, lively):
        assert (felt.language, felt.female) == (style.language, style.female)
        assert np.array_equal(felt.table[:, timbre], style.table[:, timbre])
    one = (calm.table - style.table)[:, PROSODY]
    other = (lively.table - style.table)[:, PROSODY]
    assert np.allclose(one / -1.2, other / 1.5, atol=1e-5)
    assert np.abs(other).max() > 0.05


def test_neutral_emotion_leaves_a_voice_unchanged(styles: Styles) -> None:
    style = styles.voice("bf_emma")
    assert Emotions(styles).applied(style, NEUTRAL) is style
