"""KokoroSpeaker: fifty-four voices, mixes of them, and emotion; 24 kHz, about 0.7 s of work per
second of speech on one core.

Model: Kokoro-82M (Apache-2.0), https://huggingface.co/hexgrad/Kokoro-82M, fp32 on onnxruntime.
Its inputs are phonemes (``phonemes``) and a row of a style (``voices``).

Rules
- One clause is one run, on the engine's own thread; a run takes at most ``MAX_TOKENS`` tokens.
  Each clause is yielded, trimmed, as soon as it is spoken; closing the stream stops the work at
  the next clause.
- The voice decides who speaks, the language how the text is read: any voice speaks any language
  that the phonemizer knows.
- ``emotion`` and the recipe of a cloned voice are bound to a speaker beforehand: ``bound``.
"""

import json
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.engines.base import EngineFailed, base_language
from pipelines.engines.engine import Engine, EngineSettings, Role
from pipelines.engines.executor import EngineExecutor
from pipelines.engines.reading.clauses import clauses
from pipelines.engines.speech.read_aloud import (
    Manner,
    gain_of,
    gain_of_mix,
    own_voice,
    pause_after,
    read_aloud,
    speakable,
    trimmed,
)
from pipelines.weights.manifest import MODELS

from .phonemes import ENGLISH, Phonemizer
from .voices import (
    KOKORO,
    VOICES,
    Emotions,
    Floats,
    Style,
    Styles,
    default_voice,
    quality,
    voices_for,
)

SAMPLE_RATE = 24_000
MAX_TOKENS = 510
"""What the model takes at once, not counting the start and end marks."""

THREADS = 1
LOAD_DEADLINE = 120.0
CLAUSE_DEADLINE = 180.0
"""Seconds for one clause, including its time in the queue: a long one takes 10 s of one core."""

HEADROOM = np.float32(0.5)
"""The model's loudest voices peak beyond full scale; ``read_aloud`` gives the loudness back."""

WARM_TEXT = "Yes."


class OnnxNetwork:
    """The model's file on onnxruntime; loading takes a second and 400 MB, long clauses 400 more."""

    def __init__(self, path: Path, threads: int = THREADS) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.enable_mem_pattern = False  # or a plan for each text length is kept for ever
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session: Any = onnxruntime.InferenceSession(
            str(path), sess_options=options, providers=["CPUExecutionProvider"]
        )

    def wave(self, tokens: list[int], style: Floats, speed: float) -> Floats:
        """Samples (-1..1 at SAMPLE_RATE) of at most MAX_TOKENS tokens; ``style`` is [1, 256]."""
        inputs = {
            "input_ids": np.array([[0, *tokens, 0]], np.int64),
            "style": style,
            "speed": np.array([speed], np.float32),
        }
        wave: Floats = self._session.run(None, inputs)[0][0]
        return wave


