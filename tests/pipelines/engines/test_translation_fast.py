import asyncio

import pytest

from pipelines.engines.base import EngineFailed, ModelUnavailable
from pipelines.engines.translation import FastTranslator


class Vendor:
    def __init__(self, answer: str = "") -> None:
        self.answer = answer
        self.asked: list[tuple[str, str]] = []

    def translate(self, text: str, direction: str) -> str:
        self.asked.append((text, direction))
        return self.answer or text.upper()


async def test_each_sentence_is_translated_in_its_direction() -> None:
    vendor = Vendor()
    engine = FastTranslator(vendor)
    assert await engine.translate("One. Two.", "en-GB", "pt-BR") == "ONE. TWO."
    assert await engine.translate("", "pt", "en") == ""
    assert vendor.asked == [("One.", "en-pt"), ("Two.", "en-pt")]
    assert not engine.draft
    await engine.close()


async def test_other_pairs_and_empty_answers_are_refused() -> None:
    engine = FastTranslator(Vendor(" "))
    with pytest.raises(ModelUnavailable, match="Portuguese only"):
        await engine.translate("Hallo", "de", "en")
    with pytest.raises(EngineFailed, match="empty"):
        await engine.translate("Hello", "en", "pt")
    await engine.close()


@pytest.mark.engines
async def test_the_real_translator_serves_several_at_once() -> None:
    engine = await FastTranslator.load()
    try:
        there, back, *rest = await asyncio.gather(
            engine.translate("The book is on the table. It is red.", "en", "pt"),
            engine.translate("O livro está na mesa.", "pt", "en"),
            *(engine.translate(f"I have {n} books.", "en", "pt") for n in range(2, 12)),
        )
        assert "livro" in there
        assert "vermelho" in there
        assert back == "The book is on the table."
        hours = await engine.translate("What time do you open on Saturday morning?", "en", "pt")
        assert "no sábado" in hours
        name = await engine.translate("Meu nome é João da Silva.", "pt", "en")
        assert name == "My name is João da Silva."
        assert all(str(n) in text for n, text in enumerate(rest, 2))
    finally:
        await engine.close()
