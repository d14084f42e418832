"""A recording as a call of one turn: the same core, without real-time waits."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from pipelines.engines.base import EngineFailed
from pipelines.engines.scripted.live import Fault, ScriptedEngines, scripted_engines, tone_of
from sessions.core.config import SessionConfig
from sessions.core.items import Message, ReplyStatus
from sessions.core.prompt import composed
from sessions.host import CallRequest, SessionHost
from sessions.recorded_channel import OUTPUT_RATE, RECORDED, RecordedChannel, RecordedTurn
from sessions.speech import call_input
from tests.support.sessions.scripted_call import scripted_speech

from .test_host import Node

CONFIG = SessionConfig(instructions="Be brief.", turn_detection=RECORDED)


class Spoken:
    """One turn that was taken, and what came of it."""

    def __init__(
        self, engines: ScriptedEngines, seconds: tuple[float, ...] = (0.6,),
        history: tuple[Message, ...] = (), **changes: Any,
    ) -> None:  # fmt: skip
        self.node = Node(engines)
        self.turn = RecordedTurn()
        self.channel = RecordedChannel(
            [scripted_speech(one) for one in seconds], history, self.turn
        )
        self.request = CallRequest("call_1", "ws_1", None, replace(CONFIG, **changes))
        self.reason = ""

    async def run(self) -> "Spoken":
        host: SessionHost = self.node.host
        before = asyncio.all_tasks()
        async with asyncio.timeout(10):
            self.reason = await host.run(self.request, self.channel, self.turn, self.turn)
        assert not asyncio.all_tasks() - before
        assert host.active == 0
        return self


def busy(engines: ScriptedEngines) -> tuple[int, int, int]:
    return (engines.ears.opened, engines.chat_model.running, engines.voice.running)


async def test_a_recording_is_answered_and_all_of_it_counts_as_heard() -> None:
    engines = scripted_engines(answers=("One two three. Four five.",), frequency=500)
    began = asyncio.get_running_loop().time()
    spoken = await Spoken(engines).run()
    assert asyncio.get_running_loop().time() - began < 1.0  # the reply alone lasts 1.25 s
    assert spoken.reason == "peer_gone"
    assert (spoken.turn.user_text, spoken.turn.fault) == ("hello there", None)
    record = spoken.turn.reply
    assert record is not None
    assert (record.reply_text, record.heard_text) == ("One two three. Four five.",) * 2
    assert (record.status, record.interrupted) == (ReplyStatus.COMPLETED, False)
    assert record.latency is not None
    assert record.usage[1] == 5
    pcm = bytes(spoken.channel.reply)
    assert len(pcm) // 2 == pytest.approx(1.25 * OUTPUT_RATE, abs=100)
    assert tone_of(pcm, OUTPUT_RATE) == pytest.approx(500, abs=2)
    assert busy(engines) == (0, 0, 0)


async def test_the_host_keeps_it_out_of_its_own_journal() -> None:
    spoken = await Spoken(scripted_engines()).run()
    told = [what for what, _ in spoken.node.shared.log]
    assert (told[0], told[-1]) == ("registered", "ended")
    assert not {"opened", "closed"} & set(told)
    assert spoken.node.shared.turns == []
    assert spoken.node.ended == [("rest", "peer_gone")]


async def test_earlier_turns_are_the_history() -> None:
    engines = scripted_engines()
    history = (Message("user", "I am Ann."), Message("assistant", "Hello Ann."))
    await Spoken(engines, history=history).run()
    [asked] = engines.chat_model.asked
    assert [(message.role, message.content) for message in asked] == [
        ("system", composed(CONFIG)),
        ("user", "I am Ann."),
        ("assistant", "Hello Ann."),
        ("user", "hello there"),
    ]


@pytest.mark.parametrize("heard", ["", " ... "])
async def test_a_recording_without_words_is_no_turn(heard: str) -> None:
    engines = scripted_engines(hears=(heard,))
    spoken = await Spoken(engines).run()
    assert (spoken.turn.user_text.strip(" ."), spoken.turn.fault) == ("", None)
    assert spoken.turn.reply is None
    assert busy(engines) == (0, 0, 0)


@pytest.mark.parametrize("at", [0, 3])
async def test_a_chat_model_that_fails_is_the_turns_fault(at: int) -> None:
    engines = scripted_engines(answers=("One two. Three four.",))
    engines.chat_model.fault = Fault(EngineFailed("broken"), at=at)
    spoken = await Spoken(engines).run()
    fault = spoken.turn.fault
    assert fault is not None
    assert (fault.code, fault.message) == ("PROVIDER_ERROR", "broken")
    assert busy(engines) == (0, 0, 0)


async def test_a_failing_voice_is_the_turns_fault_and_no_apology_is_stored() -> None:
    engines = scripted_engines(answers=("One two three.",))
    engines.voice.fault = Fault(EngineFailed("hoarse"))
    spoken = await Spoken(engines).run()
    assert spoken.turn.fault is not None
    assert spoken.turn.fault.message == "hoarse"
    assert spoken.channel.reply == b""


async def test_a_failing_recogniser_is_the_turns_fault() -> None:
    engines = scripted_engines(hears=("",))
    engines.ears.fault = Fault(EngineFailed("deaf"))
    spoken = await Spoken(engines).run()
    assert spoken.turn.fault is not None
    assert spoken.turn.fault.message == "deaf"
    assert spoken.turn.reply is None


async def test_an_unknown_model_is_the_turns_fault() -> None:
    engines = scripted_engines()
    engines.absent = frozenset({"nobody"})
    spoken = await Spoken(engines, model="nobody").run()
    assert spoken.turn.fault is not None
    assert spoken.turn.fault.code == "MODEL_UNAVAILABLE"


@pytest.mark.parametrize("first", ["the first minute", ""])
@pytest.mark.parametrize("seconds", [(0.6, 0.4), (61.0,)])
async def test_a_long_recording_is_one_turn(
    first: str, seconds: tuple[float, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_input, "PACE", 1e6)
    engines = scripted_engines(hears=(first, "and the rest"), answers=("Fine.",))
    spoken = await Spoken(engines, seconds=seconds).run()
    assert spoken.turn.user_text == f"{first} and the rest".strip()
    record = spoken.turn.reply
    assert record is not None
    assert record.reply_text == "Fine."
    assert [m.content for m in engines.chat_model.asked[0] if m.role == "user"] == [
        f"{first}\nand the rest".strip()
    ]
    assert len(engines.chat_model.asked) == 1


async def test_hanging_up_ends_it() -> None:
    engines = scripted_engines()
    asked, hold = asyncio.Event(), asyncio.Event()

    async def wait(_: float) -> None:
        asked.set()
        await hold.wait()

    engines.chat_model.delay = wait
    spoken = Spoken(engines)
    task = asyncio.create_task(spoken.run())
    async with asyncio.timeout(5):
        await asked.wait()
    await spoken.node.host.drain(0)
    await task
    assert spoken.reason == "server_shutdown"
    assert busy(engines) == (0, 0, 0)
