// How loud a recording is, at any zoom.

export const RATE = 24_000; // Hz of the samples that are taken
const STEP = RATE / 200; // samples of a peak: 5 ms
const FACTOR = 8; // between levels

/** The loudest sample of every 5 ms, 40 ms, 320 ms …, so that any zoom is drawn in the same time. */
export class Peaks {
  #levels;

  constructor(samples) {
    this.#levels = [];
    for (let count = Math.ceil(samples / STEP); ; count = Math.ceil(count / FACTOR)) {
      this.#levels.push(new Float32Array(count + 2));
      if (count < 512) break;
    }
  }

  /** Takes samples that begin at `at`. */
  add(at, samples) {
    for (let place = 0, peak = Math.floor(at / STEP); place < samples.length; place += STEP, peak++) {
      let most = 0;
      const end = Math.min(samples.length, place + STEP);
      for (let i = place; i < end; i++) {
        const size = samples[i] < 0 ? -samples[i] : samples[i];
        if (size > most) most = size;
      }
      for (let level = 0, index = peak; level < this.#levels.length; level++, index = Math.floor(index / FACTOR)) {
        if (this.#levels[level][index] < most) this.#levels[level][index] = most;
      }
    }
  }

  /** The loudest between two moments, 0 to 1. */
  between(fromMs, toMs) {
    let level = 0;
    let ms = (STEP * 1000) / RATE;
    while (level + 1 < this.#levels.length && toMs - fromMs >= ms * FACTOR) [level, ms] = [level + 1, ms * FACTOR];
    const peaks = this.#levels[level];
    let most = 0;
    for (let i = Math.max(0, Math.floor(fromMs / ms)); i < Math.min(peaks.length, Math.ceil(toMs / ms)); i++) if (peaks[i] > most) most = peaks[i];
    return most;
  }
}
