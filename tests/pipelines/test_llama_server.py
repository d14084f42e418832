import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.engines.base import ChatDelta, ChatMessage, EngineFailed
from pipelines.engines.llama_server import (
    HISTORY_BLOCK,
    ChunkReader,
    ContextExceeded,
    LlamaSettings,
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
    json.dumps(body)


def test_text_then_finish_then_usage() -> None:
    reader = ChunkReader()
    assert reader.read({"choices": [{"delta": {}}], "prompt_progress": {"processed": 1}}) is None
    assert reader.read(chunk("Hi")) == ChatDelta("Hi")
    assert reader.read(chunk(None, "length")) is None
    assert not reader.finished
    usage = {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}}
    assert reader.read(usage) == ChatDelta("", "length", 5, 2)
    assert reader.finished


def test_errors_are_told_apart() -> None:
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
    assert len(messages) - 1 >= len(shorter) >= len(messages) - blocks * HISTORY_BLOCK
    lead = next((n for n, role in enumerate(roles) if role != "system"), len(roles))
    assert shorter[: min(lead, len(roles) - 1)] == messages[: min(lead, len(roles) - 1)]


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
