"""Conversations: found, held by one turn at a time, stored whole or not at all."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from rest.agents import conversations as module
from rest.agents.conversations import HISTORY_TURNS, Conversation, Conversations
from rest.http.errors import NotFound, WrongState
from sessions.core.commands import RecordTurn
from sessions.core.items import Message, ReplyStatus
from sessions.persistence import stored_turn
from store.bus import Bus
from store.database import Database
from store.errors import BusUnavailable
from store.tenants.agents import Agent, Agents, NewAgent
from store.tenants.calls import Calls, NewTurn, Turns
from tests.support.pipelines.job_support import new_workspace


async def book(*_: Any) -> None:
    """Nothing is billed here."""


@pytest.fixture
async def agent(database: Database) -> Agent:
    return await Agents(database).create(await new_workspace(database), NewAgent("Ann"))


@pytest.fixture
async def conversations(database: Database, redis: Bus) -> AsyncIterator[Conversations]:
    before = asyncio.all_tasks()
    yield Conversations(database, redis, "node_a", book, wait_seconds=0.2)
    assert not {task for task in asyncio.all_tasks() - before if "_keep" in repr(task)}


def a_turn(number: int, user: str = "hi", reply: str = "Hello.") -> NewTurn:
    record = RecordTurn(
        turn=number,
        user_text=user,
        reply_text=reply,
        heard_text=reply,
        interrupted=False,
        status=ReplyStatus.COMPLETED,
        latency=None,
    )
    return stored_turn(record)


async def say(conversations: Conversations, agent: Agent, known: str | None = None) -> str:
    async with conversations.turn(agent.workspace_id, agent.id, known) as conversation:
        turn = a_turn(conversation.next_number)
        await conversations.store(agent.workspace_id, agent.id, conversation, turn, {})
        return conversation.id


async def test_a_conversation_begins_and_continues(
    conversations: Conversations, agent: Agent, database: Database
) -> None:
    first = await say(conversations, agent)
    assert await say(conversations, agent, first) == first
    async with conversations.turn(agent.workspace_id, agent.id, first) as conversation:
        assert conversation.next_number == 3
        assert conversation.history == (
            Message("user", "hi"),
            Message("assistant", "Hello."),
            Message("user", "hi"),
            Message("assistant", "Hello."),
        )
    call = await Calls(database).get(agent.workspace_id, first)
    assert call is not None
    assert (call.node_id, call.channel, call.end_reason) == ("node_a", "rest", "turn_ended")


async def test_the_history_is_the_last_turns_without_what_was_not_heard() -> None:
    heard = RecordTurn(
        turn=1,
        user_text="hi",
        reply_text="Hello. Bye.",
        heard_text="",
        interrupted=True,
        status=ReplyStatus.CANCELLED,
        latency=None,
    )
    turn: Any = stored_turn(heard)
    moment = turn.created_at
    assert Conversation("call_1", moment, (turn,)).history == (Message("user", "hi"),)
    assert Conversation("call_1", moment).next_number == 1


async def test_only_so_much_of_the_past_is_read(conversations: Conversations, agent: Agent) -> None:
    known = await say(conversations, agent)
    for _ in range(HISTORY_TURNS + 2):
        await say(conversations, agent, known)
    async with conversations.turn(agent.workspace_id, agent.id, known) as conversation:
        assert len(conversation.turns) == HISTORY_TURNS
        assert conversation.next_number == HISTORY_TURNS + 4


async def test_one_turn_at_a_time_across_nodes(
    conversations: Conversations, agent: Agent, database: Database, redis: Bus
) -> None:
    known = await say(conversations, agent)
    other = Conversations(database, redis, "node_b", book, wait_seconds=5)
    async with conversations.turn(agent.workspace_id, agent.id, known):
        with pytest.raises(WrongState) as refused:
            await say(conversations, agent, known)
        assert (refused.value.reason, refused.value.retry_after) == ("conversation_busy", 1)
        waiting = asyncio.create_task(say(other, agent, known))
        await asyncio.sleep(0)
        assert not waiting.done()
    assert await waiting == known


async def test_a_dead_node_blocks_nobody_for_long(
    conversations: Conversations, agent: Agent, redis: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = await say(conversations, agent)
    assert await redis.lease_acquire(f"conversation:{known}:turn", "the dead", 0.1)
    assert await say(conversations, agent, known) == known


async def test_a_long_turn_keeps_its_lease(
    conversations: Conversations, agent: Agent, redis: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LEASE_SECONDS", 0.15)
    known = await say(conversations, agent)
    async with conversations.turn(agent.workspace_id, agent.id, known):
        with pytest.raises(WrongState):  # it waits longer than a lease lives
            await say(conversations, agent, known)


async def test_new_conversations_begin_without_the_bus(database: Database, agent: Agent) -> None:
    away = Bus("unix:///nowhere/valkey.sock")
    conversations = Conversations(database, away, "node_a", book)
    known = await say(conversations, agent)
    with pytest.raises(BusUnavailable):
        await say(conversations, agent, known)
    await away.close()


async def test_a_turn_is_stored_whole_or_not_at_all(
    database: Database, redis: Bus, agent: Agent
) -> None:
    async def refuse(*_: Any) -> None:
        raise NotFound("no")

    conversations = Conversations(database, redis, "node_a", refuse)
    with pytest.raises(NotFound):
        await say(conversations, agent)
    assert await Turns(database).list_of_agent(agent.workspace_id, agent.id) == []
    assert await Calls(database).list(agent.workspace_id) == []
