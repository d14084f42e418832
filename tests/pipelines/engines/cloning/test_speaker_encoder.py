import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipelines.engines.cloning.speaker_encoder import SpeakerEncoder, similarity, voiced

Load = Callable[[str], bytes]

READER = ("lv_0870", "lv_0890", "lv_0920")
JOE = ("joe_q_book", "joe_number", "joe_q_internet")


@pytest.fixture(scope="module")
def encoder(models_dir: Path) -> SpeakerEncoder:
    return SpeakerEncoder.load(models_dir / "speaker-encoder" / "pretrained.pt")


def test_one_speaker_is_told_from_another(encoder: SpeakerEncoder, audio: Load) -> None:
    heard = {name: encoder.embed(audio(name)) for name in (*READER, *JOE)}
    for embedding in heard.values():
        assert embedding.shape == (256,)
        assert embedding.min() >= 0
        assert np.linalg.norm(embedding) == pytest.approx(1.0, abs=1e-5)
    same = [
        similarity(heard[one], heard[other])
        for speaker in (READER, JOE)
        for one, other in itertools.combinations(speaker, 2)
    ]
    strangers = [similarity(heard[one], heard[other]) for one in READER for other in JOE]
    assert min(same) > 0.8
    assert max(strangers) < 0.65


def test_halves_of_a_recording_are_alike(encoder: SpeakerEncoder, audio: Load) -> None:
    pcm = audio("lv_0870")
    middle = len(pcm) // 4 * 2
    assert similarity(encoder.embed(pcm[:middle]), encoder.embed(pcm[middle:])) > 0.8


def test_silence_and_level_matter_little(encoder: SpeakerEncoder, audio: Load) -> None:
    pcm = audio("lv_0930")
    quiet = (np.frombuffer(pcm, "<i2") // 8).astype("<i2").tobytes()
    spread = bytes(64_000) + quiet + bytes(64_000)
    assert similarity(encoder.embed(pcm), encoder.embed(spread)) > 0.95
    assert len(voiced(spread)) < len(spread) // 2 - 48_000


@pytest.mark.parametrize("pcm", [b"", bytes(100), bytes(64_000)])
def test_without_speech_there_is_no_voice(encoder: SpeakerEncoder, pcm: bytes) -> None:
    with pytest.raises(ValueError, match="no speech"):
        encoder.embed(pcm)
