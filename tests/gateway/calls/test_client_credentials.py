"""GET /v1/realtime/ice_servers: relays for browsers, with credentials that expire."""

from pathlib import Path

import aiohttp

from gateway.services import ServiceUrls
from gateway.settings.parsers import IceServer
from store.database import Database
from tests.support.gateway.scripted_server import running_node


async def test_every_caller_gets_the_turn_servers(
    database: Database, own_database_url: str, redis_url: str, tmp_path: Path
) -> None:
    servers = (
        IceServer("stun:127.0.0.1:9", None, None),
        IceServer("turn:127.0.0.1:9", None, None),
    )
    urls = ServiceUrls(own_database_url, redis_url)
    node_of = running_node(database, urls, tmp_path, ice_servers=servers, turn_secret="north")
    async with node_of as node, aiohttp.ClientSession() as http:
        url = f"{node.url}/v1/realtime/ice_servers"
        async with http.get(url) as answer:
            assert answer.status == 401
        async with http.options(url) as answer:
            assert answer.status == 204
            assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]
        async with http.get(url, headers={"Authorization": f"Bearer {node.key}"}) as answer:
            assert answer.status == 200
            assert answer.headers["Access-Control-Allow-Origin"] == "*"
            listed = await answer.json()
    stun, turn = listed["ice_servers"]
    assert stun == {"urls": ["stun:127.0.0.1:9"]}
    assert turn["username"].startswith(str(listed["expires_at"]))
    assert turn["urls"] == ["turn:127.0.0.1:9"]
    assert "north" not in str(listed)
