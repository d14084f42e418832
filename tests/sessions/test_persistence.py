import os
import signal
import time

import pytest

from sessions.core.commands import RecordTurn
from sessions.core.config import Extension, SessionConfig
from sessions.core.items import ReplyStatus
from sessions.core.notices import Latency
from sessions.persistence import CallJournal, OpenedCall
from store.database import Database
from store.errors import DatabaseUnavailable
from store.ids import new_id
from store.migrate import migrate
from store.tenants.accounts import LOCAL_WORKSPACE, Workspaces
from store.tenants.agents import Agents
from store.tenants.calls import Calls, Turns
from tests.support.services import eventually


@pytest.fixture
async def workspace_id(database):
    return (await Workspaces(database).ensure_local_workspace()).id


@pytest.fixture
async def journal(database):
    journal = CallJournal(database, "node_a")
    journal.start()
    yield journal
    await journal.stop()


def a_call(agent_id=None):
    config = SessionConfig(instructions="Be brief.", extensions=frozenset({Extension.LATENCY}))
    return OpenedCall(new_id("call"), LOCAL_WORKSPACE, agent_id, "websocket", config)


def a_turn(number=1, **changes):
    values = {
        "turn": number,
        "user_text": "what time is it",
        "reply_text": "It is noon. Anything else?",
        "heard_text": "It is noon.",
        "interrupted": True,
        "status": ReplyStatus.CANCELLED,
        "latency": Latency(number, "resp_1", 210, 95, 140, 31, 4, 480),
        "usage": (50, 9),
    }
    return RecordTurn(**(values | changes))


async def test_a_call_is_stored_as_it_happened(journal, database, workspace_id):
    agent = await Agents(database).ensure_default_agent(workspace_id)
    call = a_call(agent.id)
    journal.opened(call)
    journal.record(workspace_id, call.call_id, a_turn(1))
    journal.record(workspace_id, call.call_id, a_turn(2, latency=None, usage=(0, 0)))
    journal.closed(call.workspace_id, call.call_id, "hangup")
    journal.closed(call.workspace_id, call.call_id, "twice")
    await journal.stop()
    stored = await Calls(database).get(workspace_id, call.call_id)
    assert stored is not None
    assert (stored.agent_id, stored.node_id, stored.end_reason) == (agent.id, "node_a", "hangup")
    assert stored.config["instructions"] == "Be brief."
    assert stored.config["turn_detection"]["mode"] == "semantic_vad"
    assert stored.config["extensions"] == ["latency"]
    first, second = await Turns(database).list_of_call(workspace_id, call.call_id)
    assert first.heard_text == "It is noon."
    assert first.reply_text == "It is noon. Anything else?"
    assert (first.endpointing_ms, first.gateway_ms, first.total_ms) == (210, 4, 480)
    assert (first.interrupted, first.status, first.prompt_tokens) == (True, "cancelled", 50)
    assert (second.number, second.stt_ms, second.agent_id) == (2, None, agent.id)
    assert journal.dropped == 0


async def test_a_turn_is_billed_once_and_only_if_stored(database, workspace_id):
    booked = []

    async def book(connection, workspace_id, call_id, turn):
        assert turn.id in {one.id for one in await Turns(connection).list_of_call(*call)}
        booked.append((workspace_id, call_id, turn.number, turn.prompt_tokens))
        if len(booked) == 1:
            raise DatabaseUnavailable("just now")

    journal, opened = CallJournal(database, "node_a", book=book), a_call()
    call = (workspace_id, opened.call_id)
    journal.start()
    journal.opened(opened)
    journal.record(*call, a_turn(1))
    journal.record(workspace_id, "call_absent", a_turn(2))
    await journal.stop()
    assert booked == [(*call, 1, 50)] * 2  # the first time was rolled back
    assert len(await Turns(database).list_of_call(*call)) == 1


async def test_a_refused_record_does_not_stop_the_rest(journal, database, workspace_id, caplog):
    call = a_call()
    journal.opened(OpenedCall(new_id("call"), "ws_absent", None, "webrtc", SessionConfig()))
    journal.opened(call)
    journal.record(workspace_id, call.call_id, a_turn(2**40))
    journal.record(workspace_id, call.call_id, a_turn(3))
    await journal.stop()
    [turn] = await Turns(database).list_of_call(workspace_id, call.call_id)
    assert turn.number == 3
    assert journal.dropped == 2
    assert "could not be stored" in caplog.text
    assert "noon" not in caplog.text


async def test_overflow_drops_the_new_and_never_blocks(database, workspace_id, caplog):
    journal = CallJournal(database, "node_a", queue_entries=3)
    call = a_call()
    journal.opened(call)
    for number in range(1, 6):
        journal.record(workspace_id, call.call_id, a_turn(number))
    assert (journal.waiting, journal.dropped) == (3, 3)
    assert "the journal is full" in caplog.text
    journal.start()
    await journal.stop()
    stored = await Turns(database).list_of_call(workspace_id, call.call_id)
    assert [turn.number for turn in stored] == [1, 2]


async def test_an_outage_delays_and_loses_nothing(own_postgres, caplog):
    database = Database(own_postgres.urls.database_url)
    await database.connect()
    await migrate(database)
    workspace = await Workspaces(database).ensure_local_workspace()
    journal = CallJournal(database, "node_a")
    journal.start()
    call = a_call()
    journal.opened(call)
    pid = own_postgres.pids["postgres"]
    written = 0
    for number in range(1, 401):
        if number == 100:
            os.kill(pid, signal.SIGKILL)
        journal.record(workspace.id, call.call_id, a_turn(number))
        if number > 350 and not written:
            await eventually(lambda: "the journal is waiting for the database" in caplog.text)
            written = number
    journal.closed(call.workspace_id, call.call_id, "hangup")
    await eventually(lambda: journal.waiting == 0)
    stored = await Turns(database).list_of_call(workspace.id, call.call_id)
    assert [turn.number for turn in stored] == list(range(1, 401))
    ended = await Calls(database).get(workspace.id, call.call_id)
    assert ended is not None
    assert ended.end_reason == "hangup"
    assert caplog.text.count("the journal is waiting for the database") <= 3
    await journal.stop()
    await database.close()


async def test_stop_ends_at_its_deadline_and_logs_the_loss(caplog):
    journal = CallJournal(Database("postgresql://x@/x?host=/nowhere"), "node_a")
    journal.start()
    journal.opened(a_call())
    began = time.monotonic()
    await journal.stop(deadline=0.05)
    assert time.monotonic() - began < 1
    assert journal.dropped == 1
    assert "1 journal entries were not written" in caplog.text
