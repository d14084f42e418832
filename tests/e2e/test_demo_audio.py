"""The page's own signal path (resampler, player, capture), in the browser that runs it."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.e2e.browser import BrowserPage
from tests.e2e.mock_gateway import MockGateway

pytestmark = pytest.mark.browser

RESAMPLE = """async ([from, to, frequency]) => {
  const { Resampler } = await import('/sdk/client/resampler.js');
  const resampler = new Resampler(from, to);
  const output = [];
  for (let block = 0; block * 128 < from; block++) {
    const input = Float32Array.from({ length: 128 }, (_, i) =>
      0.5 * Math.sin(2 * Math.PI * frequency * (block * 128 + i) / from));
    output.push(...resampler.process(input));
  }
  const steady = output.slice(1000, 1000 + to / 2);  // whole periods
  let sine = 0, cosine = 0, power = 0;
  steady.forEach((sample, i) => {
    sine += sample * Math.sin(2 * Math.PI * frequency * i / to);
    cosine += sample * Math.cos(2 * Math.PI * frequency * i / to);
    power += sample * sample;
  });
  const amplitude = 2 * Math.hypot(sine, cosine) / steady.length;
  return { count: output.length, amplitude, rms: Math.sqrt(power / steady.length) };
}"""

PLAY = """async (flushAt) => {
  const context = new OfflineAudioContext(1, 48000, 48000);
  await context.audioWorklet.addModule('/sdk/player-worklet.js');
  const player = new AudioWorkletNode(context, 'blab-player', { numberOfInputs: 0 });
  player.connect(context.destination);
  const report = () => new Promise((resolve) => player.port.onmessage = resolve);
  context.suspend(0.05).then(async () => {
    const pcm = new Int16Array(24000 * 0.6).fill(16384);
    const answered = report();
    player.port.postMessage(pcm.buffer, [pcm.buffer]);
    player.port.postMessage('report');  // answered: the samples have arrived
    await answered;
    context.resume();
  });
  if (flushAt) context.suspend(flushAt).then(async () => {
    const answered = report();
    player.port.postMessage('flush');
    await answered;
    context.resume();
  });
  const samples = (await context.startRendering()).getChannelData(0);
  const loud = [];
  samples.forEach((sample, i) => sample > 0.25 && loud.push(i));
  const steps = samples.map((sample, i) => Math.abs(sample - (samples[i - 1] ?? 0)));
  const step = steps.slice(loud[100]).reduce((a, b) => Math.max(a, b));
  return { first: loud[0], last: loud.at(-1), count: loud.length, step };
}"""


@pytest.fixture
async def page(browser_page: BrowserPage) -> AsyncIterator[Any]:
    async with MockGateway().running() as address:
        visit = await browser_page()
        await visit.page.goto(address)
        yield visit.page
        assert visit.console_errors == []


async def test_resampling_keeps_speech_and_drops_what_would_alias(page: Any) -> None:
    for rate_in, rate_out in [(48_000, 24_000), (44_100, 24_000), (24_000, 48_000)]:
        tone = await page.evaluate(RESAMPLE, [rate_in, rate_out, 1000])
        assert tone["amplitude"] == pytest.approx(0.5, abs=0.005)
        noise = tone["rms"] ** 2 - tone["amplitude"] ** 2 / 2
        assert noise < 1e-4 * 0.125  # 40 dB below the tone
        assert abs(tone["count"] - rate_out) < 200
    alias = await page.evaluate(RESAMPLE, [48_000, 24_000, 15_000])
    assert alias["rms"] < 0.005


async def test_the_player_plays_all_and_a_flush_silences_it_within_a_quantum(page: Any) -> None:
    whole = await page.evaluate(PLAY, 0)
    assert whole["count"] == pytest.approx(0.6 * 48_000, abs=100)
    cut = await page.evaluate(PLAY, 0.3)
    assert cut["first"] == pytest.approx(0.05 * 48_000, abs=256)
    assert cut["last"] - 0.3 * 48_000 < 256
    assert cut["step"] < 0.05  # faded, not chopped
