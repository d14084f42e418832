"""Does a chat model answer in the caller's language? ``python -m bench.reply_languages``.

The sentences of ``turns.toml`` are the first words of a call, with the prompt that a call has; the
language of the answer is the one of six that has most of its words in a short list. Each language
is a row: answers in the caller's language, answers in English (those are the lapses; Italian and
Spanish, for example, are also taken for each other), the time to the first token when the model has
read the prompt of an English call only, as when the language is found out, and the median of the
others.
"""

import argparse
import asyncio
import re
import statistics
import time
import tomllib
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

from gateway.engines import engine_settings
from gateway.settings import Settings
from pipelines.engines.chat.choice import CHAT_MODELS
from pipelines.engines.chat.llama import LlamaChat, llama
from sessions.core.config import SessionConfig
from sessions.core.items import Message, Transcript
from sessions.core.prompt import Prompts, composed
from sessions.speech.reply_task import chat_message
from store.tenants.agents import DEFAULT_PROMPT

LANGUAGES = ("de", "es", "fr", "it", "pt")
ENOUGH_WORDS = 12
"""Of an answer; the rest is not waited for."""
_COMMON = {
    "en": "the a an is are was to of and in i you your it for can please with that this have be at"
    " my me would how on not do will what we there here",
    "de": "der die das ist sind und in ich sie ihr ihre es für kann können bitte mit dass haben"
    " nicht ein eine einen zu auf den dem wie wir hier was mir ihnen im am werde",
    "es": "el la los las es son y en yo usted su sus para puede puedo por favor con que no un una"
    " de a al lo le se como nosotros aquí qué mi del está",
    "fr": "le la les est sont et en je vous votre vos il pour peut peux avec que ne pas un une de"
    " du des à au ce se comment nous ici quelle mon dans êtes ai suis",
    "it": "il lo la gli le è sono e in io lei suo sua per può posso con che non un una di del"
    " della a al si come noi qui quale mio nel ho",
    "pt": "o a os as é são e em eu você seu sua para pode posso por favor com que não um uma de"
    " do da ao se como nós aqui qual meu no na está",
}
COMMON = {tag: frozenset(words.split()) for tag, words in _COMMON.items()}


@dataclass
class Row:
    """What was measured of a language; times in seconds."""

    answers: int = 0
    right: int = 0
    english: int = 0
    waits: list[float] = field(default_factory=list)


def language_of(answer: str) -> str:
    """The language whose common words ``answer`` has most of; empty if it has none."""
    words = re.findall(r"[^\W\d_]+", answer.lower())
    counts = {tag: sum(word in common for word in words) for tag, common in COMMON.items()}
    best = max(counts, key=lambda tag: counts[tag])
    return best if counts[best] else ""


async def answer(chat: LlamaChat, prompt: tuple[Message, ...]) -> tuple[str, float]:
    """The beginning of an answer, and the time to its first token."""
    began, wait, text = time.perf_counter(), 0.0, ""
    async with aclosing(chat.stream([chat_message(one) for one in prompt], max_tokens=48)) as said:
        async for delta in said:
            wait = wait or time.perf_counter() - began
            text += delta.text
            if len(text.split()) > ENOUGH_WORDS:
                break
    return text.strip(), wait


def prompt_of(language: str, text: str) -> tuple[Message, ...]:
    """The prompt of a call with the default agent, whose first words are ``text``."""
    config = SessionConfig(language=language, instructions=DEFAULT_PROMPT)
    said = (Message("user", text),)
    return Prompts(Transcript()).messages(composed(config), said, language=language)


async def measure(options: argparse.Namespace) -> dict[str, Row]:
    settings = engine_settings(Settings.read({"BLAB_CHAT_MODEL": options.model}))
    chat = await LlamaChat.load(options.model, llama(settings, options.model))
    texts = tomllib.loads((Path(__file__).parent / "turns.toml").read_text())
    rows = {tag: Row() for tag in options.language or LANGUAGES}
    try:
        for tag, row in rows.items():
            await answer(chat, prompt_of("en", texts["en"][0]))
            for text in texts[tag][: options.turns]:
                made, wait = await answer(chat, prompt_of(tag, text))
                found = language_of(made)
                row.answers += 1
                row.right += found == tag
                row.english += found == "en"
                row.waits.append(wait)
                if options.misses and found != tag:
                    print(f"  {tag} {found or '–'}: {text!r} -> {made!r}")
    finally:
        await chat.close()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=CHAT_MODELS, default=CHAT_MODELS[-1])
    parser.add_argument("--language", action="append", choices=LANGUAGES)
    parser.add_argument("--turns", type=int, default=24, help="of each language")
    parser.add_argument("--misses", action="store_true", help="show answers in another language")
    rows = asyncio.run(measure(parser.parse_args()))
    print("| language | answers | in it | in English | first token, first time, s | p50 s |")
    print("|---|---|---|---|---|---|")
    for tag, row in rows.items():
        first, *others = row.waits
        wait = statistics.median(others or row.waits)
        print(f"| {tag} | {row.answers} | {row.right} | {row.english} | {first:.2f} | {wait:.2f} |")


if __name__ == "__main__":
    main()
