"""The file of ``blab simulate``: what is read, and how each mistake in it is reported."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from gateway.simulation.scenarios import FileFault, Scenario, parse, read
from tests.support.paths import AUDIO

FILE = AUDIO / "calls.toml"
"""Not there; recordings are found beside it."""

WHOLE = """
[defaults]
channel = "webrtc"
voice = "heart"
deadline_s = 12
[defaults.expect]
answered_within_ms = 1500
word_error = 0.2
interrupted_within_ms = 300

[[scenario]]
name = "one"
agent = "agt_1"
noise_dbfs = -50
expect = {no_fault = false, ends = "hang.?up", reply_matches = ["a", "b"]}
[[scenario.tool]]
name = "look_up"
parameters = {type = "object"}
output = "found"
[[scenario.line]]
say = ["I would like", 400, "a table"]
expect = {answered_within_ms = 900, tool = {name = "look_up", arguments = {seats = 2}}}
[[scenario.line]]
audio = "joe_stop.wav"
over_reply_ms = 500
[[scenario.line]]
audio = ["joe_mhm.wav", 100]
over_reply_ms = 0
expect.not_interrupted = true

[[scenario]]
name = "two"
channel = "websocket"
line = [{audio = "joe_yes.wav", text = "yes"}]
"""


def faults(text: str) -> list[str]:
    with pytest.raises(FileFault) as caught:
        parse(text, FILE)
    prefix = f"{FILE}: "
    assert all(fault.startswith(prefix) for fault in caught.value.faults)
    return [fault.removeprefix(prefix) for fault in caught.value.faults]


def scenario(rest: str, line: str = 'audio = "joe_yes.wav"') -> str:
    return f'[[scenario]]\nname = "one"\n{rest}\n[[scenario.line]]\n{line}\n'


def test_a_file_is_read_and_its_defaults_filled_in() -> None:
    one, two = parse(WHOLE, FILE)
    assert (one.channel, two.channel) == ("webrtc", "websocket")
    assert (one.voice, two.voice) == ("heart", "heart")
    assert (one.agent, two.agent) == ("agt_1", UNSET)
    assert (one.deadline, one.noise_dbfs) == (12, -50)
    first, second, third = one.lines
    assert list(first.parts) == ["I would like", 400, "a table"]
    assert first.words == "I would like a table"
    assert (first.expect.answered_within_ms, first.expect.word_error) == (900, 0.2)
    assert first.expect.interrupted_within_ms is UNSET, "it is said over nothing"
    assert second.expect.interrupted_within_ms == 300
    assert second.expect.word_error is UNSET, "its words are not known"
    assert third.expect.answered_within_ms is UNSET, "a backchannel is not answered"
    assert two.lines[0].expect.answered_within_ms == 1500
    assert two.lines[0].words == "yes"
    assert (one.expect.no_fault, two.expect.no_fault) == (False, True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "scenario: scenario is required"),
        ("a = ", "is not TOML: Invalid value (at end of document)"),
        ("scenario = []", "scenario: Expected array of length >= 1"),
        ("colour = 1\n" + scenario(""), "colour: is not a key here: use one of scenario, defaults"),
        (
            scenario("chanel = 'webrtc'"),
            "scenario 1 ('one'): chanel: is not a key here: use one of channel, agent, ",
        ),
        (
            scenario("channel = 'fax'"),
            "scenario 1 ('one'): channel: 'fax' is not accepted: send one of websocket, webrtc",
        ),
        ("[[scenario]]\nname = 'x'", "scenario 1 ('x'): line: line is required"),
        (scenario("noise_dbfs = 3"), "noise_dbfs: 3 is out of range: send a number from -90"),
        (scenario("noise_dbfs = nan"), "scenario 1 ('one'): noise_dbfs: "),
        (scenario("deadline_s = inf"), "scenario 1 ('one'): deadline_s: "),
        (
            scenario("", "say = 'a'\n[scenario.line.expect]\nreply = 1"),
            "scenario 1 ('one'), line 1: expect.reply: is not a key here: use one of reply_",
        ),
        (scenario("", "over_reply_ms = 3"), "line 1: needs either audio (a recording) or say"),
        (scenario("", "say = 'a'\naudio = 'b.wav'"), "line 1: needs either audio"),
        (scenario("", "say = [100]"), "line 1: say: holds pauses only"),
        (scenario("", "say = ['a', 0]"), "line 1: say: a pause has 1 to 20000 ms, not 0"),
        (scenario("", "say = ['a', 1.5]"), "line 1: say[1]: Expected integer | string, got number"),
        (scenario("", "audio = 'none.wav'"), "line 1: audio: 'none.wav' cannot be read: "),
        (scenario("", "audio = 'manifest.json'"), "holds no readable audio"),
        (scenario("", "say = 'a'\ntext = 'a'"), "line 1: text: goes with audio only"),
        (scenario("", "audio = 'joe_yes.wav'\nvoice = 'a'"), "line 1: voice: goes with say only"),
        (scenario("", "say = 'a'\nover_reply_ms = 3"), "line 1: over_reply_ms: the first line has"),
        (
            scenario("", "say = 'a'\nexpect.interrupted_within_ms = 3"),
            "line 1: expect.interrupted_within_ms: goes with a line that has over_reply_ms only",
        ),
        (
            scenario("", "audio = 'joe_yes.wav'\nexpect.word_error = 0.3"),
            "line 1: expect.word_error: needs the recording's words as the line's text",
        ),
        (
            scenario("", "say = 'a'\nexpect.reply_matches = '('"),
            "line 1: expect.reply_matches: '(' is not a regular expression: missing )",
        ),
        (
            scenario("", "say = 'a'\nexpect.tool = {name = 'x', arguments = {y = '['}}"),
            "line 1: expect.tool.arguments.y: '[' is not a regular expression",
        ),
        (
            scenario("", "say = 'a'\nexpect.reply_language = 'xx'"),
            "line 1: expect.reply_language: cannot be recognised: use one of ar, bg",
        ),
        (scenario("expect.ends = '*'"), "scenario 1 ('one'): expect.ends: '*' is not a regular"),
        (
            scenario("tool = [{name = 'a'}, {name = 'a'}]"),
            "scenario 1 ('one'): tool: two tools have the same name",
        ),
        (scenario("") * 2, "scenario 2 ('one'): name: another scenario has this name already"),
        (
            scenario("", "say = 'a'\n[[scenario.line]]\nsay = 'b'\nover_reply_ms = 1\n")
            + "expect = {not_interrupted = true, answered_within_ms = 4}",
            "line 2: expect.answered_within_ms: contradicts not_interrupted",
        ),
    ],
)  # fmt: skip
def test_a_mistake_is_reported_with_its_place(text: str, words: str) -> None:
    assert any(words in fault for fault in faults(text)), faults(text)


HUGE = "0x" + "f" * 5000


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (scenario("deadline_s = " + "9" * 5000), "holds an integer that is too long"),
        (scenario(f"deadline_s = {HUGE}"), "deadline_s: must be an integer of 64 bits"),
        (
            scenario("", f"say = 'a'\nexpect.tool = {{name = 'x', arguments = {{y = [{HUGE}]}}}}"),
            "line 1: expect.tool.arguments.y[0]: must be an integer of 64 bits",
        ),
        ("'scenario[7]' = 1\n" + scenario(""), "scenario[7]: is not a key here"),
        ("a." * 49_000 + "b = 1", "holds a key of more than 50 parts"),
        ("x = {" + """ 'a"' . "\\"" .""" * 8_000 + "b = 1}", "holds a key of more than 50 parts"),
    ],
    ids=range(6),
)
def test_what_would_break_the_reader_is_refused(text: str, words: str) -> None:
    assert any(words in fault for fault in faults(text)), faults(text)


