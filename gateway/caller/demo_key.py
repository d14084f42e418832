"""The demo page's own way to an ephemeral key: one request, no account, localhost only."""

import aiohttp

from gateway.caller.line import LineClosed

REQUEST_SECONDS = 10.0


async def demo_key(url: str) -> str:
    """An ephemeral key from ``POST /demo/session``; raises LineClosed with the server's words."""
    timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(f"{url.rstrip('/')}/demo/session", json={}) as response,
        ):
            if response.status >= 300:
                words = (await response.text())[:300]
                raise LineClosed(f"the server gave no key (HTTP {response.status}): {words}")
            body = await response.json()
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise LineClosed(f"no server answers at {url}: {error or 'timeout'}") from error
    secret = body.get("client_secret", body)
    key = secret.get("value") if isinstance(secret, dict) else secret
    if not isinstance(key, str):
        raise LineClosed("the server's answer to POST /demo/session holds no key")
    return key
