"""``blab doctor --public URL``: a server as its callers reach it, from outside in.

Name, certificate, HTTP through the proxy, a WebSocket that stays open in silence, a stream that
arrives while it is made; then WebRTC's UDP and the TURN servers (``media``). Each finding says what
to change. A key is sent only over a connection that cannot be read on the way: TLS with a valid
certificate, or loopback. Each check has a deadline of its own.
"""

import asyncio
import contextlib
import json
import os
import socket
import ssl
import time
from dataclasses import replace
from ipaddress import ip_address

import aiohttp
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from .findings import Finding, Verdict
from .media import call_over_webrtc, relays
from .target import CONNECT_SECONDS, Target

IDLE_SECONDS = 65.0
"""More than the 60 s after which nginx and most load balancers cut a silent connection."""
STREAM_SECONDS = 60.0
EXPIRY_DAYS = 14.0
REQUEST_ID = "X-Request-Id"
PROXY_TIMEOUTS = (
    "raise the proxy's timeout of silent connections above 30 s (nginx: proxy_read_timeout and "
    "proxy_send_timeout; HAProxy: timeout tunnel; load balancers: idle timeout)"
)


async def public_findings(
    url: str, key: str | None, idle: float, trust: ssl.SSLContext | None = None
) -> list[Finding]:
    """Everything that can be found out from here; ends early where nothing answers."""
    target = Target.of(url, key, trust)
    found, addresses = await name(target)
    target = replace(target, addresses=addresses)
    findings = [found]
    if found.fatal:
        return findings
    findings += await certificate(target)
    if findings[-1].fatal:
        if target.trust is None or not _is_verification(findings[-1]):
            return findings
        target = _distrusted(target)
    findings += await pages(target)
    if any(finding.subject == "http" and finding.fatal for finding in findings):
        return findings
    if target.key is None:
        findings.append(_without_key(key, target))
    later = [websocket(target, idle), streaming(target), call_over_webrtc(target), relays(target)]
    return findings + [one for group in await asyncio.gather(*later) for one in group]


# ------------------------------------------------------------------ name and certificate


async def name(target: Target) -> tuple[Finding, tuple[str, ...]]:
    """The addresses of the server's name."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            entries = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError) as error:
        detail = (
            f"{target.host} does not resolve ({str(error) or 'no answer'}): add an A or AAAA record"
        )
        return Finding("name", Verdict.FAILED, detail), ()
    addresses = tuple(dict.fromkeys(str(entry[4][0]) for entry in entries))
    detail = f"{target.host} is {', '.join(addresses)}"
    private = [address for address in addresses if not ip_address(address).is_global]
    if private:
        detail += f"; {', '.join(private)} cannot be reached from the internet"
    return Finding("name", Verdict.NOTE if private else Verdict.OK, detail), addresses


async def certificate(target: Target) -> list[Finding]:
    """Whether the port answers, and with a certificate that callers accept."""
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(target.host, target.port, ssl=target.trust)
        if target.trust is None:
            return [_without_tls(target)]
        peer, version = writer.get_extra_info("peercert"), writer.get_extra_info("ssl_object")
        return [_validity(peer["notAfter"], version.version())]
    except ssl.SSLCertVerificationError as error:
        detail = (
            f"callers refuse it: {error.verify_message}. Get one from an authority such as "
            "Let's Encrypt, for this name and with its chain"
        )
        return [Finding("certificate", Verdict.FAILED, detail)]
    except ssl.SSLError as error:
        detail = f"port {target.port} does not speak TLS ({error.reason}): is the proxy set up?"
        return [Finding("tls", Verdict.FAILED, detail)]
    except (OSError, TimeoutError) as error:
        reason = os.strerror(error.errno) if error.errno else "no answer"
        detail = (
            f"no connection to {target.host}:{target.port} ({reason}): let TCP {target.port} in "
            "at the firewall, and check that the proxy runs"
        )
        return [Finding("connection", Verdict.FAILED, detail)]
    finally:
        if writer is not None:
            writer.close()


def _validity(not_after: str, version: str) -> Finding:
    days = (ssl.cert_time_to_seconds(not_after) - time.time()) / 86_400
    detail = f"valid for {days:.0f} more days, {version}"
    if days < EXPIRY_DAYS:
        return Finding("certificate", Verdict.SLOW, f"{detail}: renew it, and see why nothing did")
    return Finding("certificate", Verdict.OK, detail)


def _without_tls(target: Target) -> Finding:
    if target.local:
        return Finding("certificate", Verdict.NOTE, "none is needed on loopback")
    detail = (
        "plain HTTP: browsers allow no microphone and anybody on the way can read keys and "
        "speech. Put a TLS proxy in front, or set BLAB_TLS_CERTIFICATE"
    )
    return Finding("certificate", Verdict.SLOW, detail)


def _is_verification(finding: Finding) -> bool:
    return finding.subject == "certificate"


def _distrusted(target: Target) -> Target:
    """The rest is tried without verification, and without the key."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return replace(target, trust=context, key=None)


