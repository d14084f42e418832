"""CloneKind: a voice is made from a sample of speech, with a preview of how it sounds.

The job's cloner makes the voice; its similarity to the sample is reported beside that of the
default voice. A job makes one voice: run again, it replaces what it made.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from media.files.encode import Encoder
from media.files.limits import MediaError, MediaLimits
from media.formats import HEARING_RATE, SAMPLE_BYTES, milliseconds_of
from pipelines.decoding import decoded
from pipelines.engines.base import Speaker
from pipelines.engines.catalogue import Catalogue
from pipelines.engines.jobs import SpeechChoice, VoiceMatch
from pipelines.jobs.artifacts import Artifacts
from pipelines.jobs.job import JobFailed, JobResult, JobRun, JobType, Unit
from pipelines.speech.job import CONTENT_TYPES, STABLE
from store.database import Database
from store.tenants.voices import NewVoice, Voice, Voices

PREVIEWS = {
    "ar": "مرحبا، هذا صوتي الجديد. يسعدني أن أتحدث إليكم.",
    "bg": "Здравейте, това е новият ми глас. Радвам се да говоря с вас.",
    "cs": "Dobrý den, tohle je můj nový hlas. Těší mě, že s vámi mluvím.",
    "da": "Hej, dette er min nye stemme. Det glæder mig at tale med dig.",
    "de": "Hallo, das ist meine neue Stimme. Ich freue mich, mit dir zu sprechen.",
    "el": "Γεια σας, αυτή είναι η νέα μου φωνή. Χαίρομαι που σας μιλώ.",
    "en": "Hello, this is my new voice. I am glad to speak with you.",
    "es": "Hola, esta es mi nueva voz. Me alegra hablar contigo.",
    "et": "Tere, see on minu uus hääl. Mul on hea meel teiega rääkida.",
    "fi": "Hei, tämä on uusi ääneni. On mukava puhua kanssasi.",
    "fr": "Bonjour, voici ma nouvelle voix. C'est un plaisir de vous parler.",
    "hi": "नमस्ते, यह मेरी नई आवाज़ है। आपसे बात करके खुशी हुई।",
    "hr": "Bok, ovo je moj novi glas. Drago mi je razgovarati s vama.",
    "hu": "Szia, ez az új hangom. Örülök, hogy beszélhetek veled.",
    "id": "Halo, ini suara baru saya. Saya senang berbicara dengan Anda.",
    "it": "Ciao, questa è la mia nuova voce. Sono felice di parlare con te.",
    "ja": "こんにちは、これがわたしのあたらしいこえです。おはなしできてうれしいです。",
    "ko": "안녕하세요, 이것은 제 새 목소리입니다. 만나서 반갑습니다.",
    "lv": "Sveiki, šī ir mana jaunā balss. Priecājos ar jums runāt.",
    "nl": "Hallo, dit is mijn nieuwe stem. Ik vind het fijn om met je te praten.",
    "pl": "Cześć, to jest mój nowy głos. Miło mi z tobą rozmawiać.",
    "pt": "Olá, esta é a minha nova voz. Fico feliz em falar com você.",
    "ro": "Bună, aceasta este noua mea voce. Mă bucur să vorbesc cu tine.",
    "ru": "Здравствуйте, это мой новый голос. Приятно говорить с вами.",
    "sk": "Ahoj, toto je môj nový hlas. Teší ma, že s tebou hovorím.",
    "sl": "Pozdravljeni, to je moj novi glas. Veseli me, da govorim z vami.",
    "sv": "Hej, det här är min nya röst. Det är trevligt att prata med dig.",
    "tr": "Merhaba, bu benim yeni sesim. Sizinle konuşmaktan mutluyum.",
    "uk": "Вітаю, це мій новий голос. Приємно говорити з вами.",
    "vi": "Xin chào, đây là giọng nói mới của tôi. Rất vui được nói chuyện với bạn.",
}


def preview_text(language: str) -> str:
    """The sentence in ``language`` (a BCP 47 tag); in English if there is none."""
    return PREVIEWS.get(language.lower().split("-")[0], PREVIEWS["en"])


CONCURRENCY = 1
DEADLINE_SECONDS = 900.0
SAMPLE_SECONDS = 300
"""The longest sample."""
SOURCE = "cloned"
FORMAT = "mp3"
"""Format of previews."""
_DECODED, _MATCHED, _SPOKEN = 10, 75, 90
"""Percent done."""


class CloneOrder(Struct, frozen=True, kw_only=True, rename="camel"):
    """Everything a voice is made from. ``consent_by``: the user or API key that gave consent, at
    ``consent_at``."""

    name: str
    sample_key: str
    language: str
    consent_by: str
    consent_at: datetime


class CloneKind:
    """Jobs of type ``voice_clone``; the input is a CloneOrder."""

    type = JobType.VOICE_CLONE
    concurrency = CONCURRENCY
    deadline = DEADLINE_SECONDS

    def __init__(self, database: Database, engines: Catalogue, artifacts: Artifacts) -> None:
        self._voices = Voices(database)
        self._engines = engines
        self._artifacts = artifacts

    async def run(self, run: JobRun) -> JobResult:
        """Match, speak a preview, store the voice; raises JobFailed, EngineError, StoreError."""
        order = msgspec.convert(run.input, CloneOrder)
        cloner = await self._engines.cloner()
        pcm = await self._sample(run, order.sample_key)
        await run.progress(_DECODED)

        async def done(share: float) -> None:
            await run.progress(_DECODED + round(share * (_MATCHED - _DECODED)))

        match = await cloner.match(pcm, order.language, done=done)
        choice = SpeechChoice(STABLE, order.language, recipe=match.recipe)
        speaker = await self._engines.speech(choice)
        sound = await _said(speaker, preview_text(order.language), order.language)
        await run.progress(_SPOKEN)
        voice = await self._keep(run, order, match, sound, speaker.sample_rate)
        heard = milliseconds_of(len(pcm) // SAMPLE_BYTES, HEARING_RATE)
        output = {
            "voiceId": voice.id,
            "name": voice.name,
            "similarity": round(match.similarity, 4),
            "baseSimilarity": round(match.base_similarity, 4),
            "method": match.details.get("method", cloner.model_id),
            "details": dict(match.details),
            "previewKey": voice.preview_key,
        }
        unit = Unit(f"{run.id}:clone", "voice_clone", STABLE, audio_ms=heard)
        return JobResult(output, (unit,))

    async def _sample(self, run: JobRun, key: str) -> bytes:
        """The sample at HEARING_RATE: a few minutes at most, so it is held in memory."""
        pcm = bytearray()
        with tempfile.TemporaryDirectory(prefix="blab-clone-") as folder:
            path = Path(folder) / "sample"
            await self._artifacts.fetch_in_job(run, key, path, "sample")
            pieces = decoded(path, HEARING_RATE, MediaLimits(SAMPLE_SECONDS))
            try:
                async with contextlib.aclosing(pieces):
                    async for piece in pieces:
                        pcm += piece
            except MediaError as error:
                raise JobFailed("VALIDATION_ERROR", str(error)) from error
        return bytes(pcm)

    async def _keep(
        self, run: JobRun, order: CloneOrder, match: VoiceMatch, sound: bytes, rate: int
    ) -> Voice:
        """Store the preview and the voice; an earlier run's preview is deleted."""
        before = await self._voices.of_job(run.workspace_id, run.id)
        made = await asyncio.to_thread(_encoded, sound, rate)
        key = await self._artifacts.take_in(
            run.workspace_id,
            "preview",
            made,
            content_type=CONTENT_TYPES[FORMAT],
            filename=f"{order.name or 'voice'}.{FORMAT}",
            duration_ms=milliseconds_of(len(sound) // SAMPLE_BYTES, rate),
        )
        voice = await self._voices.put(
            run.workspace_id,
            NewVoice(
                name=order.name,
                source_type=SOURCE,
                provider_voice_id=provider_voice_id(match.recipe),
                model=STABLE,
                language=order.language,
                recipe=dict(match.recipe),
                similarity=match.similarity,
                sample_key=order.sample_key,
                preview_key=key,
                consent_by=order.consent_by,
                consent_at=order.consent_at,
                job_id=run.id,
            ),
        )
        if before is not None and before.preview_key is not None:
            await self._artifacts.delete(run.workspace_id, before.preview_key)
        return voice


def provider_voice_id(recipe: Mapping[str, Any]) -> str:
    """The engine's name for a voice: for a mix its parts with their weights, heaviest first."""
    engine, styles = recipe.get("engine", "unknown"), recipe.get("styles", {})
    parts = sorted(styles.items(), key=lambda part: -part[1])
    mix = "+".join(f"{voice}({weight:g})" for voice, weight in parts)
    return f"{engine}:{mix}" if mix else str(engine)


async def _said(speaker: Speaker, text: str, language: str) -> bytes:
    sound = bytearray()
    async with contextlib.aclosing(speaker.speak(text, language=language)) as audio:
        async for pcm in audio:
            sound += pcm
    if not sound:
        raise JobFailed("PROVIDER_ERROR", "The engine produced no sound with the voice.")
    return bytes(sound)


def _encoded(pcm: bytes, rate: int) -> bytes:
    made = Encoder(FORMAT, rate, len(pcm) // SAMPLE_BYTES)
    return made.push(pcm) + made.finish()
