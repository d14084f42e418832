"""Two nodes behind HAProxy are restarted one after the other while people talk."""

import asyncio
import sys
from collections import Counter
from itertools import pairwise

import pytest

from bench.cluster.__main__ import stored_turns
from bench.cluster.callers import Caller, run_all
from bench.cluster.nodes import cluster
from gateway.services import ServiceUrls
from tests.integration.test_proxies import program
from tests.support.gateway.scripted_node import MODULE
from tests.support.gateway.scripted_processes import eventually

pytestmark = [pytest.mark.alone, pytest.mark.slow, pytest.mark.timeout(300)]

CALLS = 24


async def test_a_rolling_restart_loses_no_call_and_doubles_no_turn(
    own_database_url: str, redis_url: str
) -> None:
    program("haproxy")
    callers: list[Caller] = []
    over = asyncio.Event()
    urls, command = ServiceUrls(own_database_url, redis_url), (sys.executable, "-m", MODULE)
    async with cluster(2, 1, 2 * CALLS, urls, command=command) as running:
        load = asyncio.create_task(
            run_all(running.url, running.key, CALLS, over, 6.0, callers=callers)
        )
        try:
            await eventually(lambda: callers and all(caller.answers for caller in callers))
            for node in running.nodes:
                assert await node.stop() == 0
                await node.start()
            asked = [len(caller.answers) for caller in callers]
            await eventually(
                lambda: all(len(c.answers) > n for c, n in zip(callers, asked, strict=True))
            )
        finally:
            over.set()
            await load
        stored = await stored_turns(own_database_url)
    assert [caller.lost for caller in callers if caller.lost] == []
    assert all(caller.cuts for caller in callers), "each was on a node that stopped"
    assert [cut for caller in callers for cut in caller.cuts if cut.speaking] == []
    assert not any(b <= a for caller in callers for a, b in pairwise(caller.answers))
    assert [fault for caller in callers for fault in caller.faults] == []
    assert len(stored) == CALLS
    doubled = [count for turns in stored.values() for count in Counter(turns).values() if count > 1]
    assert doubled == []
