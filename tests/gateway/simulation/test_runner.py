"""What surrounds the process that makes simulated calls: scenarios from requests, names of
recordings, the address that is called, and what of a report is kept."""

import dataclasses
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.settings import Settings
from gateway.simulation import runner
from gateway.simulation.calling import MOST_MEMBERS, MOST_TEXT, bounded
from gateway.simulation.runner import own_url, read_scenarios, with_files
from rest.http.errors import ValidationFailed
from store.database import storable

TEXT = """
[defaults]
agent = "agt_2"
[[scenario]]
name = "one"
[[scenario.line]]
audio = ["a.wav", 300, "b.wav"]
[[scenario.line]]
say = "Hello."
"""
TREE: dict[str, Any] = {"scenario": [{"name": "one", "line": [{"say": "Hello."}]}]}


def refusal(given: Any, recordings: tuple[str, ...] = ()) -> ValidationFailed:
    with pytest.raises(ValidationFailed) as caught:
        read_scenarios(given, recordings)
    return caught.value


def test_scenarios_come_as_text_or_as_a_tree() -> None:
    read = read_scenarios(TEXT, ["a.wav", "b.wav", "unused.wav"])
    assert (read.names, read.agents) == (["one"], ["agt_2"])
    assert read.recordings == ["a.wav", "b.wav"]
    assert read_scenarios(TREE, ()).tree == TREE


def test_each_fault_has_its_place_and_its_sentence() -> None:
    wrong = {"scenario": [{"name": "one", "line": [{"say": "Hi.", "expect": {"answer": 1}}]}, {}]}
    error = refusal(wrong)
    assert error.reason == "bad_scenarios"
    assert error.param == "scenario[0].line[0].expect.answer"
    assert "scenario 1 ('one'), line 1: expect.answer: is not a key here" in error.message
    assert {fault.path for fault in error.faults} == {
        "scenario[0].line[0].expect.answer",
        "scenario[1].name",
        "scenario[1].line",
    }


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("[[scenario]\n", "is not TOML"),
        ('[[scenario]]\nname = "a\\u0000"\n[[scenario.line]]\nsay = "x"', "not text"),
        ("", "scenario is required"),
        (TEXT, "'a.wav' is not among the recordings of this request"),
        ({"scenario": [{"name": "one", "line": [{"say": "\ud800"}]}]}, "not text"),
    ],
    ids=["syntax", "NUL", "empty", "recordings", "surrogate"],
)
def test_what_cannot_be_used_is_refused(given: Any, words: str) -> None:
    assert words in refusal(given).message


def test_no_nesting_is_a_fault_of_ours() -> None:
    deep: Any = {}
    for _ in range(900):
        deep = {"a": deep}
    tool = {"name": "t", "parameters": deep}
    tree = {"scenario": [{"name": "one", "tool": [tool], "line": [{"say": "Hi."}]}]}
    assert "nested too deeply" in refusal(tree).message


def test_files_of_the_server_are_no_recordings(tmp_path: Path) -> None:
    there = tmp_path / "there.wav"
    there.write_bytes(b"x")
    tree = {"scenario": [{"name": "one", "line": [{"audio": str(there)}]}]}
    assert "not among the recordings" in refusal(tree).message


def test_recordings_get_the_names_of_their_files() -> None:
    tree = {
        "defaults": {"channel": "webrtc"},
        "scenario": [
            {"name": "a", "line": [{"audio": ["a", 5, "b"]}, {"audio": "b"}, {"say": "a"}]}
        ],
    }
    lines = with_files(tree, {"a": "0.wav", "b": "1.wav"})["scenario"][0]["line"]
    assert lines == [{"audio": ["0.wav", 5, "1.wav"]}, {"audio": "1.wav"}, {"say": "a"}]
    assert tree["scenario"][0]["line"][1] == {"audio": "b"}  # type: ignore[index]


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({"host": "0.0.0.0", "port": 1}, "http://127.0.0.1:1"),
        ({"host": "::1", "port": 1}, "http://[::1]:1"),
        (
            {"host": "0.0.0.0", "tls_certificate": Path("c"), "public_url": "https://a.example"},
            "https://a.example",
        ),
        ({"host": "b", "port": 1, "public_url": "https://a.example"}, "http://b:1"),
    ],
    ids=["anywhere", "IPv6", "TLS", "proxy"],
)
def test_the_server_is_called_where_its_machine_reaches_it(
    settings: dict[str, Any], url: str
) -> None:
    assert own_url(dataclasses.replace(Settings(), **settings)) == url


def test_what_dead_processes_have_left_is_deleted(tmp_path: Path) -> None:
    folder = tmp_path / "simulations"
    runner._prepare(folder)
    for name, seconds in (("run-old", 2 * runner.MOST_SECONDS + 60), ("run-new", 10.0)):
        (folder / name).mkdir()
        (folder / name / "0.wav").write_bytes(b"x")
        then = time.time() - seconds
        os.utime(folder / name, (then, then))
    runner._prepare(folder)
    assert [path.name for path in folder.iterdir()] == ["run-new"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(json_values)
def test_a_report_is_kept_as_it_is_where_it_can_be(value: Any) -> None:
    kept = bounded(value)
    if isinstance(value, str):
        assert kept == storable(value)
    elif not isinstance(value, list | dict):
        assert kept == value
    assert bounded(kept) == kept


def test_long_texts_and_lists_are_cut() -> None:
    cut = bounded({"reply": "a" * 10_000, "tools": list(range(1000))})
    assert len(cut["reply"]) == MOST_TEXT + 1
    assert len(cut["tools"]) == MOST_MEMBERS
