"""The in-process llama.cpp server: how it is opened, what a request says, what its chunks mean.

Facts (xllamacpp 2026.10, measured on 2 cores)
- The vendor's server always opens a listener. Here it is a unix socket in a private directory
  that is removed as soon as the model is loaded: no TCP port, and nobody can connect.
- The constructor holds the GIL while it loads (0.7-1.6 s for 0.5B once the file is in the page
  cache), so the file is read beforehand and models are loaded before calls are accepted.
- One thread by default. With as many threads as cores, OpenMP's barriers spin: with a single busy
  neighbour a short prompt took seconds. ``SPINS`` bounds that: two threads are then half as fast
  again as one on an idle machine with two cores, and a third slower next to a busy neighbour.
- ``n_batch`` is the grain of cancellation and of fairness between slots: at 16 tokens the prompt
  of another call delays a token by at most 0.3 s, at a cost of 15 % of prompt speed. A cancelled
  prompt keeps what it has evaluated, so a later request continues from there.
- Grammars are llguidance's. Tools are not given to the server: with them it accepts no grammar, and
  its own waits for a tag that a small model forgets. It also holds back a forced tool use until it
  is whole, longer than the limit for a token. So the offer is part of the prompt here, the grammar
  comes from ``llama_prompt``, and tool uses are read from the text (``tool_uses``).
- Prompts that lose their slot go to a bounded cache in memory and return in milliseconds.
"""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.engines.base import AnswerFormat, ChatDelta, ChatMessage, EngineFailed, ToolOffer

from .llama_prompt import answer_grammar, with_outputs, with_tools
from .messages import message_body

if TYPE_CHECKING:
    import xllamacpp

PAGE_BYTES = 1 << 22
STOPS = ("<|im_start|>", "<|endoftext|>", "\nUser:", "\nuser:", "\nCaller:")
"""Where a small model starts to speak for the caller."""

UNSPEAKABLE = ("*", "**", "***", "#", "##", "###", "`", "```", "|", "~~", "__")
"""Markdown, which has no sound; these tokens are never sampled."""

REPEAT_PENALTY = 1.1
"""Divides the likelihood of each of the last 64 tokens."""

SPINS = 1000
"""Turns that OpenMP's barriers spin before they sleep (GOMP_SPINCOUNT; the default is 300,000)."""


@dataclass(frozen=True, slots=True)
class LlamaSettings:
    """How a model is run. ``context`` is in tokens per slot, ``cache_mib`` in MiB."""

    path: Path
    threads: int = 1
    slots: int = 2
    context: int = 4096
    batch: int = 16
    cache_mib: int = 128
    queue_limit: int = 4
    first_token: float = 30.0
    """Seconds from the request to its first token, including its time in the queue."""
    next_token: float = 5.0
    """Seconds between two tokens."""
    steps: bool = False
    """Whether tools are offered after a tool's output too."""


class ContextExceeded(Exception):
    """The prompt has more tokens than a slot holds."""


def open_server(settings: LlamaSettings) -> "xllamacpp.Server":
    """Load the model; blocks for seconds. Raises EngineFailed when it cannot be loaded."""
    os.putenv("GOMP_SPINCOUNT", str(SPINS))  # read by libgomp when it is first loaded
    import xllamacpp

    _read_ahead(settings.path)
    with tempfile.TemporaryDirectory(prefix="blab-llama-") as private:
        params = xllamacpp.CommonParams()
        params.model.path = str(settings.path)
        params.hostnames = [str(Path(private) / "llama.sock")]
        params.n_threads_http = 1
        params.ui = params.endpoint_slots = params.fit_params = False
        params.offline = True
        params.verbosity = -1
        params.n_gpu_layers = 0
        params.n_parallel = settings.slots
        params.n_ctx = settings.slots * settings.context
        params.n_batch = params.n_ubatch = settings.batch
        params.cpuparams.n_threads = settings.threads
        params.cpuparams_batch.n_threads = settings.threads
        params.cache_ram_mib = settings.cache_mib
        try:
            server = xllamacpp.Server(params)
        except (RuntimeError, ValueError) as error:
            raise EngineFailed(
                f"llama.cpp cannot load {settings.path.name}: is the file whole? Verify the models"
            ) from error
    return server


def _read_ahead(path: Path) -> None:
    """Read the file into the page cache, without holding the GIL."""
    try:
        with path.open("rb", buffering=0) as file:
            buffer = bytearray(PAGE_BYTES)
            while file.readinto(buffer):
                pass
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else "unreadable"
        raise EngineFailed(f"cannot read the model file {path.name}: {reason}") from error


