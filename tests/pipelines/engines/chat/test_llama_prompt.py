"""The embedded models' prompt: the grammar of their answers, and tools and outputs in its text."""

import json
import re

from pipelines.engines.base import (
    AnswerFormat,
    ChatMessage,
    ChatToolCall,
    ToolDefinition,
    ToolOffer,
)
from pipelines.engines.chat.llama_prompt import (
    ANSWER,
    MOST_TOOL_USES,
    RUNNING,
    answer_grammar,
    with_outputs,
    with_tools,
)

FIND = ToolDefinition("find", "", '{"type": "object", "properties": {"q": {"type": "string"}}}')
TOOLS = (FIND, ToolDefinition("hang_up"))


def start(grammar: str) -> str:
    [line] = [line for line in grammar.splitlines() if line.startswith("start:")]
    return line


def test_without_tools_and_format_anything_may_be_written() -> None:
    assert answer_grammar(None, None) == ""
    assert answer_grammar(ToolOffer(TOOLS, "none"), None) == ""
    assert answer_grammar(ToolOffer(()), None) == ""


def test_prose_or_tool_uses_may_be_chosen() -> None:
    grammar = answer_grammar(ToolOffer(TOOLS), None)
    assert start(grammar) == "start: PROSE | calls | bare | PROSE calls | PROSE bare"
    assert f"{{0,{MOST_TOOL_USES - 1}}}" in grammar
    [prose] = re.findall(r"^PROSE: /(.*)/$", grammar, re.MULTILINE)
    assert re.fullmatch(prose, "Of course, it is 3 > 2!\nAnything else?")
    assert not any(re.fullmatch(prose, f"a{letter}") for letter in "<{[*#`|")
    [schema] = re.findall(r'call0: .*? %json (\{.*\}) "\}"', grammar)
    assert json.loads(schema)["properties"] == {"q": {"type": "string"}}


def test_forced_tool_uses_are_the_whole_answer() -> None:
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


def test_outputs_without_tool_uses_are_put_in_words() -> None:
    asked = ChatMessage("user", "Is there ink?")
    call = ChatMessage("assistant", "", (ChatToolCall("c", "find", "{}"),))
    output = ChatMessage("tool", "None left.", call_id="c")
    assert with_outputs([asked, call, output]) == [
        asked,
        ChatMessage("user", f"The tool find answered: None left.\n{ANSWER}"),
    ]
    said = ChatMessage("assistant", "There is none.")
    assert with_outputs([asked, call, output, said])[1:] == [
        ChatMessage("user", "The tool find answered: None left."),
        said,
    ]


def test_a_history_without_tools_is_unchanged() -> None:
    history = [
        ChatMessage("system", "Be brief."),
        ChatMessage("user", ""),
        ChatMessage("user", "x"),
    ]
    assert with_outputs(history) == history


def test_tool_uses_and_outputs_in_tags() -> None:
    asked = ChatMessage("user", "Is there ink?")
    call = ChatMessage("assistant", "Let me see.", (ChatToolCall("c", "find", '{"q": "ink"}'),))
    output = ChatMessage("tool", "None left.", call_id="c")
    assert with_outputs([asked, call, output], tagged=True) == [
        asked,
        ChatMessage(
            "assistant",
            'Let me see.\n<tool_call>\n{"name": "find", "arguments": {"q": "ink"}}\n</tool_call>',
        ),
        ChatMessage("user", "<tool_response>\nNone left.\n</tool_response>"),
    ]


def test_a_tool_use_without_an_output_is_still_running() -> None:
    asked = ChatMessage("user", "Is there ink?")
    call = ChatMessage("assistant", "", (ChatToolCall("c", "find", "{}"),))
    again = ChatMessage("user", "Hello?")
    running = ChatMessage("user", f"The tool find {RUNNING}")
    assert with_outputs([asked, call, again]) == [asked, running, again]
    assert with_outputs([asked, call, again], tagged=True)[2:] == [running, again]


def test_the_offered_tools_are_in_the_first_system_message() -> None:
    offer = ToolOffer((ToolDefinition("find", "Finds things.", '{"type": "object"}'),))
    asked = ChatMessage("user", "Is there ink?")
    brief = ChatMessage("system", "Be brief.")
    [system, last] = with_tools([brief, asked], offer)
    assert (system.content.startswith("Be brief.\n\n# Tools"), last) == (True, asked)
    assert '"description": "Finds things."' in system.content
    [system, last] = with_tools([asked], offer)
    assert (system.content.startswith("# Tools"), last) == (True, asked)
    assert with_tools([brief, asked], None) == [brief, asked]


def test_a_schema_too_long_for_a_prompt_loses_details() -> None:
    def shown(schema: object) -> str:
        offer = ToolOffer((ToolDefinition("find", "", json.dumps(schema)),))
        return with_tools([], offer)[0].content

    texts = {"enum": [str(n) for n in range(5000)], "type": "string"}
    assert '"properties": {"a": {"type": "string"}}' in shown(
        {"type": "object", "properties": {"a": texts}}
    )
    many = {f"name_{n}": {"type": "string"} for n in range(300)}
    assert '"parameters": {"type": "object"}' in shown({"type": "object", "properties": many})
