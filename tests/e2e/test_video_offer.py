"""A browser that offers video gets a call without it, whichever section leads its bundle."""

from pathlib import Path

import pytest

from tests.e2e.browser import BrowserPage, browser_page, chromium, spoken
from tests.support.gateway.scripted_server import ScriptedServer, server

__all__ = ["browser_page", "chromium", "server"]
pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

CALL = """
async ([url, key, bundlePolicy, kinds]) => {
  const peer = new RTCPeerConnection({ bundlePolicy });
  for (const kind of kinds) peer.addTransceiver(kind);
  const channel = peer.createDataChannel("oai-events");
  const created = new Promise((done) => {
    channel.onmessage = (message) => done(JSON.parse(message.data).type);
  });
  await peer.setLocalDescription();
  const headers = { Authorization: `Bearer ${key}`, "Content-Type": "application/sdp" };
  const answer = await fetch(url, { method: "POST", headers, body: peer.localDescription.sdp });
  const sdp = await answer.text();
  await peer.setRemoteDescription({ type: "answer", sdp });
  const first = await created;
  const states = peer.getTransceivers().map((one) => one.currentDirection);
  peer.close();
  return [answer.status, first, ...states];
}
"""


@pytest.mark.parametrize(
    ("policy", "kinds"),
    [
        ("balanced", ["audio", "video"]),
        ("balanced", ["video", "audio"]),
        ("max-bundle", ["video", "audio", "audio"]),
    ],
)
async def test_video_is_refused_and_the_call_goes_on(
    policy: str, kinds: list[str], browser_page: BrowserPage, server: ScriptedServer, tmp_path: Path
) -> None:
    visit = await browser_page(spoken(tmp_path / "voice.wav", 1.0))
    await visit.page.goto(server.url)
    beta = kinds[0] == "video"
    url = f"{server.url}/v1/realtime?model=gpt-realtime" if beta else server.calls_url
    status, first, *states = await visit.page.evaluate(CALL, [url, server.key, policy, kinds])
    assert (status, first) == (201, "session.created")
    answered = kinds.index("audio")
    for place, state in enumerate(states):
        assert state in (("sendrecv",) if place == answered else (None, "stopped", "inactive"))
