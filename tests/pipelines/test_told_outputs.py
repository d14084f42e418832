from pipelines.engines.base import ChatMessage, ChatToolCall
from pipelines.engines.told_outputs import ANSWER, told_outputs


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
