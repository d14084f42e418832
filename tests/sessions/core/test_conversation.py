"""The whole core: beginning, idle prompt, maximum length, end, determinism."""

import sys
from collections import Counter
from types import FrameType
from typing import Any

import pytest

from sessions.core.config import SessionConfig
from sessions.core.conversation import MAXIMUM_LENGTH, Conversation
from sessions.core.events import (
    CallStarted,
    HangUp,
    InputEnded,
    KeyPressed,
    SilenceHeard,
    Tick,
    VoiceWindow,
)
from sessions.core.notices import IdleTimeout, KeyReceived, SessionOpened
from sessions.core.states import State

from .conftest import ShellFactory


def test_a_call_opens_with_its_configuration(call: ShellFactory) -> None:
    shell = call(voice="v")
    assert shell.published(SessionOpened)[0].config.voice == "v"
    assert shell.core.call_id == "c"


def test_after_a_reply_an_idle_caller_is_spoken_to(call: ShellFactory) -> None:
    shell = call(idle_timeout_ms=6_000)
    shell.silence(10_000)
    assert not shell.published(IdleTimeout), "the agent has not spoken yet"
    shell.have_spoken(ms=300)
    shell.generated()
    shell.play(1.0)
    assert shell.core.next_deadline() == pytest.approx(shell.now + 6.0)
    shell.silence(5_900)
    assert not shell.published(IdleTimeout)
    shell.silence(200)
    prompt = shell.published(IdleTimeout)[0]
    assert prompt.end_ms - prompt.start_ms == pytest.approx(6_000, abs=40)
    assert shell.stands(State.THINKING)
    assert shell.reply.released


def test_noise_delays_the_idle_prompt_for_a_bounded_time(call: ShellFactory) -> None:
    shell = call(idle_timeout_ms=6_000)
    shell.have_spoken(ms=300)
    shell.generated()
    shell.play(1.0)
    shell.silence(5_000)
    shell.speak(128)
    shell.silence(128)
    shell.final("")
    shell.silence(600)
    shell.silence(5_500)
    assert not shell.published(IdleTimeout)
    shell.silence(600)
    assert shell.published(IdleTimeout)


def test_a_pressed_key_is_published_and_resets_the_idle_timer(call: ShellFactory) -> None:
    shell = call(idle_timeout_ms=6_000)
    shell.feed(KeyPressed("1", 1_700_000_000))
    shell.silence(6_500)
    assert not shell.published(IdleTimeout), "the agent has not spoken yet"
    shell.have_spoken(ms=300)
    shell.feed(KeyPressed("#", 1_700_000_009))
    shell.generated()
    shell.play(1.0)
    shell.silence(5_000)
    shell.feed(KeyPressed("2", 1_700_000_020))
    shell.silence(5_900)
    assert not shell.published(IdleTimeout)
    shell.silence(200)
    assert shell.published(IdleTimeout)
    assert [(key.digit, key.at) for key in shell.published(KeyReceived)] == [
        ("1", 1_700_000_000),
        ("#", 1_700_000_009),
        ("2", 1_700_000_020),
    ]


def test_a_call_has_a_maximum_length(call: ShellFactory) -> None:
    shell = call(max_call_ms=60_000)
    shell.have_spoken(ms=90_000)
    assert shell.core.next_deadline() is not None
    shell.pass_time(60.0)
    assert shell.closed == MAXIMUM_LENGTH
    assert len(shell.records) == 1
    assert shell.core.next_deadline() is None


def test_after_the_end_nothing_follows(call: ShellFactory) -> None:
    shell = call()
    shell.feed(HangUp("bye"))
    assert shell.closed == "bye"
    for event in (HangUp("again"), VoiceWindow(512, 0.9), SilenceHeard(600), Tick(), InputEnded()):
        assert shell.feed(event) == []
    assert shell.stands(State.CLOSED)


def test_time_never_runs_backwards() -> None:
    core = Conversation("c")
    core.handle(CallStarted(SessionConfig(max_call_ms=1_000)), 10.0)
    core.handle(Tick(), 9.0)
    assert core.next_deadline() == 11.0
    assert core.state is State.LISTENING


def test_the_same_events_give_the_same_commands(call: ShellFactory) -> None:
    shell = call()
    shell.have_spoken()
    shell.speak(320, "no wait")
    shell.feed(HangUp("bye"))
    again = Conversation("c")
    for event, now, commands in shell.log:
        assert again.handle(event, now) == commands


def test_a_silent_window_visits_few_places() -> None:
    """A debugger stepping through a silent window sees what hears it, and little else.

    It took 68 calls in 14 files while the core read every part's deadline twice."""
    core, now = Conversation("c"), 100.0
    core.handle(CallStarted(SessionConfig()), now)
    for window in range(40):
        now += 0.032
        core.handle(VoiceWindow(512 * window, 0.02, -70.0), now)
    calls: Counter[str] = Counter()

    def count(frame: FrameType, event: str, _argument: Any) -> None:
        if event == "call":
            calls[frame.f_code.co_filename] += 1

    silence = VoiceWindow(512 * 40, 0.02, -70.0)
    sys.setprofile(count)
    try:
        core.handle(silence, now + 0.032)
        core.next_deadline()
    finally:
        sys.setprofile(None)
    assert sum(calls.values()) <= 25, calls
    assert len(calls) <= 7, calls
