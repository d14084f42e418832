import asyncio
import contextlib
import os
import signal
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.jobs.usage import Prices, Usage
from sessions import persistence
from sessions.core.commands import RecordTurn
from sessions.core.config import Extension, SessionConfig
from sessions.core.items import ReplyStatus
from sessions.core.notices import Latency
from sessions.persistence import GROUP, CallJournal, OpenedCall
from store.database import Database
from store.errors import DatabaseUnavailable, StoreRefused
from store.ids import new_id
from store.migrate import migrate
from store.tenants.accounts import LOCAL_WORKSPACE, Workspaces
from store.tenants.agents import Agents
from store.tenants.calls import Calls, Turns
from store.tenants.usage import UsageEvents
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


async def test_a_fault_in_booking_costs_its_turn_only(database, workspace_id, caplog):
    async def book(_connection, _workspace_id, _call_id, turn):
        if turn.number == 2:
            raise RuntimeError("at noon")

    journal = CallJournal(database, "node_a", book=book)
    call = a_call()
    journal.opened(call)
    for number in (1, 2, 3):
        journal.record(workspace_id, call.call_id, a_turn(number))
    journal.start()
    await journal.stop()
    stored = await Turns(database).list_of_call(workspace_id, call.call_id)
    assert [turn.number for turn in stored] == [1, 3]
    assert journal.dropped == 1
    assert "RuntimeError" in caplog.text
    assert "noon" not in caplog.text


async def transactions_of_turns(database):
    """How many turns each transaction stored, in order."""
    rows = await database.fetch(
        "SELECT count(*) AS turns FROM turns GROUP BY xmin ORDER BY min(number)"
    )
    return [row["turns"] for row in rows]


async def test_what_waits_is_written_in_groups_in_order(database, workspace_id):
    journal = CallJournal(database, "node_a", book=Usage(database, Prices()).book_turn)
    call = a_call()
    journal.opened(call)
    for number in range(1, 2 * GROUP + 11):
        journal.record(workspace_id, call.call_id, a_turn(number))
    journal.closed(workspace_id, call.call_id, "hangup")
    journal.start()
    await journal.stop()
    stored = await Turns(database).list_of_call(workspace_id, call.call_id)
    assert [turn.number for turn in stored] == list(range(1, 2 * GROUP + 11))
    assert [turn.created_at for turn in stored] == sorted(turn.created_at for turn in stored)
    assert await transactions_of_turns(database) == [GROUP - 1, GROUP, 11]
    assert (await UsageEvents(database).total(workspace_id)).tokens == 59 * len(stored)
    ended = await Calls(database).get(workspace_id, call.call_id)
    assert ended is not None
    assert ended.end_reason == "hangup"


async def test_a_refusal_costs_its_group_nothing_else(database, workspace_id, caplog):
    journal = CallJournal(database, "node_a", book=Usage(database, Prices()).book_turn)
    call = a_call()
    journal.opened(call)
    numbers = [*range(1, 10), 2**40, *range(11, GROUP + 6)]
    for number in numbers:
        journal.record(workspace_id, call.call_id, a_turn(number))
    journal.start()
    await journal.stop()
    stored = await Turns(database).list_of_call(workspace_id, call.call_id)
    assert [turn.number for turn in stored] == [*range(1, 10), *range(11, GROUP + 6)]
    assert await transactions_of_turns(database) == [1] * (GROUP - 2) + [6]
    assert (await UsageEvents(database).total(workspace_id)).tokens == 59 * len(stored)
    assert (journal.dropped, journal.waiting) == (1, 0)
    assert caplog.text.count("journal entries are written one by one") == 1
    assert caplog.text.count("could not be stored") == 1
    assert "noon" not in caplog.text


async def test_an_outage_in_a_group_repeats_the_whole_group(database, workspace_id):
    booked = []

    async def book(_connection, _workspace_id, _call_id, turn):
        booked.append(turn.number)
        if len(booked) == 3:
            raise DatabaseUnavailable("just now")

    journal, call = CallJournal(database, "node_a", book=book), a_call()
    journal.opened(call)
    for number in range(1, 6):
        journal.record(workspace_id, call.call_id, a_turn(number))
    journal.start()
    await journal.stop()
    assert booked == [1, 2, 3, 1, 2, 3, 4, 5]
    assert await transactions_of_turns(database) == [5]


OUTCOMES = st.sampled_from(["stored", "away", "stored, but the answer was lost"])


class FlakyDatabase(Database):
    """Keeps the numbers of turns; its transactions end as given, then well."""

    def __init__(self, outcomes, refused):
        super().__init__("postgresql://x@/x?host=/nowhere")
        self._outcomes = iter(outcomes)
        self._refused = refused
        self.turns = {}
        self.booked = []
        self.sizes = []

    @contextlib.asynccontextmanager
    async def transaction(self):
        outcome = next(self._outcomes, "stored")
        if outcome == "away":
            raise DatabaseUnavailable("away")
        transaction = FlakyTransaction(self.turns, self._refused)
        yield transaction
        self.sizes.append(transaction.statements)
        self.turns, self.booked = transaction.turns, [*self.booked, *transaction.booked]
        if outcome != "stored":
            raise DatabaseUnavailable(outcome)


class FlakyTransaction:
    """What a FlakyDatabase holds once it is committed."""

    def __init__(self, turns, refused):
        self.turns, self._refused = dict(turns), refused
        self.booked = []
        self.statements = 0

    async def execute(self, _query, _workspace_id, _call_id, turn_id, number, *_values):
        await asyncio.sleep(0)
        self.statements += 1
        if number in self._refused:
            raise StoreRefused("Postgres: refused")
        if turn_id in self.turns:
            return "INSERT 0 0"
        self.turns[turn_id] = number
        return "INSERT 0 1"


@given(
    count=st.integers(0, 150),
    refused=st.sets(st.integers(0, 149), max_size=4),
    outcomes=st.lists(OUTCOMES, max_size=20),
    started_after=st.integers(0, 150),
)
def test_every_turn_is_stored_and_booked_once_in_order(count, refused, outcomes, started_after):
    database = FlakyDatabase(outcomes, refused)

    async def book(connection, _workspace_id, _call_id, turn):
        connection.booked.append(turn.number)

    async def write():
        journal = CallJournal(database, "node_a", book=book)
        for number in range(count):
            if number == started_after:
                journal.start()
                await asyncio.sleep(0)
            journal.record("ws", "call", a_turn(number))
        if started_after >= count:
            journal.start()
        await journal.stop()
        assert journal.dropped == len(refused & set(range(count)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(persistence, "_PAUSES", (0.0,))
        asyncio.run(write())
    expected = [number for number in range(count) if number not in refused]
    assert list(database.turns.values()) == expected
    assert database.booked == expected
    assert max(database.sizes, default=0) <= GROUP


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


@pytest.mark.slow
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
