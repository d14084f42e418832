import json
import re

from pipelines.engines.base import AnswerFormat, ToolDefinition, ToolOffer
from pipelines.engines.chat.answer_grammar import MOST_CALLS, answer_grammar

FIND = ToolDefinition("find", "", '{"type": "object", "properties": {"q": {"type": "string"}}}')
TOOLS = (FIND, ToolDefinition("hang_up"))


def start(grammar: str) -> str:
    [line] = [line for line in grammar.splitlines() if line.startswith("start:")]
    return line


def test_without_tools_and_format_anything_may_be_written() -> None:
    assert answer_grammar(None, None) == ""
    assert answer_grammar(ToolOffer(TOOLS, "none"), None) == ""
    assert answer_grammar(ToolOffer(()), None) == ""


def test_prose_or_calls_may_be_chosen() -> None:
    grammar = answer_grammar(ToolOffer(TOOLS), None)
    assert start(grammar) == "start: PROSE | calls | bare | PROSE calls | PROSE bare"
    assert f"{{0,{MOST_CALLS - 1}}}" in grammar
    [prose] = re.findall(r"^PROSE: /(.*)/$", grammar, re.MULTILINE)
    assert re.fullmatch(prose, "Of course, it is 3 > 2!\nAnything else?")
    assert not any(re.fullmatch(prose, f"a{letter}") for letter in "<{[*#`|")
    [schema] = re.findall(r'call0: .*? %json (\{.*\}) "\}"', grammar)
    assert json.loads(schema)["properties"] == {"q": {"type": "string"}}


def test_compelled_calls_are_all_there_is() -> None:
    required = answer_grammar(ToolOffer(TOOLS, "required"), None)
    assert start(required) == "start: calls"
    assert ("find" in required, "hang_up" in required) == (True, True)
    named = answer_grammar(ToolOffer(TOOLS, "hang_up"), None)
    assert ("find" in named, "hang_up" in named) == (False, True)
    assert "{0," not in named
    assert "{0," not in answer_grammar(ToolOffer(TOOLS, "required", parallel=False), None)


def test_a_format_is_the_answer() -> None:
    wanted = AnswerFormat('{"type": "object", "properties": {"day": {"type": "string"}}}')
    assert '"day"' in answer_grammar(None, wanted)
    assert '"type": "object"' in answer_grammar(None, AnswerFormat())
    assert start(answer_grammar(ToolOffer(TOOLS), wanted)) == "start: calls | formatted"


def test_schemas_that_are_too_large_together_are_left_open() -> None:
    schema = {"type": "object", "properties": {"x" * 30_000: {"type": "string"}}}
    tools = tuple(ToolDefinition(f"t{n}", "", json.dumps(schema)) for n in range(3))
    assert "xxx" not in answer_grammar(ToolOffer(tools), None)
    assert "xxx" in answer_grammar(ToolOffer(tools[:1]), None)


def test_names_are_quoted() -> None:
    grammar = answer_grammar(ToolOffer((ToolDefinition('a"b\n%json {}'),)), None)
    [head] = re.findall(r'call0: ("(?:[^"\\]|\\.)*")', grammar)
    assert json.loads(head) == '{"name": "a\\"b\\n%json {}", "arguments": '
