"""The fact that a question needs, and none if the question is ambiguous."""

import json
import time
from datetime import UTC, datetime
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.brain import QUESTIONS
from pipelines.engines.base import ChatMessage
from pipelines.engines.chat.sums import MOST_CHARACTERS, fact, informed
from tests.support.paths import AUDIO

NOW = datetime(2026, 11, 25, 16, 37, tzinfo=UTC)
DATE = "Wednesday, 25 November 2026"
MINUS = "\N{MINUS SIGN}"
SPOKEN = AUDIO / "manifest.json"


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("What is fifteen plus twenty seven?", "15 + 27 = 42."),
        ("what's fifteen plus twenty-seven", "15 + 27 = 42."),
        ("Hello, can you tell me what 15 plus 27 is, please?", "15 + 27 = 42."),
        ("15 + 27 = ?", "15 + 27 = 42."),
        ("What is one hundred and five minus five minus ten?", f"105 {MINUS} 5 {MINUS} 10 = 90."),
        ("What is 3 minus 8?", f"3 {MINUS} 8 = minus 5."),
        ("What is 12 - 5?", f"12 {MINUS} 5 = 7."),
        ("What is seven times eight?", "7 × 8 = 56."),
        ("what is three point one two five times two", "3.125 × 2 = 6.25."),
        ("what is ten divided by three", "10 ÷ 3 is about 3.33."),
        ("How much is three times twelve euros?", "3 × 12 = 36 euros."),
        ("How much is €12 plus €7.50?", "12 + 7.5 = 19.50 euros."),
        ("Add five and six.", "5 + 6 = 11."),
        ("take five away from nine", f"9 {MINUS} 5 = 4."),
        ("what is the difference between 4 and 9", f"9 {MINUS} 4 = 5."),
        ("what is 20 percent of 80", "20 percent of 80 = 16."),
        ("What's 15% of 40 dollars?", "15 percent of 40 dollars = 6 dollars."),
        ("What is 15 percent off 80 euros?", "80 euros less 15 percent = 68 euros."),
        ("what is half of ninety", "half of 90 = 45."),
        ("what is three quarters of 80", "three quarters of 80 = 60."),
        ("If a ticket costs twelve euros, what do three cost?", "3 × 12 euros = 36 euros."),
        ("A train ticket is 12. How much are five train tickets?", "5 × 12 = 60."),
        ("If a coffee costs 2.80, how much do 5 coffees cost?", "5 × 2.8 = 14."),
        ("How much are three tickets at 12 euros each?", "3 × 12 euros = 36 euros."),
        ("I pay with a fifty for something that costs thirty two. What do I get back?",
         f"50 {MINUS} 32 = 18."),
        ("How much change do I get from a 20 euro note if it costs 12.50?",
         f"20 {MINUS} 12.5 = 7.50 euros."),
        ("I have three apples and eat one. How many are left?", f"3 {MINUS} 1 = 2 left."),
        ("I have 20 euros and spend 5. How much is left?", f"20 {MINUS} 5 = 15 left."),
        ("I have five apples and buy two more. How many apples do I have?", "5 + 2 = 7 in all."),
        ("How many hours are in two days?", "2 days = 48 hours."),
        ("How many days are there in a week?", "1 week = 7 days."),
        ("How many minutes are in an hour and a half?", "1.5 hours = 90 minutes."),
        ("How many feet are in 24 inches?", "24 inches = 2 feet."),
        ("Convert 90 minutes to hours", "90 minutes = 1.5 hours."),
        ("How many centimeters does a meter have?", "1 metre = 100 centimetres."),
        ("How many eggs are in two dozen?", "2 dozen = 24."),
    ],
)  # fmt: skip
def test_a_sum_is_worked_out(question: str, answer: str) -> None:
    assert fact(question, NOW) == answer


