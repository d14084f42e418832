import itertools

import numpy as np
import pytest

from pipelines.engines.cloning.voice_mix import LEAST_SHARE, MOST, beginnings, neighbours
from pipelines.engines.cloning.voice_table import VoiceTable, packaged


def table_of(*embeddings: list[float]) -> VoiceTable:
    rows = np.array(embeddings, np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    voices = tuple("abcdefgh"[: len(rows)])
    ones = np.ones(len(rows), np.float32)
    return VoiceTable(voices, rows, ones, ones)


def test_a_voice_of_the_table_is_found_alone() -> None:
    table = packaged()
    row = table.voices.index("bm_fable")
    for mix in beginnings(table, table.embeddings[row]):
        assert max(mix, key=lambda voice: mix[voice]) == "bm_fable"
        assert mix["bm_fable"] > 0.8


def test_shares_are_those_of_the_target() -> None:
    table = table_of([1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1])
    target = np.array([0.8, 0.6, 0.0], np.float32)
    mixes = beginnings(table, target)
    assert mixes[0] == pytest.approx({"a": 4 / 7, "b": 3 / 7}, abs=0.01)
    assert mixes == [mix for mix, _ in itertools.groupby(mixes)]


def test_mixes_are_mixes() -> None:
    target = np.abs(np.random.default_rng(2).normal(size=256)).astype(np.float32)
    target /= np.linalg.norm(target)
    begun = beginnings(packaged(), target)
    assert 1 <= len(begun) <= 3
    for mix in [*begun, *itertools.chain.from_iterable(map(neighbours, begun))]:
        assert 1 <= len(mix) <= MOST
        assert sum(mix.values()) == pytest.approx(1.0, abs=0.01)
        assert min(mix.values()) >= LEAST_SHARE - 0.001


def test_neighbours_move_one_share() -> None:
    near = list(neighbours({"a": 0.5, "b": 0.3, "c": 0.2}))
    assert len(near) == 6
    assert near[0]["a"] > 0.5 > near[1]["a"]
    assert near[0]["b"] / near[0]["c"] == pytest.approx(1.5, abs=0.01)
    assert list(neighbours({"a": 1.0})) == []