def _without_key(given: str | None, target: Target) -> Finding:
    if given is not None and target.key is None:
        reason = "the key was not sent, because the connection cannot be trusted"
    else:
        reason = (
            "without --key, calls, streams, UDP and TURN are not tried (`blab key --name NAME`)"
        )
    return Finding("key", Verdict.NOTE, reason)


# ------------------------------------------------------------------ HTTP


async def pages(target: Target) -> list[Finding]:
    """The answers of the pages that everybody may read, and of one that nobody may."""
    findings: list[Finding] = []
    try:
        async with target.http() as http:
            began = time.perf_counter()
            async with http.get("/healthz", allow_redirects=False) as answer:
                findings.append(_health(answer, time.perf_counter() - began))
            if findings[0].fatal:
                return findings
            async with http.get("/readyz") as answer:
                findings.append(_readiness(answer.status, await answer.text()))
            if not target.local:
                async with http.get("/metrics") as answer:
                    findings.append(_metrics(answer.status))
                findings.append(await registration(http))
                findings += await _plain(target, http)
    except (aiohttp.ClientError, TimeoutError) as error:
        detail = f"no answer from {target.url}: {str(error) or 'timeout'}"
        findings.append(Finding("http", Verdict.FAILED, detail))
    return findings


def _health(answer: aiohttp.ClientResponse, seconds: float) -> Finding:
    if answer.status == 200 and REQUEST_ID in answer.headers:
        return Finding("http", Verdict.OK, f"/healthz answers in {seconds * 1000:.0f} ms")
    if answer.status in (502, 503, 504):
        detail = f"the proxy reaches no Blab (HTTP {answer.status}): does it run, at that address?"
    elif answer.status in (301, 302, 307, 308):
        detail = f"redirected to {answer.headers.get('Location')}: use that address"
    else:
        detail = f"something that is not Blab answers /healthz (HTTP {answer.status})"
    return Finding("http", Verdict.FAILED, detail)


def _readiness(status: int, body: str) -> Finding:
    if status == 200:
        return Finding("ready", Verdict.OK, "calls are answered")
    with contextlib.suppress(ValueError, AttributeError):
        return Finding(
            "ready", Verdict.MISSING, f"no call is answered: {json.loads(body)['detail']}"
        )
    return Finding("ready", Verdict.MISSING, f"/readyz answers HTTP {status}")


def _metrics(status: int) -> Finding:
    if status != 200:
        return Finding("metrics", Verdict.OK, f"closed to strangers (HTTP {status})")
    detail = (
        "anybody can read /metrics: the proxy on Blab's machine must send X-Forwarded-For, or "
        "block the path"
    )
    return Finding("metrics", Verdict.FAILED, detail)


async def registration(http: aiohttp.ClientSession) -> Finding:
    """Whether strangers may create accounts; the address sent is none, so this makes no account."""
    body = {"email": "nobody", "password": "not-a-real-password", "name": "Doctor"}
    async with http.post("/api/auth/register", json=body) as answer:
        if answer.status == 400:
            detail = "anybody may create an account; BLAB_REGISTRATION=closed ends that"
            return Finding("accounts", Verdict.NOTE, detail)
        return Finding("accounts", Verdict.OK, f"closed to strangers (HTTP {answer.status})")


async def _plain(target: Target, http: aiohttp.ClientSession) -> list[Finding]:
    """Whether http:// leads to https://."""
    if target.trust is None or target.port != 443:
        return []
    try:
        async with http.get(f"http://{target.host}/healthz", allow_redirects=False) as answer:
            if answer.headers.get("Location", "").startswith("https://"):
                return [Finding("redirect", Verdict.OK, "http:// leads to https://")]
            detail = "http:// answers too, and keys sent there can be read: redirect it"
            return [Finding("redirect", Verdict.SLOW, detail)]
    except (aiohttp.ClientError, TimeoutError):
        return [Finding("redirect", Verdict.NOTE, "nothing answers on port 80")]


# ------------------------------------------------------------------ WebSocket


