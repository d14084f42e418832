"""The recipe "A carrier" of docs/extending.md, carried out in a copy of the checkout."""

from pathlib import Path

import pytest

from tests.support.scratch_copy import ScratchCopy, blocks_of, recipe

CALL = '''
"""A call over the new carrier's stream."""

import asyncio
import base64
import json

from websockets.asyncio.client import connect

from media.g711 import encode_ulaw
from pipelines.engines.scripted.live import tone
from tests.integration.test_telephony_calls import new_agent
from tests.support.gateway.scripted_server import ScriptedServer, server

__all__ = ["server"]


async def test_the_new_carrier_is_answered(server: ScriptedServer) -> None:
    url = f"{server.ws_url}/api/agents/{await new_agent(server)}/acme/{server.key}"
    said = encode_ulaw(tone(440, 4_000, 8_000) + bytes(48_000))
    async with connect(url) as line, asyncio.timeout(10):
        start = {"stream": "s", "call": "c", "format": {"encoding": "ulaw"}}
        await line.send(json.dumps({"event": "start", "start": start, "stream": "s"}))
        for at in range(0, len(said), 160):
            payload = base64.b64encode(said[at : at + 160]).decode()
            media = {"event": "media", "stream": "s", "media": {"payload": payload}}
            await line.send(json.dumps(media))
        first = json.loads(await line.recv())
    assert (first["event"], first["stream"]) == ("media", "s")
'''


@pytest.mark.slow
def test_a_carrier_is_one_file_and_its_name(tmp_path: Path) -> None:
    copy = ScratchCopy(tmp_path / "blab")
    (code,) = blocks_of(recipe("A carrier"))
    (copy.root / "gateway" / "channels" / "telephony" / "acme.py").write_text(code)
    calls = "gateway/calls/telephony.py"
    copy.replace(calls, "CARRIERS: tuple[type[Carrier], ...] = (", IMPORTED)
    (copy.root / "tests" / "integration" / "test_acme.py").write_text(CALL)
    done = copy.run(
        "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", "tests/integration/test_acme.py"
    )
    assert done.returncode == 0, done.stdout + done.stderr


IMPORTED = """from gateway.channels.telephony.acme import Acme

CARRIERS: tuple[type[Carrier], ...] = (
    Acme,
"""
