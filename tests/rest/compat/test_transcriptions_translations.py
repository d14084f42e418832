"""Translations into English through the stock client."""

from pathlib import Path

import openai
import pytest

from pipelines.engines.base import EngineFailed
from pipelines.engines.scripted.jobs import ScriptedFileTranscriber, ScriptedTranslator, spoken
from pipelines.engines.scripted.live import Fault
from tests.support.rest.agent_app import recording
from tests.support.rest.compat_app import CompatNode

pytestmark = pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
"""The package warns of this operation, as OpenAI will end it."""

FILE = ("hallo.wav", recording(2.0), "audio/wav")
ENGLISH = {"Guten Tag.": "Good day.", "Wie geht es?": "How are you?"}
TEXT = "Good day. How are you?"


def node_of(folder: Path, language: str = "de") -> CompatNode:
    node = CompatNode(folder)
    said = (spoken("Guten Tag."), spoken("Wie geht es?", 1000))
    node.engines.ears = ScriptedFileTranscriber(said, language=language)
    node.engines.words = ScriptedTranslator(ENGLISH)
    return node


async def test_every_format(tmp_path: Path) -> None:
    async with node_of(tmp_path).running() as node, node.client() as client:
        create = client.audio.translations.create
        assert (await create(model="whisper-1", file=FILE)).text == TEXT
        assert await create(model="whisper-1", file=FILE, response_format="text") == f"{TEXT}\n"
        srt = await create(model="whisper-1", file=FILE, response_format="srt")
        assert srt == f"1\n00:00:00,000 --> 00:00:01,750\n{TEXT}\n"
        vtt = await create(model="whisper-1", file=FILE, response_format="vtt")
        assert vtt.startswith("WEBVTT\n")
        verbose = await create(model="whisper-1", file=FILE, response_format="verbose_json")
        assert (verbose.language, verbose.duration, verbose.text) == ("english", 2.0, TEXT)
        assert verbose.segments is not None
        assert [one.text for one in verbose.segments] == list(ENGLISH.values())
        units = await node.units(10)
        assert [(unit.name, unit.type) for unit in units[:2]] == [
            ("transcription", "stt"),
            ("translation", "translation"),
        ]
        assert units[1].tokens == sum(len(line) for line in ENGLISH)


async def test_english_is_only_transcribed(tmp_path: Path) -> None:
    async with node_of(tmp_path, "en").running() as node, node.client() as client:
        heard = await client.audio.translations.create(model="whisper-1", file=FILE)
        assert heard.text == " ".join(ENGLISH)
        assert not node.engines.words.asked
        assert [unit.type for unit in await node.units(1)] == ["stt"]


async def test_without_a_translator_the_recording_is_heard_in_english(tmp_path: Path) -> None:
    node = node_of(tmp_path)
    node.engines.words.draft = True
    node.engines.ears.english = [spoken("Good day to you.", 250)]
    async with node.running(), node.client() as client:
        create = client.audio.translations.create
        heard = await create(model="whisper-1", file=FILE, response_format="verbose_json")
        assert heard.segments is not None
        assert (heard.text, heard.segments[0].start) == ("Good day to you.", 0.25)
        assert node.engines.words.asked == []
        units = await node.units(2)
        assert [(unit.type, unit.model) for unit in units] == [
            ("stt", "scripted-file-ears"),
            ("translation", "scripted-file-ears"),
        ]
        assert units[1].tokens == sum(len(line) for line in ENGLISH)


async def test_a_draft_has_to_be_accepted(tmp_path: Path) -> None:
    node = node_of(tmp_path)
    node.engines.words.draft = True
    async with node.running(), node.client() as client:
        create = client.audio.translations.create
        with pytest.raises(openai.NotFoundError, match="send allow_draft true"):
            await create(model="whisper-1", file=FILE)
        made = await create(model="whisper-1", file=FILE, extra_body={"allow_draft": "true"})
        assert made.text == TEXT


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"stream": "true"}, "stream"),
        ({"include[]": "logprobs"}, "include"),
        ({"timestamp_granularities[]": "word"}, "timestamp_granularities"),
        ({"allow_draft": "maybe"}, "allow_draft"),
    ],
)
async def test_fields_that_translations_lack_are_refused(
    tmp_path: Path, asked: dict[str, str], param: str
) -> None:
    async with node_of(tmp_path).running() as node, node.client() as client:
        with pytest.raises(openai.BadRequestError) as refused:
            await client.audio.translations.create(model="whisper-1", file=FILE, extra_body=asked)
        assert refused.value.param == param


async def test_a_language_without_a_translator_is_refused(tmp_path: Path) -> None:
    node = node_of(tmp_path)
    node.engines.absent |= {"de-en"}
    async with node.running(), node.client() as client:
        with pytest.raises(openai.NotFoundError) as refused:
            await client.audio.translations.create(model="whisper-1", file=FILE)
        assert refused.value.code == "model_not_found"


async def test_a_failing_translator_is_billed_for_what_it_did(tmp_path: Path) -> None:
    node = node_of(tmp_path)
    node.engines.words.fault = Fault(EngineFailed("it broke"), at=1)
    async with node.running(), node.client() as client:
        with pytest.raises(openai.InternalServerError) as refused:
            await client.audio.translations.create(model="whisper-1", file=FILE)
        assert refused.value.status_code == 502
        assert [unit.tokens for unit in await node.units(2)] == [0, len("Guten Tag.")]
