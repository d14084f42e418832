import pytest

from pipelines.engines.base import EngineFailed, ModelUnavailable
from pipelines.engines.scripted.live import Fault, ScriptedChatModel
from pipelines.engines.translation import ChatTranslator

Made = tuple[ChatTranslator, ScriptedChatModel]


def translator(*answers: str, fault: Fault | None = None) -> Made:
    chat = ScriptedChatModel(answers, fault=fault)
    return ChatTranslator(chat), chat


async def test_a_text_is_translated_sentence_by_sentence() -> None:
    engine, chat = translator("Guten Tag.", "  »Wie  geht es?«\n")
    assert (
        await engine.translate("Hello. How are you?", "en-US", "de") == "Guten Tag. »Wie geht es?«"
    )
    assert [messages[1].content for messages in chat.asked] == ["Hello.", "How are you?"]
    rules = chat.asked[0][0].content
    assert "from English to German" in rules
    assert (engine.draft, engine.model_id) == (True, chat.model_id)


@pytest.mark.parametrize(
    ("text", "answer", "expected"),
    [
        ("Hi.", '"Hallo."', "Hallo."),
        ('"Hi."', '"Hallo."', '"Hallo."'),
        ("Hi.", "“Hallo.”", "Hallo."),
    ],
)
async def test_quotation_marks_that_the_model_adds_are_dropped(
    text: str, answer: str, expected: str
) -> None:
    engine, _ = translator(answer)
    assert await engine.translate(text, "en", "de") == expected


@pytest.mark.parametrize("answer", ["<think>A greeting.</think>Hallo.", "Hm. </think> Hallo."])
async def test_thoughts_are_not_part_of_a_translation(answer: str) -> None:
    engine, _ = translator(answer)
    assert await engine.translate("Hi.", "en", "de") == "Hallo."


async def test_text_without_words_is_left_alone() -> None:
    engine, chat = translator("never")
    assert await engine.translate("...", "en", "de") == "..."
    assert await engine.translate("", "en", "de") == ""
    assert chat.asked == []


@pytest.mark.parametrize("answer", ["", " … ", "word " * 30])
async def test_an_answer_that_cannot_be_a_translation_is_a_failure(answer: str) -> None:
    engine, chat = translator(answer)
    with pytest.raises(EngineFailed):
        await engine.translate("Hello there.", "en", "de")
    assert chat.running == 0


async def test_the_models_failures_pass_through() -> None:
    engine, _ = translator("x", fault=Fault(EngineFailed("out of order")))
    with pytest.raises(EngineFailed, match="out of order"):
        await engine.translate("Hello.", "en", "de")


async def test_only_known_languages_are_requested() -> None:
    engine, chat = translator("x")
    with pytest.raises(ModelUnavailable, match="'tlh'"):
        await engine.translate("Hello.", "en", "tlh")
    assert chat.asked == []
