"""How an embedded chat model uses tools: calls that leak into speech, forced calls that it makes.

    python -m bench.tool_calls [--model qwen2.5-0.5b] [--rounds 5] [--forced 20]

Ten prompts, each with four sets of tools, several times. A leak is any text with tool-call markup,
or one that names a tool with brackets. A call is valid if a tool has its name and the arguments fit
the tool's schema. Then calls forced by ``required`` and by name, also for prompts that need none.
"""

import argparse
import asyncio
import itertools
import json
import os
import re
import time
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

from bench.figures import machine
from pipelines.engines.base import ChatMessage, EngineError, ToolDefinition, ToolOffer
from pipelines.engines.chat.choice import CHAT_MODELS
from pipelines.engines.chat.json_schemas import arguments_schema, fits
from pipelines.engines.chat.llama import LlamaChat, llama
from pipelines.engines.engine import EngineSettings

SYSTEM = "You are a helpful assistant on a phone call. Answer in one or two short spoken sentences."
PROMPTS = (
    "What is the weather in Paris?",
    "Book a table for four at seven tonight.",
    "Hello, how are you?",
    "What is the capital of France?",
    "Thank you very much, goodbye!",
    "What is the weather in Rome and in Oslo?",
    "Where is my order with the number A 4711?",
    "Can you connect me to somebody from sales?",
    "Tell me a short joke.",
    "Send a message to Anna: I will be ten minutes late.",
)
LEAK = re.compile(r'[{}<>]|"name"|arguments"|\[TOOL|```|\w+_\w+\s*[({:]')


def _tool(name: str, description: str, **properties: object) -> ToolDefinition:
    schema = {"type": "object", "properties": properties, "required": sorted(properties)}
    return ToolDefinition(name, description, json.dumps(schema if properties else {}))


TEXT: dict[str, str] = {"type": "string"}
WEATHER = _tool("get_weather", "Current weather of a city", city=TEXT)
BOOK = _tool(
    "book_table",
    "Books a table in the restaurant",
    persons={"type": "integer", "minimum": 1, "maximum": 12},
    time=TEXT,
)
ORDER = _tool("track_order", "Where an order is", number={"type": "string", "maxLength": 20})
CONNECT = _tool(
    "transfer_call",
    "Connects the caller to a department",
    department={"type": "string", "enum": ["sales", "support", "billing"]},
)
MESSAGE = _tool(
    "send_message",
    "Sends a text message",
    to={
        "type": "object",
        "properties": {"name": TEXT, "urgent": {"type": "boolean"}},
        "required": ["name"],
    },
    text=TEXT,
)
HANG_UP = _tool("hang_up", "Ends the call")
SETS = {
    "one": (WEATHER,),
    "restaurant": (BOOK, HANG_UP),
    "service": (ORDER, CONNECT, HANG_UP),
    "all": (WEATHER, BOOK, ORDER, CONNECT, MESSAGE, HANG_UP),
}


@dataclass
class Figures:
    """The results of all answers of one kind."""

    turns: int = 0
    leaks: list[str] = field(default_factory=list)
    called: int = 0
    valid: int = 0
    obeyed: int = 0
    empty: int = 0
    failed: int = 0
    tokens: int = 0
    seconds: float = 0.0

    def row(self, name: str) -> str:
        """A line of the table."""
        speed = self.tokens / self.seconds if self.seconds else 0.0
        return (
            f"| {name} | {self.turns} | {len(self.leaks)} | {self.called} | {self.valid} |"
            f" {self.obeyed} | {self.empty} | {self.failed} | {speed:.1f} |"
        )


async def answer(chat: LlamaChat, prompt: str, offer: ToolOffer, figures: Figures) -> None:
    """Ask once and record the result."""
    messages = (ChatMessage("system", SYSTEM), ChatMessage("user", prompt))
    text, calls, tokens = "", [], 0
    first: float | None = None
    figures.turns += 1
    begun = time.perf_counter()
    try:
        async with aclosing(chat.stream(messages, max_tokens=120, offer=offer)) as deltas:
            async for delta in deltas:
                first = first or time.perf_counter()
                text, calls = text + delta.text, [*calls, *delta.calls]
                tokens = delta.completion_tokens or tokens
    except EngineError as error:
        figures.failed += 1
        print(f"failed: {prompt!r}: {error}", flush=True)
        return
    figures.tokens += tokens
    figures.seconds += time.perf_counter() - begun
    if LEAK.search(text):
        figures.leaks.append(text)
        print(f"leak: {text!r}", flush=True)
    schemas = {tool.name: arguments_schema(tool.parameters) for tool in offer.tools}
    for call in calls:
        figures.called += 1
        known = schemas.get(call.name)
        figures.valid += known is not None and fits(json.loads(call.arguments), known)
    wanted = {offer.choice} if offer.choice in schemas else set(schemas)
    figures.obeyed += bool(calls) and not text and all(call.name in wanted for call in calls)
    figures.empty += not text.strip() and not calls


async def measure(model: str, rounds: int, forced: int, models_dir: Path) -> None:
    """Print a table for ``model``."""
    chat = await LlamaChat.load(model, llama(EngineSettings(models_dir), model))
    free, compelled = Figures(), {"required": Figures(), "a named tool": Figures()}
    try:
        for tools in SETS.values():
            for prompt in PROMPTS * rounds:
                await answer(chat, prompt, ToolOffer(tools), free)
        pairs = itertools.islice(itertools.cycle(itertools.product(SETS.values(), PROMPTS)), forced)
        for tools, prompt in pairs:
            await answer(chat, prompt, ToolOffer(tools, "required"), compelled["required"])
            named = ToolOffer(tools, tools[-1].name)
            await answer(chat, prompt, named, compelled["a named tool"])
    finally:
        await chat.close()
    print(f"\n{model} on {machine()}\n")
    print("| choice | turns | leaks | calls | valid | only calls | empty | failed | tokens/s |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, figures in {"auto": free, **compelled}.items():
        print(figures.row(name))


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", choices=CHAT_MODELS, default=CHAT_MODELS[-1])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--forced", type=int, default=20)
    parser.add_argument("--models-dir", type=Path, default=os.environ.get("BLAB_MODELS_DIR"))
    asked = parser.parse_args()
    models = Path(asked.models_dir or ".blab/models")
    asyncio.run(measure(asked.model, asked.rounds, asked.forced, models))


if __name__ == "__main__":
    main()