def test_all_mistakes_are_reported_at_once() -> None:
    text = scenario("channel = 'fax'\nage = 3", "say = 'a'\nexpect.word_error = 2")
    assert len(faults(text)) == 3


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileFault, match=r"none.toml: cannot be read: No such file"):
        read(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b"a = '\xe9'")
    with pytest.raises(FileFault, match=r"latin.toml: is not UTF-8"):
        read(tmp_path / "latin.toml")


def parsed(text: str) -> tuple[list[Scenario], list[str]]:
    """What was read, or the faults."""
    try:
        return parse(text, FILE), []
    except FileFault as fault:
        return [], fault.faults


VALUES = st.recursive(
    st.sampled_from(["", "a", "(", "webrtc", "joe_yes.wav", 0, 1, -1, 500, 0.5])
    | st.booleans()
    | st.floats(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                "name channel line say audio text over_reply_ms expect tool arguments word_error "
                "reply_matches reply_language not_interrupted ends noise_dbfs x".split()
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def as_toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {as_toml(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_toml, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"'{value}'"
    return re.sub(r"^(-?\d+)e", r"\1.0e", repr(value))


@given(st.dictionaries(st.sampled_from(["scenario", "defaults", "x"]), VALUES))
def test_any_toml_is_read_or_refused_in_words(tree: dict[str, Any]) -> None:
    text = "".join(f"{name} = {as_toml(value)}\n" for name, value in tree.items())
    found, refused = parsed(text)
    assert bool(found) != bool(refused)
    assert not [fault for fault in refused if "is not TOML" in fault]


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_in_words(text: str) -> None:
    with pytest.raises(FileFault):
        parse(text, FILE)


@given(st.lists(VALUES, min_size=1, max_size=2), VALUES)
def test_lines_of_any_shape_are_read_or_refused(lines: list[Any], expect: Any) -> None:
    good = {"say": "a", "expect": expect}
    found, refused = parsed(f"scenario = [{{name = 'a', line = {as_toml([good, *lines])}}}]")
    assert [len(one.lines) for one in found] == ([] if refused else [len(lines) + 1])
    assert all("scenario 1 ('a')" in fault for fault in refused)
