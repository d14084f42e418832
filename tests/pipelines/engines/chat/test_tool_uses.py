"""Tool uses written as text: the same for any split of the stream, and text stays text."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.engines.base import ToolDefinition, ToolOffer
from pipelines.engines.chat.tool_markup import LOOK
from pipelines.engines.chat.tool_uses import LIMIT, ToolUseReader

WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city"],
}
TOOLS = ToolOffer(
    (
        ToolDefinition("get_weather", "", json.dumps(WEATHER)),
        ToolDefinition("hang_up"),
        ToolDefinition("find", "", '{"type": "object"}'),
    )
)
CALL = '{"name": "get_weather", "arguments": {"city": "Paris"}}'
PARIS = [("get_weather", {"city": "Paris"})]


def read(
    text: str, cuts: list[int] | None = None, *, formatted: bool = False
) -> tuple[str, list[tuple[str, Any]], str]:
    """Text, calls, and what was unusable; ``cuts`` None: a letter at a time."""
    reader, said, calls, start = ToolUseReader(TOOLS, formatted=formatted), "", [], 0
    places = range(len(text)) if cuts is None else sorted(cut % (len(text) + 1) for cut in cuts)
    for cut in [*places, len(text)]:
        more, found = reader.feed(text[start:cut])
        said, calls, start = said + more, calls + found, cut
    more, found = reader.flush()
    calls += found
    assert [call.index for call in calls] == list(range(len(calls)))
    assert len({call.call_id for call in calls}) == len(calls)
    return said + more, [(call.name, json.loads(call.arguments)) for call in calls], reader.unusable


WRITTEN = [
    CALL,
    f"<tool_call>\n{CALL}\n</tool_call>",
    f"<tool_call>\n{CALL}\n",
    CALL[:-1],
    CALL[:-2],
    f"{{{CALL}}}",
    f"{{{CALL[:-1]}}}}}",
    f"<tools>{CALL}</tools>",
    f"<tools>\n{CALL}",
    f"<tool_call>{CALL[:-1]}</tool_call>",
    f"<tool_call>{CALL}}}\n</tool_call>",
    f"</tool_call>{CALL}",
    f"```json\n{CALL}\n```",
    f"```\n{CALL}\n```",
    f"```xml\n<tool_call>{CALL}</tool_call>\n```",
    f"{CALL}{CALL}",
    f"{CALL}\n\nThe weather in Paris is sunny.",
    f"<|tool_call|>[{CALL}]",
    f"[TOOL_CALLS][{CALL}]",
    '[TOOL_CALLS]get_weather[ARGS]{"city": "Paris"}',
    f"<|python_tag|>{CALL}",
    '<|python_tag|>get_weather.call(city="Paris")',
    '<function=get_weather>{"city": "Paris"}</function>',
    "<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n</function>\n</tool_call>",
    '<invoke name="get_weather">\n<parameter name="city">Paris</parameter>\n</invoke>',
    "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Paris</arg_value></tool_call>",
    '<function-name>: get_weather\n<args-json-object>: {"city": "Paris"}',
    '{"name": <function-name>: get_weather, "arguments": {"city": "Paris"}}',
    '<get_weather>{"city": "Paris"}</get_weather>',
    "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n"
    '```json\n{"city": "Paris"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
    "<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0"
    '<|tool_call_argument_begin|>{"city": "Paris"}<|tool_call_end|>',
    '<|channel|>commentary to=functions.get_weather <|message|>{"city": "Paris"}',
    '>>>get_weather\n{"city": "Paris"}',
    'get_weather(city="Paris")',
    '[get_weather(city="Paris")]',
    'functions.get_weather({"city": "Paris"})',
    'get_weather: {"city": "Paris"}',
    '```tool_code\nget_weather(city="Paris")\n```',
    'Action: get_weather\nAction Input: {"city": "Paris"}',
    '{"get_weather": {"city": "Paris"}}',
    '{"function": {"name": "get_weather", "arguments": "{\\"city\\": \\"Paris\\"}"}}',
    '{"tool_calls": [{"function": {"name": "get_weather", "arguments": {"city": "Paris"}}}]}',
    "{'name': 'get_weather', 'arguments': {'city': 'Paris'}}",
    '{"name": "getWeather", "parameters": {"city": "Paris",}}',
    '{"tool": "get_weather", "city": "Paris"}',
    '{"name": "get_weather"}, "arguments": {"city": "Paris"}}',
    '{"name": "get_weather", "arguments": {"city": "Paris", "mood": "fine"}}',
]


@pytest.mark.parametrize("text", WRITTEN)
def test_every_form_of_a_tool_use_is_recognised(text: str) -> None:
    assert read(text) == ("", PARIS, "")
    assert read(text, []) == ("", PARIS, "")
    assert read(f"One moment. {text}" if text[0] in "<{" else text)[1:] == (PARIS, "")


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "rm", "arguments": {"path": "/"}}',
        "<tool_call>nonsense</tool_call>",
        "<tool_call>",
        "<tools>",
        '<function=rm>{"a": 1}</function>',
        '{"name": "get_weather", "arguments": {"ci',
        '{"name": "get_weather", "arguments": {"town": "Paris"}}',
        '{"name": "get_weather", "arguments": {"city": ["Paris"]}}',
        '```json\n{"name": "nope", "arguments": {}}\n```',
        'get_weather({"town": "Paris"})',
    ],
)
def test_a_possible_tool_use_is_never_text(text: str) -> None:
    for cuts in (None, []):
        said, calls, unusable = read(text, cuts)
        assert (said, calls) == ("", [])
        assert unusable


@pytest.mark.parametrize(
    "text",
    [
        "Good morning, 3 < 4 and 5 > 2.",
        "Use a list [1, 2, 3] like this.",
        '{"city": "Paris"}',
        '{"name": "Bob", "age": 5}',
        "I will find it: {x | x > 0}.",
        "get_weather is a function that takes a city.",
        "get_weather(city) returns the weather.",
        "```python\nprint(1)\n```",
        '```json\n{"a": 1}\n```',
        "<b>bold</b> and <i>x</i>",
        "find the answer: {here}",
        "\n\nfind\n\n(or not)",
        'a {"type": "circle", "r": 2} b',
        "<toolbox> is a word",
        "The function is f(x).",
        '[{"id": 1}, {"id": 2}]',
        "[link](http://x)",
        "hang_up",
        "`",
        "<",
    ],
)
def test_prose_is_unchanged(text: str) -> None:
    assert read(text) == read(text, []) == (text, [], "")


@given(text=st.text(alphabet='<b>12/{}" \\nxw:,[`(', max_size=60), cuts=st.lists(st.integers(0)))
def test_text_without_a_tool_use_is_unchanged(text: str, cuts: list[int]) -> None:
    assert read(text, cuts) == (text, [], "")


@given(
    text=st.text(alphabet='<tool_cal>/{}" \\nme:,get_whr(', max_size=60), place=st.integers(0, 60)
)
def test_the_split_of_the_stream_does_not_matter(text: str, place: int) -> None:
    text = text[:place] + CALL + text[place:]
    assert read(text) == read(text, []) == read(text, [place, place + 9])


ARGUMENTS = st.dictionaries(
    st.text(max_size=8),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=12),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
        max_leaves=8,
    ),
    max_size=4,
)


@given(
    calls=st.lists(ARGUMENTS, max_size=3, unique_by=lambda one: json.dumps(one, sort_keys=True)),
    cuts=st.lists(st.integers(0), max_size=12),
)
def test_arguments_come_as_they_were_written(calls: list[dict[str, Any]], cuts: list[int]) -> None:
    text = "".join(
        f"<tool_call>\n{json.dumps({'name': 'find', 'arguments': one})}\n</tool_call>"
        for one in calls
    )
    said, found, unusable = read(f"Well, {text}", cuts)
    assert (said, found, unusable) == ("Well, ", [("find", one) for one in calls], "")


def test_numbers_written_as_texts_are_numbers() -> None:
    text = '{"name": "get_weather", "arguments": {"city": 5, "days": "3"}}'
    assert read(text)[1] == [("get_weather", {"city": "5", "days": 3})]


def test_text_flows_at_once_except_for_a_possible_tool_use() -> None:
    reader = ToolUseReader(TOOLS)
    pieces = ("Good", " morning", ", 3 <", " 4. A", " [1", "] {x", "}", "\nfi", "ne")
    said = [reader.feed(piece)[0] for piece in pieces]
    assert said == ["Good", " morning", ", 3 ", "< 4. A", " [1", "] {x", "}", "\n", "fine"]


def test_a_formatted_answer_may_be_an_object_with_any_names() -> None:
    assert read(CALL, formatted=True) == (CALL, [], "")
    assert read(f"<tool_call>{CALL}</tool_call>", formatted=True) == ("", PARIS, "")


def test_held_text_is_bounded() -> None:
    reader = ToolUseReader(TOOLS)
    said = "".join(reader.feed("{" * 100)[0] for _ in range(LIMIT // 100 + 1))
    assert len(said) >= LIMIT - LOOK
    reader = ToolUseReader(TOOLS)
    assert reader.feed('{"name": "' + "x" * (LIMIT + 1))[0] == '{"name": "' + "x" * (LIMIT + 1)


def test_an_earlier_tool_use_is_not_repeated() -> None:
    reader = ToolUseReader(TOOLS)
    reader.made_before([("get_weather", '{"city":"Paris"}'), ("find", "broken")])
    assert reader.feed(CALL) == ("", [])
    assert (reader.repeats, reader.unusable, reader.found) == (True, "", 0)
