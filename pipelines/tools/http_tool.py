"""call_http: a tool that is one HTTP request to a customer's address.

The arguments, a JSON object, go into the query of a GET or DELETE, else into the body as JSON. The
answer's text is the output, at most ``MAX_OUTPUT`` characters of it; any status but 2xx fails.
"""

import json
from collections.abc import Mapping
from typing import Any

from aiohttp import ClientResponse
from yarl import URL

from pipelines.engines.base import EngineFailed
from pipelines.ssrf import CustomerHttp, Undelivered, UrlRefused

MAX_OUTPUT = 16_384
_BODILESS = ("GET", "DELETE")


async def call_http(
    http: CustomerHttp, method: str, url: str, headers: Mapping[str, str], arguments: dict[str, Any]
) -> str:
    """What came back; raises EngineFailed with words that are safe to show."""
    sent = {"Accept": "application/json, text/plain;q=0.9, */*;q=0.1", **headers}
    body: bytes | None = None
    try:
        if method in _BODILESS:
            url = str(URL(url).update_query({name: _plain(v) for name, v in arguments.items()}))
        else:
            body = json.dumps(arguments, ensure_ascii=False).encode()
            sent = {"Content-Type": "application/json", **sent}
        async with http.open(method, url, headers=sent, body=body) as response:
            text = await _text(response)
            if not 200 <= response.status < 300:
                raise EngineFailed(f"The tool answered with status {response.status}. {text[:500]}")
            return text
    except (UrlRefused, Undelivered) as error:
        raise EngineFailed(str(error)) from error
    except (ValueError, UnicodeError) as error:
        raise EngineFailed("The tool's request could not be made of these arguments.") from error


async def _text(response: ClientResponse) -> str:
    read = bytearray()
    async for piece in response.content.iter_any():
        read += piece
        if len(read) > 4 * MAX_OUTPUT:
            break
    return read.decode("utf-8", "replace")[:MAX_OUTPUT]


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