@pytest.mark.parametrize(
    "question",
    [
        "add one hundred and five",
        "What is the sum of one hundred and five and six?",
        "what is 2 plus 3 times 4",
        "what is 1.000 plus 5",
        "what is 3,5 plus 1",
        "what is 10 divided by zero",
        "what is 10 divided by 2 divided by 5",
        "what is 555-1234",
        "12 - 5",
        "what is 24/7",
        "what is 0x10",
        "twenty, seven times eight",
        "what is -5 plus 3",
        "3 euros plus 2 dollars",
        "3 plus 20 cents",
        "3 euros times 2 euros",
        "8 divided by 2 euros",
        "How many euros are in five dollars?",
        "How many weeks are in a month?",
        "How many days are in a year?",
        "How many litres are in a kilo?",
        "How many days are in three days?",
        "how many days are in 13 hours",
        "If a pair of shoes costs 40, what do three cost?",
        "If a dozen eggs costs 3 euros, what do four cost?",
        "If three tickets cost 12 euros, what do six cost?",
        "If a ticket costs 12 euros, what do three beers cost?",
        "If a ticket costs 12, what do 2.5 tickets cost?",
        "I pay with a ten for something that costs thirty two. What do I get back?",
        "I pay with a fifty for something that costs thirty cents. What do I get back?",
        "I have three apples and eat one pear. How many are left?",
        "I have three apples and eat five. How many are left?",
        "I have three apples and buy two more pears. How many do I have?",
        "what is 120 percent off 80",
        "What is 999999999999 times 999999999999?",
        "Please book a table for four at seven plus one child.",
        "Fifteen plus twenty seven people are coming to the party.",
    ],
)
def test_an_ambiguous_question_gets_no_fact(question: str) -> None:
    assert fact(question, NOW) is None


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("What time is it?", f"It is 4:37 pm on {DATE}."),
        ("Hey, do you know what time it is right now?", f"It is 4:37 pm on {DATE}."),
        ("Could you tell me the time please?", f"It is 4:37 pm on {DATE}."),
        ("What day is it today?", f"Today is {DATE}."),
        ("What's today's date?", f"Today is {DATE}."),
        ("which month is it", f"Today is {DATE}."),
        ("What day is tomorrow?", "Tomorrow is Thursday, 26 November 2026."),
        ("what day was yesterday", "Yesterday was Tuesday, 24 November 2026."),
        ("What time is it in Tokyo?", None),
        ("What time is it there?", None),
        ("What time is the train?", None),
        ("What day is it open?", None),
        ("What is the date of the party?", None),
    ],
)
def test_questions_about_the_clock_are_answered(question: str, answer: str | None) -> None:
    assert fact(question, NOW) == answer


@pytest.mark.parametrize(("hour", "said"), [(0, "12:05 am"), (11, "11:05 am"), (12, "12:05 pm")])
def test_noon_and_midnight(hour: int, said: str) -> None:
    assert fact("what time is it", NOW.replace(hour=hour, minute=5)) == f"It is {said} on {DATE}."


@given(st.integers(0, 10**6), st.integers(1, 10**6), st.sampled_from("+-×÷"))
def test_an_equation_holds(left: int, right: int, sign: str) -> None:
    found = fact(f"What is {left} {sign} {right}?", NOW)
    exact = {
        "+": Fraction(left + right),
        "-": Fraction(left - right),
        "×": Fraction(left * right),
        "÷": Fraction(left, right),
    }[sign]
    if found is None:
        assert exact >= 10**12
        return
    shown = found.replace(" is about ", " = ").rpartition(" = ")[2].rstrip(".")
    error = abs(Fraction(shown.replace("minus ", "-")) - exact)
    assert error <= (Fraction(1, 200) if "about" in found else 0)


WORDS = st.sampled_from(
    "what is how much many a the one two hundred and point dozen percent of plus minus times"
    " divided by if i have pay costs left euros time day it 3 3.5 12 x - / & ? . % hours in".split()
)


@given(st.one_of(st.text(max_size=80), st.lists(WORDS, max_size=40).map(" ".join)))
def test_it_never_raises(text: str) -> None:
    found = fact(text, NOW)
    assert found is None or (found.endswith(".") and len(found) < 2 * MOST_CHARACTERS)


@pytest.mark.parametrize(
    "piece",
    ["1 plus ", "a ", "i have 1 a and eat 1 ", "hundred ", "one point ", "$1", "1,", "1 - ", "so ",
     "if a a a costs 1 ", "how many ", "1x", "€", "1 euros plus "],
)  # fmt: skip
def test_a_hostile_text_takes_no_time(piece: str) -> None:
    """Unit: CPU time. A reply's event loop works it out."""
    hostile = (piece * MOST_CHARACTERS)[:MOST_CHARACTERS]
    began = time.process_time()
    for text in (
        hostile,
        f"{hostile[:-1]}!",
        f"what is {hostile}"[:MOST_CHARACTERS],
        hostile * 999,
    ):
        fact(text, NOW)
    assert time.process_time() - began < 0.1


def test_ordinary_speech_gets_no_fact() -> None:
    spoken = [entry["text"] for entry in json.loads(SPOKEN.read_text(encoding="utf-8"))]
    assert spoken
    assert [text for text in spoken if fact(text, NOW)] == []


def test_of_the_everyday_questions_only_sums_get_a_fact() -> None:
    assert [found for q in QUESTIONS if (found := fact(q.text, NOW))] == [
        "1 week = 7 days.", "2 days = 48 hours.", "7 × 8 = 56.", "15 + 27 = 42.",
        "3 × 12 euros = 36 euros.", f"50 {MINUS} 32 = 18.", f"3 {MINUS} 1 = 2 left.",
    ]  # fmt: skip


def test_the_last_message_carries_it() -> None:
    system, user = ChatMessage("system", "Be brief."), ChatMessage("user", "What is 2 plus 3?")
    assert informed((user, system, user), NOW) == [
        user, system, ChatMessage("user", user.content, fact="2 + 3 = 5."),
    ]  # fmt: skip
    assert informed((), NOW) == []
    answered = (user, ChatMessage("assistant", "What is 2 plus 3?"))
    assert informed(answered, NOW) == list(answered)
