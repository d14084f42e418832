"""The rooms to operate Blab with texts of every kind, as if a server had sent them: long, right to
left, hostile. Nothing leaves the window, and nothing becomes markup."""

import re
from typing import Any

import pytest
from playwright.async_api import Page, Route, expect

from tests.e2e.browser import BrowserPage
from tests.e2e.operating import SIZES, Operated, operated, ready

__all__ = ["operated"]

pytestmark = [pytest.mark.browser, pytest.mark.slow]

LONG = "Überfahrtsgesellschaft" * 40
ARABIC = "مساء الخير، لقد وصلتم إلى فندق الميناء. كيف يمكنني مساعدتكم؟ " * 20
HOSTILE = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"
TEXTS = [LONG, ARABIC, HOSTILE, "a " * 4000, ""]
AT = "2026-11-26T12:00:00.000Z"


def job(number: int, text: str, status: str = "completed") -> dict[str, Any]:
    failed = {"code": "PROVIDER_ERROR", "message": text or "x", "details": None}
    output = {
        "script": text,
        "characters": len(text),
        "audioUrl": "/api/files/a.mp3",
        "durationMs": 1000,
        "format": "mp3",
        "voice": text[:40] or "v",
        "language": "en",
    }
    return {
        "id": f"job_{number:026}",
        "type": "tts",
        "status": status,
        "progress": 100,
        "output": output if status == "completed" else None,
        "error": failed if status == "failed" else None,
        "warnings": [{"code": "x", "message": text, "path": None}],
        "createdAt": AT,
        "startedAt": AT,
        "finishedAt": AT,
    }


JOBS = [job(n, text, status) for n, text in enumerate(TEXTS) for status in ("completed", "failed")]
KEYS = [
    {"id": f"key_{n}", "name": text or "-", "prefix": "blab_sk_abcd", "scopes": [text, "tts:read"]}
    | {"createdAt": AT}
    for n, text in enumerate(TEXTS)
]
HOOK = {
    "id": "wh_1",
    "url": f"https://example.com/{LONG}?q={HOSTILE}",
    "events": ["*", HOSTILE],
    "enabled": True,
    "createdAt": AT,
}
DELIVERIES = [
    {
        "id": f"dlv_{n}",
        "eventId": "evt_1",
        "event": text[:200] or "tts.failed",
        "jobId": "job_1",
        "repeats": "dlv_0" if n else None,
        "attempt": 5 - n,
        "status": "failed",
        "responseStatus": 500,
        "error": text,
        "durationMs": 60_000,
        "nextAttemptAt": None,
        "createdAt": AT,
    }
    for n, text in enumerate(TEXTS)
]
SUM = {"count": 10**9, "tokens": 10**12, "audioMs": 10**12, "cost": 123456.789}
DAYS = [{"day": f"2026-11-{n:02}", **SUM} for n in range(1, 27)]
USAGE = {"byModel": {text or "-": SUM for text in TEXTS}, "byType": {"tts": SUM}, "byDay": DAYS}
ENTRIES = [
    {"id": f"use_{n}", "type": text, "model": text, "createdAt": AT, **SUM}
    for n, text in enumerate(TEXTS)
]
CHECKS = [
    {"name": f"reply_contains {text!r}", "passed": bool(n % 2), "found": repr(text)}
    for n, text in enumerate(TEXTS)
]
LINES = [
    {"said": text, "transcripts": [text], "reply": text, "ttfaMs": 10**6, "cutOffs": 10**6}
    | {"tools": [{"name": text, "arguments": {text: text}}], "stages": {}, "checks": CHECKS}
    for text in TEXTS
]
RUN = {
    "id": "sim_1",
    "agentId": "agt_1",
    "agentName": LONG,
    "agentVersion": 10**6,
    "status": "failed",
    "passed": None,
    "calls": len(TEXTS),
    "repeat": 10,
    "atOnce": 4,
    "summary": {"calls": 10**6, "callsPassed": 10**6, "checks": 10**6, "checksPassed": 10**6}
    | {"lines": 1, "cutOffs": 10**6, "ttfaP50Ms": 10**6, "ttfaP95Ms": 10**6}
    | {"interruptedP50Ms": 10**6, "interruptedP95Ms": 10**6},
    "error": {"code": "x", "message": LONG},
    "createdAt": AT,
    "startedAt": AT,
    "finishedAt": AT,
}
WHOLE_RUN = RUN | {
    "source": None,
    "recordings": {HOSTILE: "key"},
    "scenarios": {
        "scenario": [
            {"name": text or "x", "voice": text, "line": [{"say": [text, 700, text]}]}
            | {"tool": [{"name": text}]}
            for text in TEXTS
        ]
        + [{"name": LONG, "line": [{"audio": HOSTILE, "text": ARABIC}]}]
    },
    "results": [
        {"position": n, "scenario": text or "x", "repetition": 2, "status": "failed"}
        | {"callId": "call_1", "channel": "webrtc", "seconds": 1.0}
        | {"lines": LINES, "checks": CHECKS}
        for n, text in enumerate(TEXTS)
    ],
}
AGENT = {"id": "agt_1", "name": LONG, "version": 3, "updatedAt": AT}
ANSWERS: dict[str, Any] = {
    "/api/agents": [AGENT],
    "/api/simulations": [RUN],
    "/api/simulations/sim_1": WHOLE_RUN,
    "/api/simulations/sim_2": WHOLE_RUN | {"id": "sim_2"},
    "/studio/session": None,
    "/api/jobs": JOBS,
    f"/api/jobs/{JOBS[0]['id']}": JOBS[0],
    f"/api/jobs/{JOBS[3]['id']}": JOBS[3],
    "/api/api-keys": KEYS,
    "/api/webhooks": [HOOK],
    "/api/webhooks/wh_1": HOOK,
    "/api/webhooks/wh_1/deliveries": DELIVERIES,
    "/api/webhooks/wh_1/deliveries/dlv_0": {**DELIVERIES[0], "body": f'{{"a": "{LONG}"}}'},
    "/api/usage": {**SUM, "audioSeconds": 10**9},
    "/api/usage/breakdown": USAGE,
    "/api/usage/events": ENTRIES,
}
ROOMS = {
    "/jobs": ".job",
    f"/jobs/{JOBS[0]['id']}": ".script",
    f"/jobs/{JOBS[3]['id']}": ".why",
    "/keys": ".key-name",
    "/webhooks": ".address",
    "/webhooks/wh_1": ".delivery",
    "/usage": ".entries td",
    "/simulate": ".scenario",
    "/simulate/sim_1": ".turn",
    "/simulate/sim_1?with=sim_2": ".compared td",
    "/usage?by=model": ".usage-table th",
}


