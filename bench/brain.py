"""Ask both embedded chat models everyday questions, and judge each answer by a written key.

    python -m bench.brain [--models qwen2.5-0.5b qwen2.5-1.5b] [--show]

Questions have the prompt of a call: a call's own instructions first and, for a sum, the fact that
Blab adds. An answer passes if it matches every pattern of its key and no forbidden one, and if it
is fit to be spoken: no list, no markup, at most ``MOST_WORDS`` words. Temperature 0, so that a run
can be repeated.
"""

import argparse
import asyncio
import re
import time
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime

from gateway.engines import engine_settings
from gateway.settings import Settings
from pipelines.engines.base import ChatMessage
from pipelines.engines.chat.choice import CHAT_MODELS
from pipelines.engines.chat.llama import LlamaChat, llama
from pipelines.engines.chat.sums import informed
from sessions.core.config import SessionConfig
from sessions.core.prompt import composed

MOST_WORDS = 60
INSTRUCTIONS = composed(SessionConfig())
NOW = datetime(2026, 11, 25, 16, 37, tzinfo=UTC)
_WRITTEN = re.compile(r"[*#`|]|^\s*(?:[-•]|\d+[.)])\s", re.M)


@dataclass(frozen=True)
class Question:
    """``key``: patterns that the answer must match; ``never``: one that it must not match."""

    text: str
    key: tuple[str, ...]
    never: str = ""


def q(text: str, *key: str, never: str = "") -> Question:
    return Question(text, key, never)


QUESTIONS = (
    q("What is the capital of France?", "paris"),
    q("What is the capital of Australia?", "canberra"),
    q("How many days are there in a week?", r"seven|\b7\b"),
    q("How many hours are in two days?", r"forty[- ]eight|\b48\b"),
    q("What is seven times eight?", r"fifty[- ]six|\b56\b"),
    q("What is fifteen plus twenty seven?", r"forty[- ]two|\b42\b"),
    q("If a ticket costs twelve euros, what do three cost?", r"thirty[- ]six|\b36\b"),
    q("I pay with a fifty for something that costs thirty two. What do I get back?",
      r"eighteen|\b18\b"),
    q("What comes after Thursday?", "friday"),
    q("Which month comes before March?", "february"),
    q("What colour do you get when you mix blue and yellow?", "green"),
    q("Is the sun a star or a planet?", "star"),
    q("Who wrote Romeo and Juliet?", "shakespeare"),
    q("What do bees make?", "honey"),
    q("What is the opposite of cheap?", "expensive|dear|costly"),
    q("How do you say thank you in Spanish?", "gracias"),
    q("How do you say good morning in German?", "guten morgen"),
    q("How do you spell cat?", r"c[-\s,.]*a[-\s,.]*t"),
    q("What language do people speak in Brazil?", "portuguese"),
    q("At what temperature does water boil in Celsius?", r"hundred|\b100\b"),
    q("Which is heavier, a kilo of iron or a kilo of feathers?", "same|equal|both"),
    q("I have three apples and eat one. How many are left?", r"two|\b2\b"),
    q("What should I do if my internet is slow?", "router|restart|modem|provider|wi-?fi"),
    q("My phone does not charge. What can I try first?", "cable|charger|socket|outlet|port|plug"),
    q("Can you recommend a simple dinner?", "pasta|rice|chicken|salad|soup|egg|omelet|fish|vegeta"),
    q("How do I boil an egg?", "minute", "water"),
    q("What can I do when I cannot sleep?", "relax|breath|read|screen|music|routine|warm|quiet"),
    q("I feel sad today.", "sorry|talk|hear|here|feel", never="sad today too"),
    q("Hello, can you hear me?", "yes|hello|hi|hear"),
    q("Who are you?", "assistant", never="openai|alibaba|qwen|anthropic|human"),
    q("Are you a human?", r"\bno\b|not|assistant|ai\b|artificial", never="i am a human|i'm human"),
    q("Thank you, goodbye.", "bye|welcome|care|day"),
    q("Can you repeat that more slowly, please?", "sure|course|repeat|sorry|slow|yes"),
    q("My name is Anna. What is my name?", "anna"),
    q("I would like to book a table for four at eight. Which details did I give you?",
      r"four|\b4\b", r"eight|\b8\b"),
    q("Please answer with one word: is ice cold?", "yes"),
    q("Say only the word banana.", "banana"),
    q("Tell me a short joke.", r"\w+", never="as an ai"),
    q("What is the weather in Rome right now?", "not|cannot|can't|unable|don't",
      never=r"\d+ ?(degrees|°)"),
    q("Should I drink and drive?", r"\bno\b|not|never|don't"),
)  # fmt: skip


def passes(question: Question, answer: str) -> bool:
    """Whether the answer matches the key and is fit to be spoken."""
    said = answer.lower()
    return (
        all(re.search(pattern, said) for pattern in question.key)
        and not (question.never and re.search(question.never, said))
        and not _WRITTEN.search(answer)
        and 0 < len(answer.split()) <= MOST_WORDS
    )


async def ask(chat: LlamaChat, question: Question) -> tuple[str, float]:
    """The answer, and how many seconds it took."""
    asked = (ChatMessage("system", INSTRUCTIONS), ChatMessage("user", question.text))
    messages = informed(asked, NOW)
    began, answer = time.perf_counter(), ""
    async with aclosing(chat.stream(messages, max_tokens=160, temperature=0.0)) as deltas:
        async for delta in deltas:
            answer += delta.text
    return answer.strip(), time.perf_counter() - began


async def examine(model_id: str, *, show: bool) -> tuple[int, float]:
    """Questions passed, and the average seconds per answer."""
    settings = engine_settings(Settings.read({"BLAB_CHAT_MODEL": model_id}))
    chat = await LlamaChat.load(model_id, llama(settings, model_id))
    passed, seconds = 0, 0.0
    try:
        for question in QUESTIONS:
            answer, taken = await ask(chat, question)
            right = passes(question, answer)
            passed, seconds = passed + right, seconds + taken
            if show or not right:
                print(f"  {'pass' if right else 'FAIL'}  {question.text}\n        {answer!r}")
    finally:
        await chat.close()
    return passed, seconds / len(QUESTIONS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", choices=CHAT_MODELS, default=list(CHAT_MODELS))
    parser.add_argument("--show", action="store_true", help="also show the answers that pass")
    options = parser.parse_args()
    rows = []
    for model_id in options.models:
        print(f"{model_id}:")
        rows.append((model_id, *asyncio.run(examine(model_id, show=options.show))))
    print(f"\n| model | passed of {len(QUESTIONS)} | seconds per answer |\n|---|---|---|")
    for model_id, passed, seconds in rows:
        print(f"| {model_id} | {passed} | {seconds:.1f} |")


if __name__ == "__main__":
    main()
