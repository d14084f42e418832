import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.engines.base import (
    AnswerFormat,
    ChatDelta,
    ChatMessage,
    ChatToolCall,
    EngineFailed,
    ToolDefinition,
    ToolOffer,
)
from pipelines.engines.chat.llama_server import (
    HISTORY_BLOCK,
    ChunkReader,
    ContextExceeded,
    LlamaSettings,
    offer_behind,
    open_server,
    request_of,
    shortened,
)


def chunk(text: str | None = None, finish: str | None = None) -> dict[str, Any]:
    return {"choices": [{"delta": {"content": text}, "finish_reason": finish}]}


def test_a_request_is_streamed_with_usage_and_without_markdown() -> None:
    body = request_of([ChatMessage("user", "hi")], max_tokens=7, temperature=0.1)
    assert body["messages"] == [{"role": "user", "content": "hi"}]
    assert body["stream"] is True
    assert body["max_tokens"] == 7
    assert ["**", False] in body["logit_bias"]
    assert body["repeat_penalty"] > 1
    json.dumps(body)


def test_no_repetition_penalty_at_temperature_0_or_with_tools() -> None:
    asked = [ChatMessage("user", "repeat this")]
    offer = ToolOffer((ToolDefinition("find"),))
    assert request_of(asked, max_tokens=7, temperature=0.0)["repeat_penalty"] == 1
    body = request_of(asked, max_tokens=7, temperature=0.4, offer=offer)
    assert body["repeat_penalty"] == 1


def test_a_fact_follows_its_question() -> None:
    asked = [ChatMessage("system", "Be brief."), ChatMessage("user", "What is 2 plus 3?")]
    plain = request_of(asked, max_tokens=7, temperature=0.4)
    asked[1] = ChatMessage("user", "What is 2 plus 3?", fact="2 + 3 = 5.")
    body = request_of(asked, max_tokens=7, temperature=0.4)
    assert body["messages"] == [
        plain["messages"][0],
        {"role": "user", "content": "What is 2 plus 3?\n(Fact: 2 + 3 = 5.)"},
    ]
    assert body["repeat_penalty"] == 1, "it is to be repeated"


def test_text_then_finish_then_usage() -> None:
    reader = ChunkReader()
    assert reader.read({"choices": [{"delta": {}}], "prompt_progress": {"processed": 1}}) is None
    assert reader.read(chunk("Hi")) == ChatDelta("Hi")
    assert reader.read(chunk(None, "length")) is None
    assert not reader.finished
    usage = {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}}
    assert reader.read(usage) == ChatDelta("", "length", 5, 2)
    assert reader.finished


def test_errors_are_distinguished() -> None:
    with pytest.raises(ContextExceeded):
        ChunkReader().read({"error": {"code": 400, "type": "exceed_context_size_error"}})
    with pytest.raises(EngineFailed, match="out of memory"):
        ChunkReader().read({"code": 500, "message": "out of memory"})
    with pytest.raises(EngineFailed, match="no reason given"):
        ChunkReader().read({"error": {}})


ROLES = st.sampled_from(["system", "user", "assistant"])


@given(roles=st.lists(ROLES, min_size=1, max_size=40), blocks=st.integers(1, 8))
def test_shortening_keeps_instructions_and_the_last_message(roles: list[Any], blocks: int) -> None:
    messages = [ChatMessage(role, str(n)) for n, role in enumerate(roles)]
    shorter = shortened(messages, blocks)
    if shorter is None:
        return
    assert shorter[-1] == messages[-1]
    lead = next((n for n, role in enumerate(roles) if role != "system"), len(roles))
    lead = min(lead, len(roles) - 1)
    assert shorter[:lead] == messages[:lead]
    dropped = messages[lead : lead + len(messages) - len(shorter)]
    assert [*messages[:lead], *dropped, *shorter[lead:]] == messages
    assert dropped
    # Beyond its blocks it drops only what stands before the next message of the user's.
    beyond = dropped[blocks * HISTORY_BLOCK :]
    assert not beyond or shorter[lead].role == "user"
    assert "user" not in [message.role for message in beyond]


def test_an_output_stays_with_its_tool_use() -> None:
    call = ChatMessage("assistant", "", (ChatToolCall("c", "find", "{}"),))
    history = [ChatMessage("user", str(n)) for n in range(7)]
    messages = [*history, call, ChatMessage("tool", "found", call_id="c")]
    assert shortened(messages, 1) == messages[7:]


FIND = ToolDefinition("find", "Finds.", '{"type": "object"}')
CALLED = ChatMessage("assistant", "", (ChatToolCall("c", "find", "{}"),))
FOUND = ChatMessage("tool", "found", call_id="c")


def test_tools_are_offered_in_the_prompt_and_under_a_grammar() -> None:
    asked = [ChatMessage("system", "Be brief."), ChatMessage("user", "find it")]
    body = request_of(asked, max_tokens=8, temperature=0.0, offer=ToolOffer((FIND,), "find"))
    assert "tools" not in body
    assert "start: calls" in body["grammar"]
    assert "logit_bias" not in body
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert body["messages"][0]["content"].startswith("Be brief.\n\n# Tools")
    assert '"name": "find"' in body["messages"][0]["content"]
    json.dumps(body)


def test_a_format_needs_a_grammar_and_no_words() -> None:
    asked = [ChatMessage("user", "a colour")]
    body = request_of(asked, max_tokens=8, temperature=0.4, answer_format=AnswerFormat())
    assert "%json" in body["grammar"]
    assert (body["repeat_penalty"], "logit_bias" in body) == (1.0, False)
    assert body["messages"] == [{"role": "user", "content": "a colour"}]


def test_the_offer_after_an_output_depends_on_the_model() -> None:
    offer = ToolOffer((FIND,), "required")
    asked = [ChatMessage("user", "find it")]
    answered = [*asked, CALLED, FOUND]
    assert offer_behind(asked, offer) == ToolOffer((FIND,), "required", parallel=False)
    assert offer_behind(asked, offer, steps=True) == offer
    assert offer_behind(answered, offer) is None
    assert offer_behind(answered, offer, steps=True) == ToolOffer((FIND,), "auto")
    assert offer_behind(asked, ToolOffer((FIND,), "none")) is None
    assert offer_behind(asked, None) is None
    assert "start: PROSE\n" in request_of(answered, max_tokens=8, temperature=0.4)["grammar"]
    none = ToolOffer((FIND,), "none")
    assert "PROSE" in request_of(asked, max_tokens=8, temperature=0.4, offer=none)["grammar"]
    in_words = request_of(answered, max_tokens=8, temperature=0.0)
    assert [message["role"] for message in in_words["messages"]] == ["user", "user"]
    in_tags = request_of(answered, max_tokens=8, temperature=0.0, steps=True)
    assert [message["role"] for message in in_tags["messages"]] == ["user", "assistant", "user"]


def test_shortening_ends() -> None:
    messages = [ChatMessage("system", "s"), *[ChatMessage("user", str(n)) for n in range(10)]]
    assert [m.content for m in shortened(messages, 1) or []] == ["s", "8", "9"]
    assert [m.content for m in shortened(messages, 2) or []] == ["s", "9"]
    assert shortened(messages, 3) is None
    assert shortened(messages[:2], 1) is None


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineFailed, match=r"cannot read the model file none\.gguf"):
        open_server(LlamaSettings(tmp_path / "none.gguf"))
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF but not really")
    with pytest.raises(EngineFailed, match=r"cannot load broken\.gguf"):
        open_server(LlamaSettings(broken))