def request_of(
    messages: Sequence[ChatMessage],
    *,
    max_tokens: int,
    temperature: float,
    offer: ToolOffer | None = None,
    answer_format: AnswerFormat | None = None,
    steps: bool = False,
) -> dict[str, Any]:
    """The request body: streamed, with usage, sampled for speech.

    With tools or a format the answer is written under a grammar, which keeps markdown out of the
    prose itself: a format's texts may need it. Repetition is penalised, or a small model runs in
    circles (8 of 30 stories did, 1 of 30 with the penalty); but not in a conversation with tools,
    whose arguments and outputs must be repeated literally, nor at temperature 0, when a text is
    copied or translated, nor after a fact: 42 became "four2".

    ``return_progress`` makes the server call back after each batch of the prompt; there an answer
    can be cancelled before its first token."""
    informed = any(message.fact for message in messages)
    messages = [_with_fact(message) for message in messages]
    called = any(message.calls for message in messages)
    prose = called or (offer is not None and bool(offer.tools))
    offer = offer_behind(messages, offer, steps=steps)
    grammar = answer_grammar(offer, answer_format, prose=prose)
    talking = temperature > 0 and not grammar and not informed
    prompt = with_tools(with_outputs(messages, tagged=steps), offer)
    return {
        "messages": [message_body(message) for message in prompt],
        "stream": True,
        "stream_options": {"include_usage": True},
        "return_progress": True,
        "cache_prompt": True,
        "max_tokens": max_tokens,
        "temperature": temperature,
        "top_p": 0.9,
        "top_k": 40,
        "min_p": 0.05,
        "repeat_penalty": REPEAT_PENALTY if talking else 1.0,
        "stop": list(STOPS),
        **({"grammar": grammar} if grammar else {"logit_bias": [[t, False] for t in UNSPEAKABLE]}),
    }


def _with_fact(message: ChatMessage) -> ChatMessage:
    """The message followed by its fact: a prefill has evaluated the prompt up to there.

    Of four wordings the 0.5B model follows this one as often as any; "Answer with this fact" and
    "Say this in your answer" make it talk about the instruction instead."""
    if not message.fact:
        return message
    return replace(message, content=f"{message.content}\n(Fact: {message.fact})", fact="")


def offer_behind(
    messages: Sequence[ChatMessage], offer: ToolOffer | None, *, steps: bool = False
) -> ToolOffer | None:
    """The offer that the embedded model gets for ``offer``.

    ``steps``: whether the model can be trusted to use tools after an output, step by step (see
    ``with_outputs``), and several at once: forced to use one, the 0.5B model goes on to cities that
    nobody named. A choice that forces a tool use holds for the first step only, or it would never
    end."""
    if offer is None or not offer.tools or offer.choice == "none":
        return None
    if messages and messages[-1].role == "tool":
        return replace(offer, choice="auto") if steps else None
    return offer if steps else replace(offer, parallel=False)


class ChunkReader:
    """Turns the server's chunks into deltas; the token counts follow the finish reason."""

    def __init__(self) -> None:
        self.finish_reason: str | None = None
        self.finished = False

    def read(self, chunk: dict[str, Any]) -> ChatDelta | None:
        """The delta in ``chunk``, if any. Raises ContextExceeded or EngineFailed."""
        error = chunk.get("error", chunk if "code" in chunk else None)
        if error is not None:
            if error.get("type") == "exceed_context_size_error":
                raise ContextExceeded
            raise EngineFailed(f"the chat model failed: {error.get('message', 'no reason given')}")
        text = ""
        for choice in chunk.get("choices") or ():
            text += choice.get("delta", {}).get("content") or ""
            self.finish_reason = choice.get("finish_reason") or self.finish_reason
        usage = chunk.get("usage")
        if usage is not None and self.finish_reason is not None:
            self.finished = True
            prompt, completion = usage["prompt_tokens"], usage["completion_tokens"]
            cached = int((usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0)
            return ChatDelta(text, self.finish_reason, prompt, completion, cached_tokens=cached)
        return ChatDelta(text) if text else None


HISTORY_BLOCK = 8
"""Messages dropped at once: the rest stays the same prefix for the following turns."""


def shortened(messages: Sequence[ChatMessage], blocks: int) -> list[ChatMessage] | None:
    """``messages`` without the oldest ``blocks`` blocks; None if there is nothing to drop.

    Leading system messages and the last message always stay, and an output with its tool use. If
    possible the rest begins with the user: templates refuse it otherwise."""
    lead = 0
    while lead < len(messages) - 1 and messages[lead].role == "system":
        lead += 1
    droppable = len(messages) - 1 - lead
    if (blocks - 1) * HISTORY_BLOCK >= droppable:
        return None
    cut = lead + min(blocks * HISTORY_BLOCK, droppable)
    border = next((n for n in range(cut, len(messages)) if messages[n].role == "user"), None)
    if border is not None:
        return [*messages[:lead], *messages[border:]]
    while cut > lead and messages[cut].role == "tool":
        cut -= 1
    return [*messages[:lead], *messages[cut:]]