class KokoroSpeaker:
    """A Speaker of every language that ``phonemizer`` knows; see ``load``."""

    sample_rate = SAMPLE_RATE
    voices: tuple[str, ...] = ("default", *VOICES)

    def __init__(
        self,
        network: OnnxNetwork,
        vocabulary: Mapping[str, int],
        styles: Styles,
        phonemizer: Phonemizer,
        *,
        model_id: str = KOKORO,
        queue_limit: int = 32,
    ) -> None:
        """``vocabulary``: phoneme to token."""
        self.model_id = model_id
        self.phonemizer = phonemizer
        self._network = network
        self._vocabulary = vocabulary
        self._styles = styles
        self._emotions = Emotions(styles)
        self._executor = EngineExecutor(model_id, 1, queue_limit, role=Role.SPEECH)

    @classmethod
    async def load(
        cls,
        folder: Path,
        phonemizer: Phonemizer | None = None,
        *,
        threads: int = THREADS,
        queue_limit: int = 32,
    ) -> "KokoroSpeaker":
        """From ``kokoro-v1.0.onnx``, ``tokenizer.json`` and ``voices/`` in ``folder``, warm.

        Raises EngineFailed, EngineTimeout."""
        loader = EngineExecutor(f"{KOKORO} loader", 1, 0)
        try:
            network, vocabulary = await loader.run(_open, folder, threads, deadline=LOAD_DEADLINE)
        finally:
            await loader.close()
        known = Phonemizer.found() if phonemizer is None else phonemizer
        styles = Styles(folder / "voices")
        speaker = cls(network, vocabulary, styles, known, queue_limit=queue_limit)
        try:
            await speaker.warm()
        except EngineFailed:
            await speaker.close()
            raise
        return speaker

    async def warm(self) -> None:
        """Speak once, so that the first call is as fast as the tenth."""
        async with aclosing(self.speak(WARM_TEXT)) as audio:
            async for _ in audio:
                pass

    def bound(
        self,
        voice: str = "default",
        *,
        recipe: Mapping[str, Any] | None = None,
        emotion: int | None = None,
        language: str = "en",
    ) -> "BoundKokoro":
        """A Speaker with one voice: ``voice`` (``default``: that of ``language``), or the mix of
        a ``recipe`` ({"engine": "kokoro", "styles": {voice: weight}}), with ``emotion`` 0..100.

        Raises EngineFailed for an unknown voice or an invalid recipe. Styles are read from disk
        when it first speaks."""
        if recipe is not None:
            weights = recipe_styles(recipe)
            gain = gain_of_mix(KOKORO, weights)
            return BoundKokoro(self, lambda: self._moved(self._styles.mix(weights), emotion), gain)
        name = self._named(voice, language)
        gain = gain_of(KOKORO, name)
        return BoundKokoro(self, lambda: self._moved(self._styles.voice(name), emotion), gain)

    async def speak(
        self, text: str, *, voice: str = "default", speed: float = 1.0, language: str = "en"
    ) -> AsyncGenerator[bytes, None]:
        """Yield one PCM16 chunk per clause. Raises EngineBusy, EngineTimeout, EngineFailed (also
        for a voice that is not in ``voices``, or a language that is not spoken)."""
        bound = self.bound(voice, language=language)
        async with aclosing(bound.speak(text, speed=speed, language=language)) as audio:
            async for pcm in audio:
                yield pcm

    def speak_in(
        self, text: str, style: Callable[[], Style], speed: float, language: str
    ) -> AsyncGenerator[bytes, None]:
        """The clauses of ``text`` as the model speaks them; ``style`` is called on the engine's
        thread and returns the style to speak in."""
        reason = self.phonemizer.reason(language)
        if reason is not None:
            raise EngineFailed(f"{self.model_id} does not speak {language!r}: {reason}")
        return self._executor.iterate(
            lambda: self._clauses(text, style(), speed, language), deadline=CLAUSE_DEADLINE, limit=4
        )

    async def close(self) -> None:
        """Free the thread."""
        await self._executor.close()

    def _named(self, voice: str, language: str) -> str:
        voice = own_voice(voice)
        if voice == "default":
            return default_voice(language)
        if voice not in VOICES:
            raise EngineFailed(f"{self.model_id} has no voice {voice!r}")
        return voice

    def _moved(self, style: Style, emotion: int | None) -> Style:
        return style if emotion is None else self._emotions.applied(style, emotion)

    def _clauses(self, text: str, style: Style, speed: float, language: str) -> Iterator[bytes]:
        """The audio of each clause; runs on the thread."""
        tag = (
            style.language
            if language.lower() == ENGLISH == base_language(style.language)
            else language
        )
        for clause in filter(speakable, clauses(text)):
            phonemes = self.phonemizer.phonemes(clause, tag)
            for run in runs(phonemes, self._vocabulary):
                wave = self._network.wave(run, style.table[len(run) - 1 : len(run)], speed)
                samples = (np.clip(wave * HEADROOM, -1.0, 1.0) * 32767.0).astype("<i2")
                pcm = trimmed(samples, SAMPLE_RATE, pause_after(clause)).tobytes()
                if pcm:
                    yield pcm