async def websocket(target: Target, idle: float) -> list[Finding]:
    """A call that stays silent for ``idle`` seconds; without a key, one that is refused."""
    address = f"{target.url.replace('http', 'ws', 1)}/v1/realtime?model=default"
    began = time.perf_counter()
    try:
        async with connect(
            address,
            additional_headers=target.headers,
            ssl=target.trust,
            ping_interval=None,
            open_timeout=CONNECT_SECONDS,
            close_timeout=2,
        ) as connection:
            return await _silence(connection, idle, time.perf_counter() - began)
    except InvalidStatus as error:
        body = (error.response.body or b"").decode(errors="replace")
        return [_refused(target, error.response.status_code, body)]
    except (OSError, InvalidHandshake, TimeoutError) as error:
        detail = f"no connection: {str(error) or 'no answer'}. Does the proxy pass WebSockets on?"
        return [Finding("websocket", Verdict.FAILED, detail)]


async def _silence(connection: ClientConnection, idle: float, opened: float) -> list[Finding]:
    began = time.monotonic()
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await connection.recv()
            answered = await connection.ping()
            round_trip = await answered
        findings = [
            Finding(
                "websocket",
                Verdict.OK,
                f"open in {opened * 1000:.0f} ms, a ping and its answer take "
                f"{round_trip * 1000:.0f} ms",
            )
        ]
        began = time.monotonic()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(idle):
                while True:
                    await connection.recv()
        async with asyncio.timeout(CONNECT_SECONDS):
            await (await connection.ping())
    except ConnectionClosed as error:
        frame = error.rcvd
        reason = f"{frame.code} {frame.reason}".strip() if frame else "without a word"
        detail = f"closed after {time.monotonic() - began:.0f} s of silence ({reason}): "
        return [Finding("websocket", Verdict.FAILED, detail + PROXY_TIMEOUTS)]
    except TimeoutError:
        detail = f"no answer after {time.monotonic() - began:.0f} s: {PROXY_TIMEOUTS}"
        return [Finding("websocket", Verdict.FAILED, detail)]
    return [*findings, Finding("silence", Verdict.OK, f"a silent call stays open for {idle:.0f} s")]


def _refused(target: Target, status: int, body: str) -> Finding:
    code = ""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        code = json.loads(body)["error"]["code"]
    if status == 401 and code and not target.key:
        return Finding("websocket", Verdict.OK, "the upgrade reaches Blab, which wants a key")
    if status == 426 or code == "upgrade_required":
        detail = (
            "the proxy does not pass the upgrade on (nginx: proxy_http_version 1.1 and the headers "
            "Upgrade and Connection; see deploy/nginx.conf)"
        )
    elif code:
        detail = f"Blab refuses the call: HTTP {status}, {code}"
    else:
        detail = f"the proxy refuses the upgrade: HTTP {status}"
    return Finding("websocket", Verdict.FAILED, detail)


# ------------------------------------------------------------------ streams

QUICK_SECONDS = 1.0
"""An answer that is complete by then may have been made as quickly."""
QUESTION = "Count from one to thirty in words."


async def streaming(target: Target) -> list[Finding]:
    """Whether events arrive one by one, or all at once from a proxy that collected them."""
    if not target.key:
        return []
    request = {
        "model": "default",
        "stream": True,
        "max_tokens": 60,
        "messages": [{"role": "user", "content": QUESTION}],
    }
    began = time.perf_counter()
    arrivals: list[float] = []
    try:
        async with (
            target.http(STREAM_SECONDS) as http,
            http.post("/v1/chat/completions", json=request, headers=target.headers) as answer,
        ):
            if answer.status != 200:
                detail = f"not tried: HTTP {answer.status} to POST /v1/chat/completions"
                return [Finding("events", Verdict.NOTE, detail)]
            async for _ in answer.content.iter_any():
                arrivals.append(time.perf_counter() - began)
    except (aiohttp.ClientError, TimeoutError) as error:
        detail = f"the stream broke off: {str(error) or 'timeout'}. {PROXY_TIMEOUTS}"
        return [Finding("events", Verdict.FAILED, detail)]
    return [judged(arrivals)]


def judged(arrivals: list[float]) -> Finding:
    """A stream whose bytes arrived at those times (s since the request)."""
    if not arrivals:
        return Finding("events", Verdict.FAILED, "the stream was empty")
    first, last = arrivals[0], arrivals[-1]
    detail = f"the first after {first * 1000:.0f} ms, the last after {last * 1000:.0f} ms"
    if last < QUICK_SECONDS:
        return Finding("events", Verdict.NOTE, f"{detail}: too quick to see whether they wait")
    if last - first < 0.1 * last:
        detail += (
            ": the proxy collects them. Switch its buffering off (nginx: proxy_buffering off; "
            "no gzip for text/event-stream)"
        )
        return Finding("events", Verdict.FAILED, detail)
    return Finding("events", Verdict.OK, detail)
