// The wave of a recording with its words below it: a picture beside the slider, which says the same to those
// who do not see it.

import { Peaks, RATE } from "/shared/peaks.js";

const WORDS = 5; // px below the wave, for the spans of words
const BAR = 2;
const GAP = 1;

export class Wave {
  #canvas;
  #playhead;
  #durationMs;
  #words;
  #peaks = null;

  /** `words`: [{fromMs, toMs}]; `seek(ms)`: somebody clicked there. */
  constructor({ wave, canvas, playhead }, durationMs, words, seek) {
    [this.#canvas, this.#playhead, this.#durationMs, this.#words] = [canvas, playhead, Math.max(1, durationMs), words];
    new ResizeObserver(() => this.#draw()).observe(wave);
    document.addEventListener("themechange", () => this.#draw());
    const to = (event) => seek((Math.max(0, Math.min(1, event.offsetX / canvas.clientWidth))) * this.#durationMs);
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      canvas.setPointerCapture(event.pointerId);
      to(event);
    });
    canvas.addEventListener("pointermove", (event) => canvas.hasPointerCapture(event.pointerId) && to(event));
  }

  /** Takes the recording's bytes; throws where the browser cannot decode them. */
  async read(buffer) {
    const decoded = await new OfflineAudioContext(1, 1, RATE).decodeAudioData(buffer);
    const peaks = new Peaks(decoded.length);
    for (let channel = 0; channel < decoded.numberOfChannels; channel++) peaks.add(0, decoded.getChannelData(channel));
    this.#peaks = peaks;
    this.#draw();
  }

  set ms(value) {
    this.#playhead.style.transform = `translateX(${(value / this.#durationMs) * this.#canvas.clientWidth}px)`;
  }

  /** As the theme resolves it. */
  #colour(name) {
    this.#canvas.style.color = `var(${name})`;
    return getComputedStyle(this.#canvas).color;
  }

  #draw() {
    const [canvas, { clientWidth: width, clientHeight: height }] = [this.#canvas, this.#canvas];
    if (!width || !this.#peaks) return;
    const density = devicePixelRatio || 1;
    [canvas.width, canvas.height] = [width * density, height * density];
    const context = canvas.getContext("2d");
    context.scale(density, density);
    const [middle, perPixel] = [(height - WORDS - 2) / 2, this.#durationMs / width];
    const most = this.#peaks.between(0, this.#durationMs) || 1;
    context.fillStyle = this.#colour("--you");
    for (let x = 0; x < width; x += BAR + GAP) {
      const size = Math.max(0.5, (this.#peaks.between(x * perPixel, (x + BAR + GAP) * perPixel) / most) * middle);
      context.fillRect(x, middle - size, BAR, 2 * size);
    }
    context.fillStyle = this.#colour("--soft");
    for (const { fromMs, toMs } of this.#words) context.fillRect(fromMs / perPixel, height - WORDS, Math.max(1, (toMs - fromMs) / perPixel - 1), WORDS - 2);
  }
}
