"""The ledger: paced sending, heard text, pause and resume without loss or repetition."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessions.core.events import ClauseStarted, Event, PlayoutFinished, PlayoutHeard
from sessions.speech.playout import Playout
from tests.support.sessions.fake_channel import FakeChannel

RATE = 16_000


def ramp(first: int, samples: int) -> bytes:
    return b"".join((n % 30_000).to_bytes(2, "little") for n in range(first, first + samples))


class Bench:
    """A playout, its channel and the events it raised."""

    def __init__(self, *, own_clock: bool = False) -> None:
        self.channel = FakeChannel(RATE, own_clock=own_clock)
        self.events: list[Event] = []
        self.playout = Playout(self.channel, self.events.append)

    async def speak(self, samples: int, pieces: int = 1) -> None:
        self.playout.start(1, "resp", "item")
        for n in range(pieces):
            self.playout.append(1, ramp(n * samples, samples))


async def test_nothing_leaves_before_release() -> None:
    bench = Bench()
    await bench.speak(3200)
    assert bench.playout.advance(0.0) is None
    assert bench.channel.audio == b""


async def test_runs_at_most_the_lead_ahead_and_follows_time() -> None:
    bench = Bench()
    await bench.speak(16_000)
    bench.playout.release(1)
    again = bench.playout.advance(10.0)
    assert again == pytest.approx(10.02)
    assert len(bench.channel.audio) == 3200 * 2  # 200 ms
    bench.playout.advance(10.1)
    assert len(bench.channel.audio) == 4800 * 2
    assert bench.events == [ClauseStarted(1, 0), PlayoutHeard(1, pytest.approx(0.1, abs=0.001))]


async def test_finishes_when_the_last_sample_was_heard() -> None:
    bench = Bench()
    await bench.speak(1600)
    bench.playout.complete(1)
    bench.playout.release(1)
    assert bench.playout.advance(0.0) is not None
    assert PlayoutFinished(1, 1600) not in bench.events
    assert bench.playout.advance(0.1) is None
    assert bench.events[-1] == PlayoutFinished(1, 1600)


async def test_clauses_are_reported_when_their_first_sample_leaves() -> None:
    bench = Bench()
    await bench.speak(3200, pieces=3)
    bench.playout.release(1)
    bench.playout.advance(0.0)
    assert bench.events == [ClauseStarted(1, 0)]
    bench.playout.advance(0.1)
    assert bench.events == [ClauseStarted(1, 0), PlayoutHeard(1, 0.1), ClauseStarted(1, 1)]


async def test_pause_flushes_and_resume_sends_the_unheard_part_again() -> None:
    bench = Bench()
    await bench.speak(16_000)
    bench.playout.release(1)
    bench.playout.advance(0.0)
    heard, sent = bench.playout.pause(1, 0.1)
    assert (heard, sent) == (1600, 3200)
    assert bench.channel.flushed == 1
    assert bench.playout.advance(0.2) is None
    bench.channel.pieces.clear()
    bench.playout.resume(1)
    bench.playout.advance(5.0)
    assert bench.channel.audio == ramp(1600, 3200)


async def test_stop_reports_what_was_heard_and_ends_the_reply() -> None:
    bench = Bench()
    await bench.speak(16_000)
    bench.playout.release(1)
    bench.playout.advance(0.0)
    assert bench.playout.stop(1, 0.05) == (800, 3200)
    assert bench.playout.advance(0.1) is None
    assert bench.playout.stop(1, 0.2) == (0, 0)


async def test_the_channels_own_clock_counts() -> None:
    bench = Bench(own_clock=True)
    bench.channel.clock = 500
    await bench.speak(16_000)
    bench.playout.release(1)
    bench.playout.advance(0.0)
    bench.channel.clock = 500 + 320
    assert bench.playout.pause(1, 99.0) == (320, 3200)


@pytest.mark.parametrize("own_clock", [True, False])
async def test_the_first_sample_heard_is_reported_once(own_clock: bool) -> None:
    bench = Bench(own_clock=own_clock)
    await bench.speak(16_000)
    bench.playout.release(1)
    for step in range(4):
        bench.channel.clock = step * 160
        bench.playout.advance(step / 100)
    assert [e for e in bench.events if isinstance(e, PlayoutHeard)] == [PlayoutHeard(1, 0.01)]


async def test_playout_waits_while_the_engine_is_behind() -> None:
    bench = Bench()
    await bench.speak(800)
    bench.playout.release(1)
    bench.playout.advance(0.0)
    bench.playout.advance(0.05)
    bench.playout.advance(3.0)
    bench.playout.append(1, ramp(800, 1600))
    bench.playout.advance(3.0)
    assert bench.playout.stop(1, 3.0625) == (1800, 2400)


@given(st.lists(st.tuples(st.sampled_from("aprw"), st.integers(1, 2500)), max_size=40))
async def test_heard_never_exceeds_sent_nor_sent_generated(steps: list[tuple[str, int]]) -> None:
    bench = Bench()
    playout, now, generated = bench.playout, 0.0, 0
    playout.start(1, "resp", "item")
    playout.release(1)
    last = 0
    for kind, amount in steps:
        if kind == "a":
            playout.append(1, ramp(generated, amount))
            generated += amount
        elif kind == "w":
            now += amount / RATE
        elif kind == "r":
            playout.resume(1)
        else:
            heard, sent = playout.pause(1, now)
            assert last <= heard <= sent <= generated
            last = heard
            playout.resume(1)
        playout.advance(now)
    heard, sent = playout.stop(1, now)
    assert last <= heard <= sent <= generated


async def test_a_reply_sounds_from_its_release_until_its_last_sample_is_heard() -> None:
    bench = Bench()
    playout = bench.playout
    await bench.speak(1600)
    assert not playout.sounding(1)
    playout.release(1)
    playout.advance(0.0)
    assert playout.sounding(1)
    assert not playout.sounding(2)
    playout.complete(1)
    assert playout.sounding(1)
    playout.advance(0.1)
    assert not playout.sounding(1)


async def test_a_complete_reply_without_audio_does_not_sound() -> None:
    bench = Bench()
    bench.playout.start(1, "resp", "item")
    bench.playout.release(1)
    bench.playout.complete(1)
    assert not bench.playout.sounding(1)


async def test_what_may_not_have_arrived_is_not_heard_for_now() -> None:
    bench = Bench(own_clock=True)
    await bench.speak(16_000)
    bench.playout.complete(1)
    bench.playout.release(1)
    bench.playout.advance(0.0)
    bench.channel.listen(3200)
    bench.playout.advance(0.2)
    bench.channel.missed = 1600
    bench.channel.listen(3200)
    assert bench.playout.position(0.4) == 4800
    assert bench.playout.position(0.4, lost=True) == 4800
    bench.channel.missed = 4000
    assert bench.playout.position(0.5) == 4800, "what was heard stays heard while the call goes on"
    bench.playout.advance(0.5)
    assert len(bench.channel.audio) == (4800 + 3200) * 2, "and no more is sent than the lead"
    bench.channel.missed = 0
    assert bench.playout.position(0.6) == 6400


async def test_a_lost_connection_puts_back_what_was_heard() -> None:
    bench = Bench(own_clock=True)
    await bench.speak(16_000)
    bench.playout.release(1)
    bench.playout.advance(0.0)
    bench.channel.listen(3200)
    bench.playout.advance(0.2)
    assert bench.playout.position(0.2) == 3200
    bench.channel.missed = 2000
    assert bench.playout.position(0.2, lost=True) == 1200
    bench.channel.dropped = True
    assert bench.playout.stop(1, 0.3) == (1200, 6400)
