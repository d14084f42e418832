"""aiortc is the pinned version, and our parts replace its own."""

import aiortc
import pytest

from gateway.channels.webrtc.channel import WebRTCChannel
from gateway.channels.webrtc.peer import TESTED_AIORTC, Network, _replace
from tests.support.gateway.webrtc_client import LOOPBACK


def test_aiortc_is_the_pinned_version():
    assert aiortc.__version__ == TESTED_AIORTC


async def test_our_parts_replace_aiortcs():
    channel = WebRTCChannel(LOOPBACK)
    peer = channel._peer
    transceiver = peer._transceiver
    assert type(transceiver.receiver).__module__.startswith("gateway.")
    transport = transceiver.receiver.transport.transport
    assert transport._connection is transport.iceGatherer._connection is peer._ice
    assert transport._recv == peer._ice.recv
    assert transceiver.sender.track is channel._track
    await channel.close("test")


def test_a_part_that_aiortc_no_longer_has_is_named():
    with pytest.raises(RuntimeError, match=r"object\._gone.*written for 1\.16\.0"):
        _replace(object(), "_gone", 1)


def test_a_network_counts_from_another_moment_on() -> None:
    before = Network(received=100, lost=5, sent_received=90, sent_lost=2)
    now = Network(150, 3, 0.01, 140, 4, 0.02, 0.05)
    assert now.since(before) == Network(50, 0, 0.01, 50, 2, 0.02, 0.05)
