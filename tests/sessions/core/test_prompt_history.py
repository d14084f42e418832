"""What the chat model reads of a conversation."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sessions.core.items import Item, Message, PromptLine, ToolUse, ToolUseState, Transcript
from sessions.core.prompt import (
    BRIDGE,
    CALL_BEGINS,
    CALL_BEGINS_IN,
    MAXIMUM_CHARACTERS,
    MAXIMUM_MESSAGES,
    NOTHING_SAID,
    PENDING,
    UNAPPROVED,
    Prompts,
)
from sessions.languages.packs import PACKS
from tests.support.examples import examples
from tests.support.sessions.model_shell import check_template


def prompts_of(*items: Item) -> Prompts:
    transcript = Transcript()
    for item in items:
        transcript.add(item)
    return Prompts(transcript)


def user(number: int, text: str = "And then?") -> Item:
    return Item(f"u{number}", "user", text)


def agent(number: int, text: str = "Then that.", heard: str | None = None) -> Item:
    return Item(f"a{number}", "assistant", text, heard=heard)


def tool_call(name: str, reply: int = 1, state: ToolUseState = ToolUseState.MADE) -> Item:
    made = ToolUse(f"call_{name}", name, "{}", reply=reply)
    return Item(f"i_{name}_{state}", "assistant", "", tool_use=made, state=state)


def output(name: str, text: str = "sunny") -> Item:
    return Item(f"o_{name}", "user", "", output=(f"call_{name}", text))


def roles(messages: tuple[Message, ...]) -> list[str]:
    return [message.role for message in messages]


# ---------------------------------------------------------------------------- roles


def test_neighbours_of_one_role_are_joined() -> None:
    unheard = agent(1, heard="")
    prompts = prompts_of(user(1, "Are you open"), unheard, user(2, "on Sunday?"))
    assert prompts.messages("") == (Message("user", "Are you open\non Sunday?"),)


def test_the_agents_greeting_is_kept_behind_a_line_for_the_caller() -> None:
    prompts = prompts_of(agent(1, "Good morning."), user(1, "Hello."))
    assert prompts.messages("Be kind.") == (
        Message("system", "Be kind."),
        Message("user", CALL_BEGINS),
        Message("assistant", "Good morning."),
        Message("user", "Hello."),
    )


def test_a_caller_of_another_language_was_greeted_in_it() -> None:
    begins = Message("user", CALL_BEGINS_IN.format(language="German"))
    greeted = (begins, Message("assistant", PACKS["de"].greeting or ""))
    prompts = prompts_of(user(1, "Hallo?"), agent(1, "Ja?"), user(2, "Guten Tag."))
    said = prompts.messages("Be kind.")
    assert prompts.messages("Be kind.", language="de-AT") == (said[0], *greeted, *said[1:])
    assert prompts.messages("Be kind.", language="fi") == said
    first = prompts_of().beginning("Be kind.", [Message("user", "Hallo?")], language="de")
    assert first == (said[0], *greeted, Message("user", "Hallo?"))


def test_an_agent_that_speaks_first_greets_by_itself() -> None:
    begins = Message("user", CALL_BEGINS_IN.format(language="German"))
    assert prompts_of().messages("", language="de") == (begins,)
    prompts = prompts_of(agent(1, "Good morning."), user(1, "Hello."))
    assert prompts.messages("", language="de") == (begins, *prompts.messages("")[1:])


def test_a_language_without_a_greeting_is_named_before_the_callers_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    swedish = replace(PACKS["und"], tag="sv", name="Swedish")
    monkeypatch.setattr("sessions.languages.packs.PACKS", {**PACKS, "sv": swedish})
    prompts = prompts_of(user(1, "Hej!"), agent(1, "Hej."), user(2, "Hur?"))
    first, *rest = prompts.messages("", language="sv")
    assert first == Message("user", "(The call begins. The caller speaks Swedish.)\nHej!")
    assert rest == list(prompts.messages("")[1:])


def test_a_prompt_ends_with_the_caller_even_when_the_caller_is_silent() -> None:
    assert prompts_of().messages("Greet.") == (
        Message("system", "Greet."),
        Message("user", CALL_BEGINS),
    )
    prompts = prompts_of(user(1), agent(1))
    assert prompts.messages("")[-1] == Message("user", NOTHING_SAID)
    assert prompts.beginning("")[-1] == Message("assistant", "Then that.")


def test_early_instructions_join_the_system_prompt_and_later_ones_are_lines() -> None:
    prompts = prompts_of(
        Item("s", "system", "The caller is Ann."), user(1), Item("t", "system", "It rains.")
    )
    assert prompts.messages("Be kind.") == (
        Message("system", "Be kind.\n\nThe caller is Ann."),
        Message("user", "And then?\n(Instruction: It rains.)"),
    )


def test_a_prompt_of_the_clients_own_fits_a_strict_template_too() -> None:
    lines = (PromptLine("assistant", "Hi."), PromptLine("assistant", "Yes?"), PromptLine("user"))
    check_template(prompts_of().custom("Sum up.", lines))
    check_template(prompts_of().custom("", ()))


def test_history_holds_what_was_heard() -> None:
    prompts = prompts_of(user(1), agent(1, "Hello there.", heard="Hello"))
    assert prompts.messages("Be kind.", [Message("user", "more")]) == (
        Message("system", "Be kind."),
        Message("user", "And then?"),
        Message("assistant", "Hello"),
        Message("user", "more"),
    )


# ---------------------------------------------------------------------------- calls


def test_three_pending_tool_uses_and_one_output_fit_a_strict_template() -> None:
    names = ("hours", "weather", "prices")
    prompts = prompts_of(user(1), *map(tool_call, names), output("weather"))
    _, called, *outputs = prompts.messages("")
    assert [call.name for call in called.tool_uses] == list(names)
    assert [message.content for message in outputs] == [PENDING, "sunny", PENDING]


def test_a_late_output_goes_where_the_tool_use_was_and_is_announced() -> None:
    prompts = prompts_of(
        user(1), tool_call("weather"), user(2), agent(2, "It takes a while."), output("weather")
    )
    question, called, answer, bridge, more, told, news = prompts.messages("")
    assert (question.role, more.role, told.role) == ("user", "user", "assistant")
    assert called.tool_uses[0].name == "weather"
    assert answer == Message("tool", "sunny", tool_use_id="call_weather")
    assert bridge == Message("assistant", BRIDGE)
    assert news == Message("user", "(The result of weather has arrived.)")


def test_a_tool_use_that_waits_for_approval_is_shown_once() -> None:
    asked, made = tool_call("buy", state=ToolUseState.ASKED), tool_call("buy")
    assert prompts_of(user(1), asked).messages("")[-1].content == UNAPPROVED
    messages = prompts_of(user(1), asked, made).messages("")
    assert roles(messages) == ["user", "assistant", "tool"]


def test_tool_uses_of_two_replies_stay_apart() -> None:
    first, second = tool_call("weather", 1), tool_call("hours", 2)
    ours = prompts_of(user(1), first, output("weather"), second, output("hours"))
    messages = ours.messages("")
    assert roles(messages) == ["user", "assistant", "tool", "assistant", "tool"]
    old = tool_call("weather", 0), output("weather"), tool_call("hours", 0), output("hours")
    assert roles(prompts_of(user(1), *old).messages("")) == roles(messages)
    old = tool_call("weather", 0), tool_call("hours", 0), output("weather"), output("hours")
    assert roles(prompts_of(user(1), *old).messages("")) == ["user", "assistant", "tool", "tool"]


# ---------------------------------------------------------------------------- the cut


def test_a_long_call_is_cut_before_the_caller_and_the_beginning_stays_for_several_turns() -> None:
    transcript = Transcript()
    prompts = Prompts(transcript)
    beginnings: list[Message] = []
    for turn in range(60):
        transcript.add(user(turn, f"question {turn}"))
        messages = prompts.messages("Be brief.")
        check_template(messages)
        assert len(messages) <= 1 + MAXIMUM_MESSAGES
        beginnings.append(messages[1])
        transcript.add(agent(turn, f"answer {turn}"))
    changes = sum(a != b for a, b in pairwise(beginnings))
    assert changes <= 60 // 4


def test_a_turn_longer_than_the_bounds_keeps_its_question_and_its_newest_answers() -> None:
    calls = [item for n in range(40) for item in (tool_call(f"t{n}", n + 1), output(f"t{n}"))]
    messages = prompts_of(user(1), agent(1), user(2, "Find it."), *calls).messages("")
    assert messages[0] == Message("user", "Find it.")
    assert messages[-1].tool_use_id == "call_t39"
    assert len(messages) <= MAXIMUM_MESSAGES


def test_a_single_long_message_stays_whole() -> None:
    prompts = prompts_of(*map(user, range(30)), user(30, "z" * 9_000))
    assert [len(message.content) for message in prompts.messages("")] == [9_000]


def test_a_deleted_beginning_is_left_out() -> None:
    transcript = Transcript()
    prompts = Prompts(transcript)
    for turn in range(20):
        transcript.add(user(turn))
        transcript.add(agent(turn))
        prompts.messages("")
    transcript.delete(prompts.since)
    check_template(prompts.messages(""))


TEXTS = st.sampled_from(["", " ", "Hello.", "x" * 700])
NAMES = st.sampled_from("abcd")
ITEMS = st.one_of(
    st.builds(lambda text: Item("", "user", text), TEXTS),
    st.builds(lambda text, heard: Item("", "assistant", text, heard=heard), TEXTS, TEXTS),
    st.builds(lambda text: Item("", "system", text), TEXTS),
    st.builds(tool_call, NAMES, st.integers(0, 2), st.sampled_from(ToolUseState)),
    st.builds(output, NAMES),
)


@settings(max_examples=examples(150), deadline=None)
@given(st.lists(st.tuples(ITEMS, st.booleans()), max_size=80), st.sampled_from(["", "Be kind."]))
def test_every_conversation_fits_a_strict_template(
    items: list[tuple[Item, bool]], instructions: str
) -> None:
    transcript, said = Transcript(), set[Any]()
    prompts = Prompts(transcript)
    for number, (item, looked_at) in enumerate(items):
        if item.tool_use is not None and item.tool_use.tool_use_id in said:
            continue
        said.add(item.tool_use and item.tool_use.tool_use_id)
        transcript.add(item.named(str(number)))
        if looked_at:
            messages = prompts.messages(instructions, [Message("user", "More.")])
            check_template(messages)
            size = sum(len(m.content) for m in messages if m.role != "system")
            assert size <= MAXIMUM_CHARACTERS + 2_000
            assert len(messages) <= MAXIMUM_MESSAGES + 12
    check_template(prompts.messages(instructions))
