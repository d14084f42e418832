"""VoiceMatcher: a voice that resembles a sample, mixed from existing voices.

It is a match, not a clone: the result is the mix of Kokoro's styles that the speaker encoder finds
most like the sample, and its similarity is reported. Measured on three recordings of two readers:
cosine to the sample 0.62, 0.69 and 0.70, where the default voice has 0.53, 0.56 and 0.45 and the
readers' other recordings have 0.75-0.93.

Rules
- The search is bounded by time and by trials. A trial is a short sentence, spoken with a mix and
  compared with the sample. A mix of styles sounds roughly like the same mix of the voices'
  embeddings: good enough to start a search, not to end it.
- The reported similarity is measured on another sentence than the search used. If the mix is no
  nearer than the default voice, the default voice is the result.
- The sentences are English whatever the language: the encoder hears voices, not words.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path

import numpy as np

from media.formats import HEARING_RATE, SAMPLE_BYTES
from media.resample import resample
from pipelines.engines.base import EngineFailed, base_language
from pipelines.engines.engine import Engine, EngineSettings, Role
from pipelines.engines.jobs import ShareDone, VoiceMatch, nobody_asks
from pipelines.engines.kokoro.engine import ENGINE as KOKORO_ENGINE
from pipelines.engines.kokoro.engine import KokoroSpeaker
from pipelines.engines.kokoro.voices import (
    KOKORO,
    VoiceTable,
    default_voice,
    measured_voices,
    voice_language,
)
from pipelines.weights.manifest import MODELS

from .speaker_encoder import (
    Floats,
    SpeakerEncoder,
    UnreadableCheckpoint,
    similarity,
)

Mix = dict[str, float]
"""Voice to its share; shares add up to 1."""

NEAREST = 3
MOST = 8
"""Voices in a mix; more blur what they have in common."""

LEAST_SHARE = 0.05
FACTOR = 1.7
"""By which a neighbour's share is larger or smaller."""

_STEPS = 2000


def beginnings(table: VoiceTable, target: Floats) -> list[Mix]:
    """The first mixes to try, without duplicates: the three voices that together come nearest, as
    many as help, and the three that are nearest one by one."""
    whole = _shares(table.embeddings, target)
    together = np.argsort(-whole)
    alone = np.argsort(-(table.embeddings @ target))
    choices = (together[:NEAREST], together[:MOST], alone[:NEAREST])
    mixes: list[Mix] = []
    for rows in choices:
        shares = _shares(table.embeddings[rows], target)
        mix = _mix({table.voices[row]: float(s) for row, s in zip(rows, shares, strict=True)})
        if mix not in mixes:
            mixes.append(mix)
    return mixes


def neighbours(mix: Mix) -> Iterator[Mix]:
    """Mixes of the same voices with one share larger or smaller, the heaviest voice first."""
    for voice in sorted(mix, key=lambda one: -mix[one]):
        for factor in (FACTOR, 1 / FACTOR):
            if len(mix) > 1:
                yield _mix({**mix, voice: mix[voice] * factor})


def _mix(shares: Mix) -> Mix:
    """``shares`` without those below LEAST_SHARE, adding up to 1."""
    total = sum(shares.values())
    kept = {voice: share for voice, share in shares.items() if share >= LEAST_SHARE * total}
    total = sum(kept.values())
    return {voice: round(share / total, 3) for voice, share in kept.items()}


def _shares(embeddings: Floats, target: Floats) -> Floats:
    """Non-negative shares whose mix of ``embeddings`` comes nearest to ``target``.

    Least squares by projected gradients. The encoder's vectors have no negative numbers, so at
    least one share is positive."""
    products = embeddings @ embeddings.T
    wanted = embeddings @ target
    step = 1 / float(np.linalg.eigvalsh(products)[-1])
    shares = np.full(len(embeddings), 1 / len(embeddings), np.float32)
    for _ in range(_STEPS):
        shares = np.maximum(0.0, shares - step * (products @ shares - wanted))
    return shares


MODEL_ID = "voice-match"
ENCODER = "speaker-encoder"
METHOD = "style_match"

SEARCH_SECONDS = 25.0
"""After this no further trial is started."""
TRIALS = 14
HEARD_SECONDS = 60
"""Of the sample, from its beginning."""

ENOUGH_VOICES = 5
"""If a language has fewer, voices of all languages are mixed."""

TRIAL = "We were away a year ago, and nobody knew where."
PROOF = "Please tell her that I will be late this evening, because the train has stopped."


