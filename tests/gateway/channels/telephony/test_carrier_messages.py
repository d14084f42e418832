"""What every carrier makes of messages that are nearly its own: events, or a WireFault."""

import random
from typing import Any

import pytest

from gateway.calls.telephony import CARRIERS
from gateway.channels.telephony.carrier import Carrier, Heard, MarkingCarrier, Started, WireFault
from tests.support.gateway.carrier_lines import EVERY, Frame, altered, spoken

AGENT = "agt_01m8akq3tz9dznyym70fdyzn4j"
VALUES: list[Any] = [
    *(None, True, -1, 0, 7, 2**53, 10**15, 1e308, 0.5),
    *("", "0", "-1", "9" * 400, "\u0661\u0662", "\0", "x" * 5000, "\u00df"),
    *([], [[]], {}, {"": None}, ["x"] * 300, {"event": "start"}),
]


def opened(carrier: type[Carrier], *, started: bool = False) -> Carrier:
    words = spoken(carrier, AGENT)
    made = carrier()
    for frame in [*([words.first] if words.first else []), *(words.opening if started else [])]:
        made.parse(frame)
    return made


def check(made: Carrier, frame: Frame) -> None:
    """It is taken or refused, and what is heard are whole samples."""
    try:
        events = made.parse(frame)
    except WireFault:
        return
    for event in events:
        assert not isinstance(event, Heard) or len(event.pcm) % 2 == 0
        if isinstance(event, Started):
            made.media(bytes(made.frame_ms * made.output_rate // 500))


@pytest.mark.parametrize("carrier", EVERY, ids=lambda carrier: carrier.name)
def test_each_member_may_be_anything(carrier: type[Carrier]) -> None:
    words = spoken(carrier, AGENT)
    for frame in words.opening:
        for other in altered(frame, VALUES):
            check(opened(carrier), other)
    made = opened(carrier, started=True)
    for frame in (words.audio, words.key):
        for other in altered(frame, VALUES):
            check(made, other)
    for other in altered(words.end, VALUES) if words.end is not None else []:
        check(opened(carrier, started=True), other)


@pytest.mark.parametrize("carrier", EVERY, ids=lambda carrier: carrier.name)
def test_bytes_may_be_any(carrier: type[Carrier]) -> None:
    words = spoken(carrier, AGENT)
    dice = random.Random(11)
    own = [*words.opening, words.audio, words.key, *([words.end] if words.end else [])]
    for frame in own:
        data = frame.encode() if isinstance(frame, str) else frame
        for _ in range(100):
            cut = bytearray(data[: dice.randrange(len(data) + 1)])
            for _ in range(min(len(cut), dice.randrange(4))):
                cut[dice.randrange(len(cut))] = dice.randrange(256)
            for started in (False, True):
                check(opened(carrier, started=started), bytes(cut))
                check(opened(carrier, started=started), cut.decode("latin-1"))


@pytest.mark.parametrize("carrier", EVERY, ids=lambda carrier: carrier.name)
def test_a_carrier_that_returns_marks_can_be_sent_one(carrier: type[Carrier]) -> None:
    made = opened(carrier, started=True)
    assert isinstance(made, MarkingCarrier) is hasattr(made, "mark")
    if isinstance(made, MarkingCarrier):
        assert "blab-1" in str(made.mark("blab-1"))


def test_every_carrier_has_its_messages_here() -> None:
    """A new one fails here until they are in ``carrier_lines.OWN``."""
    assert set(CARRIERS) < set(EVERY)
    for carrier in EVERY:
        assert spoken(carrier, AGENT).opening