async def play(page: Page) -> None:
    """Answer in place of the server."""

    async def answer(route: Route) -> None:
        path = re.sub(r"^https?://[^/]*|\?.*$", "", route.request.url)
        if path == "/studio/session":
            await route.fulfill(json={"value": "ek_mock", "expires_at": 1})
        elif path in ANSWERS:
            meta = {"hasMore": False, "nextCursor": None}
            await route.fulfill(json={"ok": True, "data": ANSWERS[path], "meta": meta})
        else:
            error = {"code": "NOT_FOUND", "message": HOSTILE}
            await route.fulfill(status=404, json={"ok": False, "error": error})

    await page.route("**/api/**", answer)
    await page.route("**/studio/session", answer)


async def test_texts_of_every_kind_stay_in_the_window(
    operated: Operated, browser_page: BrowserPage
) -> None:
    visit = await browser_page()
    page = visit.page
    await play(page)
    for path, part in ROOMS.items():
        await ready(page, operated.url + path)
        await expect(page.locator(part).first).to_be_visible()
        if path == "/webhooks/wh_1":
            await page.locator(".delivery summary").first.click()
            await expect(page.locator(".delivery pre").first).to_contain_text("fahrt")
        for width, height in SIZES:
            await page.set_viewport_size({"width": width, "height": height})
            wide = await page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, (path, width)
        assert await page.title() != "taken", path
        assert await page.locator("img, main script").count() == 0, path
    await page.goto(f"{operated.url}/jobs/job_absent")
    await expect(page.get_by_role("alert").first).to_contain_text("<img")
    assert await page.title() != "taken"