class VoiceMatcher:
    """A Cloner; see ``load``."""

    model_id = MODEL_ID

    def __init__(
        self,
        speaker: KokoroSpeaker,
        encoder: SpeakerEncoder,
        table: VoiceTable | None = None,
        *,
        seconds: float = SEARCH_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``seconds``: how long to search; ``table``: the measured voices."""
        self._speaker = speaker
        self._encoder = encoder
        self._table = measured_voices() if table is None else table
        self._seconds = seconds
        self._clock = clock

    @classmethod
    async def load(
        cls, path: Path, speaker: KokoroSpeaker, *, seconds: float = SEARCH_SECONDS
    ) -> "VoiceMatcher":
        """With the encoder's weights at ``path``; raises EngineFailed."""
        try:
            encoder = await asyncio.to_thread(SpeakerEncoder.load, path)
        except (UnreadableCheckpoint, OSError) as error:
            raise EngineFailed(f"{MODEL_ID}: the speaker encoder cannot be read") from error
        table = await asyncio.to_thread(measured_voices)
        return cls(speaker, encoder, table, seconds=seconds)

    async def match(
        self, pcm: bytes, language: str = "en", *, done: ShareDone = nobody_asks
    ) -> VoiceMatch:
        """See Cloner; raises EngineError."""

        async def searched(share: float) -> None:
            await done(share * TRIALS / (TRIALS + 2))  # two proofs follow

        began = self._clock()
        target = await self._embedded(pcm[: HEARD_SECONDS * HEARING_RATE * SAMPLE_BYTES])
        table = self._table.only(self._candidates(language))
        mixes = await asyncio.to_thread(beginnings, table, target)
        mix, trials = await self._search(mixes, target, began, searched)
        base = {default_voice(language): 1.0}
        base_score = await self._score(base, target, PROOF)
        await done((TRIALS + 1) / (TRIALS + 2))
        score = await self._score(mix, target, PROOF)
        await done(1.0)
        if score <= base_score:
            mix, score = base, base_score
        recipe = {"engine": KOKORO, "styles": mix}
        return VoiceMatch(recipe, score, base_score, {"method": METHOD, "trials": trials})

    def _candidates(self, language: str) -> tuple[str, ...]:
        """The voices to mix for ``language``."""
        base = base_language(language)
        own = [v for v in self._table.voices if base_language(voice_language(v)) == base]
        return tuple(own) if len(own) >= ENOUGH_VOICES else self._table.voices

    async def _search(
        self, mixes: list[Mix], target: Floats, began: float, done: ShareDone
    ) -> tuple[Mix, int]:
        """The best mix found, and the number of trials: ``mixes`` first, then the neighbours of
        the best one. ``done``: by trials or by time, whichever ends the search sooner."""
        best, best_score = mixes[0], -1.0
        waiting = list(mixes)
        seen: list[Mix] = []
        share = 0.0
        while waiting and share < 1.0:
            mix = waiting.pop(0)
            if mix in seen:
                continue
            score = await self._score(mix, target, TRIAL)
            seen.append(mix)
            spent = self._clock() - began
            by_time = spent / self._seconds if spent < self._seconds else 1.0
            share = max(len(seen) / TRIALS, by_time)
            await done(share)
            if score > best_score:
                best, best_score = mix, score
                if len(seen) > len(mixes):
                    waiting = list(neighbours(best))
            if len(seen) == len(mixes):
                waiting = list(neighbours(best))
        return best, len(seen)

    async def _score(self, mix: Mix, target: Floats, sentence: str) -> float:
        """How like the target ``sentence`` sounds when spoken with ``mix``."""
        speaker = self._speaker.bound(recipe={"engine": KOKORO, "styles": mix})
        said = bytearray()
        async with aclosing(speaker.speak(sentence)) as audio:
            async for pcm in audio:
                said += pcm
        heard = await asyncio.to_thread(
            resample, bytes(said), self._speaker.sample_rate, HEARING_RATE
        )
        return similarity(await self._embedded(heard), target)

    async def _embedded(self, pcm: bytes) -> Floats:
        try:
            return await asyncio.to_thread(self._encoder.embed, pcm)
        except ValueError as error:
            raise EngineFailed(f"{MODEL_ID}: {error}") from error


async def _load(settings: EngineSettings, speaker: KokoroSpeaker) -> VoiceMatcher:
    return await VoiceMatcher.load(settings.models_dir / ENCODER / "pretrained.pt", speaker)


ENGINE = Engine(
    role=Role.CLONING,
    id=MODEL_ID,
    weights=(MODELS[ENCODER],),
    languages=KOKORO_ENGINE.languages,
    needs=(KOKORO_ENGINE.key,),
    on_demand=True,
    load=_load,
)
