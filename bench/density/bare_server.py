"""The floor: a WebSocket of aiohttp's, µ-law by table, an answer after 200 ms below a level.

    python -m bench.density.bare_server PORT CORE

No voice activity detection, no turn taking, no framework: what the socket and the JSON cost.
"""

import asyncio
import base64
import json
import os
import sys
import time

import uvloop
from aiohttp import web

from bench.density.callers import is_loud
from media.g711 import decode_ulaw, encode_ulaw
from pipelines.engines.scripted.live import tone

TONE = encode_ulaw(tone(440, 4_000, 8_000))
SILENT_FRAMES = 10


async def play(ws: web.WebSocketResponse, sid: str) -> None:
    began = time.monotonic()
    for at in range(0, len(TONE), 160):
        payload = base64.b64encode(TONE[at : at + 160]).decode()
        await ws.send_str(
            f'{{"event":"media","streamSid":"{sid}","media":{{"payload":"{payload}"}}}}'
        )
        await asyncio.sleep(max(0.0, began + (at / 160 + 1) * 0.02 - time.monotonic()))


async def answer(request: web.Request) -> web.StreamResponse:
    ws = web.WebSocketResponse(compress=False)
    await ws.prepare(request)
    sid, loud, silent, playing = "", False, 0, None
    async for message in ws:
        event = json.loads(message.data)
        if event["event"] == "start":
            sid = event["start"]["streamSid"]
        elif event["event"] == "media":
            if is_loud(decode_ulaw(base64.b64decode(event["media"]["payload"]))):
                loud, silent = True, 0
            elif loud:
                silent += 1
                if silent >= SILENT_FRAMES:
                    loud = False
                    playing = asyncio.create_task(play(ws, sid))
    if playing is not None:
        playing.cancel()
    return ws


async def ready(_request: web.Request) -> web.Response:
    return web.json_response({})


async def serve(port: int) -> None:
    app = web.Application()
    app.add_routes([web.get("/ws", answer), web.get("/readyz", ready)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


def main() -> None:
    port, core = sys.argv[1:]
    os.sched_setaffinity(0, {int(core)})
    uvloop.run(serve(int(port)))


if __name__ == "__main__":
    main()
