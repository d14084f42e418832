"""VoiceMatcher: a voice after a sample, mixed from voices that are there.

It is a match and no clone: what comes out is the mix of Kokoro's styles that the speaker encoder
takes to be most like the sample, and how like it is, is told. Measured on three recordings of two
readers: cosine to the sample 0.62, 0.69 and 0.70, where the default voice has 0.53, 0.56 and 0.45
and the readers' other recordings have 0.75-0.93.

Rules
- The search is bounded by time and by trials. A trial is a short sentence, spoken with a mix and
  compared with the sample; the mixes tried are those of ``voice_mix``.
- What is told was measured on another sentence than was searched with. Where the mix does not come
  nearer than the default voice, the default voice is what is given.
- The sentences are English whatever the language: the encoder hears voices, not words.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any, Protocol

from media.formats import HEARING_RATE, SAMPLE_BYTES
from media.resample import resample
from pipelines.engines.base import EngineFailed, Speaker
from pipelines.engines.jobs import VoiceMatch
from pipelines.engines.kokoro.phonemes import base_language
from pipelines.engines.kokoro.voices import ENGINE, default_voice, voice_language

from .speaker_encoder import Floats, SpeakerEncoder, similarity
from .torch_tensors import UnreadableCheckpoint
from .voice_mix import Mix, beginnings, neighbours
from .voice_table import VoiceTable, packaged

MODEL_ID = "voice-match"
METHOD = "style_match"

SEARCH_SECONDS = 25.0
"""After which no further trial is begun."""
TRIALS = 14
HEARD_SECONDS = 60
"""Of the sample, from its beginning."""

ENOUGH_VOICES = 5
"""Where a language has fewer, voices of all languages are mixed."""

TRIAL = "We were away a year ago, and nobody knew where."
PROOF = "Please tell her that I will be late this evening, because the train has stopped."


class StyledSpeaker(Protocol):
    """What is needed of Kokoro."""

    sample_rate: int

    def bound(
        self, voice: str = "default", *, recipe: Mapping[str, Any] | None = None
    ) -> Speaker: ...


class VoiceMatcher:
    """A Cloner; see ``load``."""

    model_id = MODEL_ID

    def __init__(
        self,
        speaker: StyledSpeaker,
        encoder: SpeakerEncoder,
        table: VoiceTable | None = None,
        *,
        seconds: float = SEARCH_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``seconds``: how long is searched; ``table``: what was measured of the voices."""
        self._speaker = speaker
        self._encoder = encoder
        self._table = packaged() if table is None else table
        self._seconds = seconds
        self._clock = clock

    @classmethod
    async def load(
        cls, path: Path, speaker: StyledSpeaker, *, seconds: float = SEARCH_SECONDS
    ) -> "VoiceMatcher":
        """With the encoder's weights at ``path``; raises EngineFailed."""
        try:
            encoder = await asyncio.to_thread(SpeakerEncoder.load, path)
        except (UnreadableCheckpoint, OSError) as error:
            raise EngineFailed(f"{MODEL_ID}: the speaker encoder cannot be read") from error
        table = await asyncio.to_thread(packaged)
        return cls(speaker, encoder, table, seconds=seconds)

    async def match(self, pcm: bytes, language: str = "en") -> VoiceMatch:
        """See Cloner; raises EngineError."""
        expires = self._clock() + self._seconds
        target = await self._embedded(pcm[: HEARD_SECONDS * HEARING_RATE * SAMPLE_BYTES])
        table = self._table.only(self._candidates(language))
        mixes = await asyncio.to_thread(beginnings, table, target)
        mix, trials = await self._search(mixes, target, expires)
        base = {default_voice(language): 1.0}
        base_score = await self._score(base, target, PROOF)
        score = await self._score(mix, target, PROOF)
        if score <= base_score:
            mix, score = base, base_score
        recipe = {"engine": ENGINE, "styles": mix}
        return VoiceMatch(recipe, score, base_score, {"method": METHOD, "trials": trials})

    def _candidates(self, language: str) -> tuple[str, ...]:
        """The voices that are mixed for ``language``."""
        base = base_language(language)
        own = [v for v in self._table.voices if base_language(voice_language(v)) == base]
        return tuple(own) if len(own) >= ENOUGH_VOICES else self._table.voices

    async def _search(self, mixes: list[Mix], target: Floats, expires: float) -> tuple[Mix, int]:
        """The best mix that was found, and after how many trials: ``mixes`` first, then those
        round the best one."""
        best, best_score = mixes[0], -1.0
        waiting = list(mixes)
        seen: list[Mix] = []
        while waiting and len(seen) < TRIALS and (not seen or self._clock() < expires):
            mix = waiting.pop(0)
            if mix in seen:
                continue
            score = await self._score(mix, target, TRIAL)
            seen.append(mix)
            if score > best_score:
                best, best_score = mix, score
                if len(seen) > len(mixes):
                    waiting = list(neighbours(best))
            if len(seen) == len(mixes):
                waiting = list(neighbours(best))
        return best, len(seen)

    async def _score(self, mix: Mix, target: Floats, sentence: str) -> float:
        """How like the target ``sentence`` sounds when it is spoken with ``mix``."""
        speaker = self._speaker.bound(recipe={"engine": ENGINE, "styles": mix})
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
