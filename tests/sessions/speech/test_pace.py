"""Words spoken before their clause ends: sooner, whole, and without a gap behind them."""

import asyncio
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.engines.scripted.live import scripted_engines
from sessions.core.commands import StartReply
from sessions.core.config import SessionConfig
from sessions.core.events import Event, ReplyClause
from sessions.core.items import Message
from sessions.speech.pace import Pace, covers
from sessions.speech.playout import Playout
from sessions.speech.reply_task import ReplyTask
from tests.support.sessions import virtual_clock
from tests.support.sessions.fake_channel import FakeChannel

RATE = 16_000
STEP = 0.01
ORDER = StartReply(1, 1, "resp_1", "item_1", (Message("user", "hello"),), SessionConfig())


def test_more_text_covers_a_longer_wait() -> None:
    assert covers(30, written=100, spoken=15, voice_wait=0.15)
    assert not covers(30, written=15, spoken=15, voice_wait=0.15)
    assert not covers(30, written=100, spoken=15, voice_wait=2.0)
    assert not covers(30, written=0, spoken=15, voice_wait=0.15)


@pytest.mark.slow
@given(
    st.integers(0, 300), st.floats(0.1, 500), st.floats(1, 50), st.floats(0, 5), st.integers(0, 50)
)
def test_what_covers_still_covers_with_more_text(
    characters: int, written: float, spoken: float, wait: float, more: int
) -> None:
    fewer = covers(characters, written=written, spoken=spoken, voice_wait=wait)
    assert covers(characters + more, written=written, spoken=spoken, voice_wait=wait) or not fewer


def test_a_burst_says_nothing_of_the_speed_and_the_reply_before_does() -> None:
    pace = Pace()
    pace.begin()
    pace.wrote(40, 1.0)
    pace.wrote(40, 1.01)
    assert pace.written == 0
    assert not pace.covers(80)
    pace.wrote(20, 1.5)
    assert pace.written == pytest.approx(120)
    pace.begin()
    pace.wrote(10, 9.0)
    assert pace.written == pytest.approx(120)
    assert pace.covers(30)


def test_a_slow_voice_needs_its_text_sooner() -> None:
    pace = Pace()
    pace.spoke(40, 2.5, 0.6)
    assert pace.lead == 0.6
    for _ in range(9):
        pace.spoke(40, 2.5, 0.05)
    assert pace.lead == pytest.approx(0.15)


# ---------------------------------------------------------------------------- with a reply


class Hearing:
    """A released reply on a virtual clock: its pieces, when each came, and the gaps between."""

    def __init__(
        self, answer: str, first_token: float, words_a_second: float, voice_wait: float
    ) -> None:
        self.engines = scripted_engines(answers=(answer,))
        self.engines.voice.first_audio_delay = voice_wait
        waits = itertools.chain((first_token,), itertools.repeat(1 / words_a_second))

        async def delay(_: float) -> None:
            await asyncio.sleep(next(waits))

        self.engines.chat_model.delay = delay
        self.pieces: list[tuple[float, str]] = []
        self.gaps = 0.0
        """Seconds in which there was nothing to hear, although the reply had begun."""
        self.playout = Playout(FakeChannel(RATE), self._note)
        self.playout.start(1, "resp_1", "item_1")

    def _note(self, event: Event) -> None:
        if isinstance(event, ReplyClause) and event.text:
            self.pieces.append((asyncio.get_running_loop().time() - self._start, event.text))

    def _advance(self) -> None:
        self.playout.advance(asyncio.get_running_loop().time())

    async def hear(self) -> "Hearing":
        loop = asyncio.get_running_loop()
        self._start = loop.time()
        self.playout.release(1)
        task = ReplyTask(ORDER, self.engines, self.playout, RATE, self._note, self._advance)
        running = asyncio.create_task(task.run())
        while not running.done():
            await asyncio.sleep(STEP)
            self._advance()
            if self.pieces and not self.playout.unheard_seconds(1, loop.time()):
                self.gaps += 0.0 if running.done() else STEP
        await running
        return self


def hearing(
    answer: str,
    first_token: float = 0.25,
    words_a_second: float = 30.0,
    voice_wait: float = 0.0,
) -> Hearing:
    return virtual_clock.run(Hearing(answer, first_token, words_a_second, voice_wait).hear())


def test_the_first_words_of_a_long_sentence_are_spoken_at_the_end_of_a_phrase() -> None:
    answer = "I can certainly help you with the booking that you made for the tenth of May."
    said = hearing(answer)
    (moment, words), *_ = said.pieces
    assert words == "I can certainly help you"
    assert moment <= 0.25 + 6 / 30 + STEP
    assert "".join(text for _, text in said.pieces) == answer
    assert not said.gaps


def test_a_phrase_does_not_end_between_two_of_its_beginnings() -> None:
    said = hearing("There is nothing here that for the most part would help you today.")
    assert said.pieces[0][1] == "There is nothing here"


def test_a_slow_models_first_words_wait_for_their_clause() -> None:
    answer = "I can help you with it, if you like to wait for a little while."
    said = hearing(answer, words_a_second=6.0)
    assert said.pieces[0][0] >= 0.25 + 1.0 - STEP


def test_a_short_first_sentence_is_followed_before_it_has_been_heard() -> None:
    """The next sentence is long, and a model under load writes at twice the speed of speech."""
    rest = "the " + "very " * 30 + "long rest of it."
    said = hearing(f"Certainly I can do that. {rest}", words_a_second=9.0)
    assert not said.gaps


def test_a_clause_that_comes_when_words_are_due_is_spoken_before_the_words_behind_it() -> None:
    answer = "a a a aaaaa aaaaa and and with a and aaaa a."
    said = hearing(answer, first_token=0.0, words_a_second=10.0)
    assert "".join(text for _, text in said.pieces) == answer


WORDS = st.text("abcdefgh", min_size=1, max_size=9) | st.sampled_from(["and", "with", "to", "for"])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(WORDS, min_size=12, max_size=60),
    st.sets(st.integers(8, 60)),
    st.sampled_from([10.0, 15.0, 30.0, 60.0]),
    st.sampled_from([0.0, 0.25, 1.0]),
    st.sampled_from([0.0, 0.1, 0.14]),
)
def test_no_word_is_split_and_no_gap_follows_while_the_models_speed_holds(
    words: list[str],
    commas: set[int],
    words_a_second: float,
    first_token: float,
    voice_wait: float,
) -> None:
    spoken = [f"{word}," if number in commas else word for number, word in enumerate(words)]
    answer = " ".join(spoken) + "."
    said = hearing(answer, first_token, words_a_second, voice_wait)
    texts = [text for _, text in said.pieces]
    assert "".join(texts) == answer
    assert [word for text in texts for word in text.split()] == answer.split()
    assert said.gaps <= STEP
