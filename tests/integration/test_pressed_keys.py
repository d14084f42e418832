"""Keys that a caller without a telephone presses: the client event over both channels."""

import time
from typing import Any

from tests.support.gateway.protocol_validator import check_stream
from tests.support.gateway.scripted_server import ScriptedServer, server
from tests.support.gateway.webrtc_client import Caller

__all__ = ["server"]

PRESSED = "input_audio_buffer.dtmf_event_received"


def press(digit: str, event_id: str | None = None) -> dict[str, Any]:
    message = {"type": "blab.dtmf", "digit": digit}
    return message if event_id is None else {**message, "event_id": event_id}


def is_refused(error: dict[str, Any]) -> bool:
    fault = error["error"]
    return (fault["code"], fault["param"], fault["event_id"]) == ("invalid_value", "digit", "both")


async def test_keys_over_a_websocket(server: ScriptedServer) -> None:
    async with server.client() as caller:
        await caller.wait_for("session.created")
        begun = int(time.time())
        for message in (press("4"), press("55", "both"), press("#")):
            await caller.send(message)
        last = await caller.wait_for(PRESSED, count=2)
        assert [key["event"] for key in caller.of(PRESSED)] == ["4", "#"]
        assert begun <= last["received_at"] <= time.time()
        assert is_refused(await caller.wait_for("error"))
        assert caller.of("response.created") == []


async def test_keys_over_webrtc(server: ScriptedServer) -> None:
    headers = {"Authorization": f"Bearer {server.key}"}
    async with Caller(server.calls_url, headers=headers) as caller:
        await caller.event("session.created")
        for message in (press("D"), press("55", "both")):
            caller.send(message)
        assert is_refused(await caller.event("error"))
        assert (await caller.event(PRESSED))["event"] == "D"
    check_stream(caller.events)


async def test_a_program_beside_the_call_hears_the_keys_and_presses_some(
    server: ScriptedServer,
) -> None:
    async with server.client() as caller:
        await caller.wait_for("session.created")
        query = f"call_id={server.app_calls()[0]}"
        async with server.client(query=query) as sideband:
            await caller.send(press("7"))
            assert (await sideband.wait_for(PRESSED))["event"] == "7"
            await sideband.send(press("8"))
            assert (await caller.wait_for(PRESSED, count=2))["event"] == "8"
