import json

from pipelines.engines.base import ChatMessage, ChatToolCall, ToolDefinition, ToolOffer
from pipelines.engines.chat.told_outputs import ANSWER, RUNNING, told_offer, told_outputs


def test_outputs_are_told_in_words_and_calls_left_out() -> None:
    asked = ChatMessage("user", "Is there ink?")
    call = ChatMessage("assistant", "", (ChatToolCall("c", "find", "{}"),))
    output = ChatMessage("tool", "None left.", call_id="c")
    assert told_outputs([asked, call, output]) == [
        asked,
        ChatMessage("user", f"The tool find answered: None left.\n{ANSWER}"),
    ]
    said = ChatMessage("assistant", "There is none.")
    assert told_outputs([asked, call, output, said])[1:] == [
        ChatMessage("user", "The tool find answered: None left."),
        said,
    ]


def test_a_history_without_tools_is_left_as_it_is() -> None:
    history = [
        ChatMessage("system", "Be brief."),
        ChatMessage("user", ""),
        ChatMessage("user", "x"),
    ]
    assert told_outputs(history) == history


def test_calls_and_outputs_in_tags() -> None:
    asked = ChatMessage("user", "Is there ink?")
    call = ChatMessage("assistant", "Let me see.", (ChatToolCall("c", "find", '{"q": "ink"}'),))
    output = ChatMessage("tool", "None left.", call_id="c")
    assert told_outputs([asked, call, output], tagged=True) == [
        asked,
        ChatMessage(
            "assistant",
            'Let me see.\n<tool_call>\n{"name": "find", "arguments": {"q": "ink"}}\n</tool_call>',
        ),
        ChatMessage("user", "<tool_response>\nNone left.\n</tool_response>"),
    ]


def test_a_call_without_an_output_is_still_running() -> None:
    asked = ChatMessage("user", "Is there ink?")
    call = ChatMessage("assistant", "", (ChatToolCall("c", "find", "{}"),))
    again = ChatMessage("user", "Hello?")
    running = ChatMessage("user", f"The tool find {RUNNING}")
    assert told_outputs([asked, call, again]) == [asked, running, again]
    assert told_outputs([asked, call, again], tagged=True)[2:] == [running, again]


def test_the_offer_stands_in_the_first_system_message() -> None:
    offer = ToolOffer((ToolDefinition("find", "Finds things.", '{"type": "object"}'),))
    asked = ChatMessage("user", "Is there ink?")
    brief = ChatMessage("system", "Be brief.")
    [system, last] = told_offer([brief, asked], offer)
    assert (system.content.startswith("Be brief.\n\n# Tools"), last) == (True, asked)
    assert '"description": "Finds things."' in system.content
    [system, last] = told_offer([asked], offer)
    assert (system.content.startswith("# Tools"), last) == (True, asked)
    assert told_offer([brief, asked], None) == [brief, asked]


def test_a_schema_too_long_for_a_prompt_loses_details() -> None:
    def shown(schema: object) -> str:
        offer = ToolOffer((ToolDefinition("find", "", json.dumps(schema)),))
        return told_offer([], offer)[0].content

    texts = {"enum": [str(n) for n in range(5000)], "type": "string"}
    assert '"properties": {"a": {"type": "string"}}' in shown(
        {"type": "object", "properties": {"a": texts}}
    )
    many = {f"name_{n}": {"type": "string"} for n in range(300)}
    assert '"parameters": {"type": "object"}' in shown({"type": "object", "properties": many})
