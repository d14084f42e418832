"""What a good translation passes, and what gives a bad one away."""

import pytest

from pipelines.dubbing.translation_check import fault

HOURS = "What time do you open on Saturday morning?"


@pytest.mark.parametrize(
    ("text", "translation", "source", "target"),
    [
        (HOURS, "A que horas vocês abrem no sábado de manhã?", "en", "pt"),
        (HOURS, "土曜日の朝は何時に開きますか？", "en", "ja"),
        ("Yes.", "Sim.", "en", "pt"),
        ("No.", "Das kommt nicht infrage.", "en", "de"),
        ("...", "...", "en", "pt"),
        ("It is 7 pm.", "São 19h.", "en", "pt"),
        ("O trem sai às 19h30.", "The train leaves at 7:30 pm.", "pt", "en"),
        ("Please wait for four people until 10:00.", "Aguarde 4 pessoas até as 10 h.", "en", "pt"),
        ("It costs $1,150.00 plus tax.", "Custa US$ 1.150,00 mais imposto.", "en", "pt"),
        ("It costs 1000 euros.", "Custa mil euros.", "en", "pt"),
        ("We are 3.", "Meitä on kolme.", "en", "fi"),
        ("My name is Maria Gonzalez.", "Meu nome é Maria Gonzalez.", "en", "pt"),
        ("We met in New York.", "Nós nos conhecemos em Nova Iorque.", "en", "pt"),
        ("We found Maria Clara in São Paulo.", "Vi a Maria Clara em São Paulo.", "en", "pt"),
        ("Das ist ein Guter Alter Wein.", "That is a fine old wine.", "de", "en"),
        ("Well. Happy New Year!", "Bem. Feliz Ano Novo!", "en", "pt"),
        ("He saw New York.", "Он видел город.", "en", "ru"),
    ],
)
def test_what_can_be_a_translation(text: str, translation: str, source: str, target: str) -> None:
    assert fault(text, translation, source, target) is None


@pytest.mark.parametrize(
    ("text", "translation", "wrong"),
    [
        ("Good morning.", " ", "empty"),
        (HOURS, "A las 10:00.", "letters"),
        (HOURS, "Abrimos a las diez de la mañana, de lunes a viernes.", "no question"),
        (HOURS, HOURS, "not in 'es'"),
        ("I would like to have a word with you.", "Je voudrais vous parler un moment.", ""),
        ("We open very early.", "Abrimos a las 10.", "number 10 was not said"),
        ("It is 25 degrees outside now.", "Hace mucho calor afuera ahora.", "number 25 is lost"),
        ("We met in New York.", "Nos conocimos en una ciudad.", "'New York' is lost"),
        ("Wait, I will look.", "Espera, " + "voy a mirar y después vuelvo " * 3, "letters"),
    ],
)
def test_what_cannot(text: str, translation: str, wrong: str) -> None:
    found = fault(text, translation, "en", "es")
    if wrong:
        assert found is not None
        assert wrong in found


def test_a_language_without_its_number_words_may_write_small_numbers_out() -> None:
    assert fault("We have 3 cats.", "Mamy trzy koty.", "en", "pl") is None
    assert fault("We have 300 cats.", "Mamy trzysta kotów.", "en", "pl") == "the number 300 is lost"