class BoundKokoro:
    """A KokoroSpeaker with one voice; see ``KokoroSpeaker.bound``."""

    sample_rate = SAMPLE_RATE
    voices: tuple[str, ...] = ("default",)

    def __init__(
        self, speaker: KokoroSpeaker, make: Callable[[], Style], gain_db: float = 0.0
    ) -> None:
        """``make`` reads and mixes the style; it is called once, on the engine's thread.
        ``gain_db``: see ``read_aloud.gain_of``."""
        self.model_id = speaker.model_id
        self._speaker = speaker
        self._make = make
        self._gain_db = gain_db
        self._style: Style | None = None

    async def speak(
        self, text: str, *, voice: str = "default", speed: float = 1.0, language: str = "en"
    ) -> AsyncGenerator[bytes, None]:
        """As KokoroSpeaker.speak; it has no other ``voice`` than its own."""
        if own_voice(voice) != "default":
            raise EngineFailed(f"{self.model_id}: bound to one voice, cannot speak as {voice!r}")
        manner = Manner(language, SAMPLE_RATE, speed, self._gain_db)

        def say(piece: str, own: float) -> AsyncGenerator[bytes, None]:
            return self.raw(piece, own, language)

        async with aclosing(read_aloud(text, manner, say)) as audio:
            async for pcm in audio:
                yield pcm

    def raw(
        self, text: str, speed: float = 1.0, language: str = "en"
    ) -> AsyncGenerator[bytes, None]:
        """See ``KokoroSpeaker.speak_in``."""
        return self._speaker.speak_in(text, self._made, speed, language)

    def _made(self) -> Style:
        if self._style is None:
            self._style = self._make()
        return self._style


def recipe_styles(recipe: Mapping[str, Any]) -> dict[str, float]:
    """Voices and weights of a recipe; raises EngineFailed if it belongs to another engine."""
    styles = recipe.get("styles")
    if recipe.get("engine") != KOKORO or not isinstance(styles, Mapping):
        raise EngineFailed(f"the voice was made for an engine other than {KOKORO}")
    return {str(voice): float(weight) for voice, weight in styles.items()}


def runs(phonemes: str, vocabulary: Mapping[str, int]) -> Iterator[list[int]]:
    """Tokens of ``phonemes`` in runs that the model takes, cut between words; phonemes outside
    the vocabulary are dropped."""
    known = "".join(phoneme for phoneme in phonemes if phoneme in vocabulary)
    while known:
        cut = len(known)
        if cut > MAX_TOKENS:
            blank = known.rfind(" ", 1, MAX_TOKENS)
            cut = blank + 1 if blank > 0 else MAX_TOKENS
        piece, known = known[:cut].strip(), known[cut:]
        if piece:
            yield [vocabulary[phoneme] for phoneme in piece]


def _open(folder: Path, threads: int) -> tuple[OnnxNetwork, dict[str, int]]:
    try:
        tokenizer = json.loads((folder / "tokenizer.json").read_text())
        vocabulary: dict[str, int] = tokenizer["model"]["vocab"]
        return OnnxNetwork(folder / "kokoro-v1.0.onnx", threads), vocabulary
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EngineFailed(
            f"{KOKORO}: its files cannot be read ({type(error).__name__})"
        ) from error


_PHONEMIZER = Phonemizer.found()


async def _load(settings: EngineSettings) -> KokoroSpeaker:
    return await KokoroSpeaker.load(settings.models_dir / KOKORO, _PHONEMIZER)


ENGINE = Engine(
    role=Role.SPEECH,
    id=KOKORO,
    weights=(MODELS[KOKORO],),
    languages=_PHONEMIZER.languages,
    on_demand=True,
    voices=voices_for(_PHONEMIZER.languages),
    expressive=True,
    quality=quality,
    unspoken=_PHONEMIZER.reason,
    load=_load,
)
