"""The simulated network is as bad as it says, and what the server promises for it holds."""

import itertools
import random

import pytest

from bench.webrtc_loss import AUDIBLE_GAP_MS, FRAME, NETWORKS, Network, journey, simulate

PACKETS = 20_000


def sent_over(network: Network) -> list[float | None]:
    return list(journey(network, PACKETS, random.Random(3)))


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_as_many_packets_are_lost_as_the_network_says_and_in_such_bursts(network):
    arrivals = sent_over(network)
    assert arrivals.count(None) / PACKETS == pytest.approx(network.loss, rel=0.15)
    shortest, longest = network.burst
    bursts = [
        len(list(run)) for lost, run in itertools.groupby(a is None for a in arrivals) if lost
    ]
    if bursts:
        assert min(bursts) == shortest
        assert sorted(bursts)[len(bursts) * 9 // 10] <= longest


@pytest.mark.parametrize("overtaking", [False, True])
def test_jitter_is_bounded_and_overtaking_is_a_choice(overtaking):
    arrivals = sent_over(Network("", loss=0.0, jitter=0.03, overtaking=overtaking))
    times = [at for at in arrivals if at is not None]
    delays = [at - n * FRAME for n, at in enumerate(times)]
    assert 0 <= min(delays) < 0.001 < 0.029 < max(delays) <= 0.03
    assert (times != sorted(times)) == overtaking


def test_nothing_arrives_while_the_network_is_frozen():
    arrivals = sent_over(Network("", loss=0.0, jitter=0.0, freeze=0.2))
    assert not [at for at in arrivals if at is not None and 4.81 < at % 5 < 4.999]
    assert arrivals.count(5.0) >= 9


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS[1:5], ids=lambda network: network.name)
def test_the_server_hears_without_gaps_and_the_caller_needs_less_concealment(network):
    results = simulate(network, rounds=1, seed=11)
    (server,), (caller,) = results.server, results.caller
    (without_fec,) = results.caller_without_fec
    assert max(server.gaps) <= AUDIBLE_GAP_MS
    assert sorted(server.added)[len(server.added) // 2] <= 20
    assert abs(server.drift) <= FRAME * 1000
    # redundancy brings one packet back per burst
    assert sum(caller.gaps) < (0.2 if network.burst == (1, 1) else 0.7) * sum(without_fec.gaps)
