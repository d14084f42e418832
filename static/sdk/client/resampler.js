// Streaming sample-rate conversion: a windowed-sinc kernel in PHASES steps, ≤ 1 ms of delay.

const PHASES = 512;
const CROSSINGS = 12;

export class Resampler {
  tail = new Float32Array(0);
  position = 0;

  /** @param {number} from Hz @param {number} to Hz */
  constructor(from, to) {
    this.step = from / to;
    const cutoff = Math.min(1, to / from) * 0.94;
    this.half = Math.ceil(CROSSINGS / cutoff);
    this.kernel = kernelTable(this.half, cutoff);
    this.reset();
  }

  /** Forgets the samples of before. */
  reset() {
    this.tail = new Float32Array(2 * this.half);
    this.position = this.half;
  }

  /** Takes the next samples, gives those that are complete at the new rate.
   *  @param {Float32Array} input
   *  @returns {Float32Array} */
  process(input) {
    if (this.step === 1) return input;
    const { half, step, kernel } = this;
    const buffer = new Float32Array(this.tail.length + input.length);
    buffer.set(this.tail);
    buffer.set(input, this.tail.length);
    const output = new Float32Array(Math.max(0, Math.ceil((buffer.length - half - this.position) / step)));
    let position = this.position;
    let count = 0;
    for (; count < output.length; count++, position += step) {
      let index = Math.floor(position);
      let phase = Math.round((position - index) * PHASES);
      if (phase === PHASES) {
        phase = 0;
        index += 1;
      }
      let sum = 0;
      const row = phase * 2 * half;
      const start = index - half + 1;
      for (let tap = 0; tap < 2 * half; tap++) sum += (buffer[start + tap] ?? 0) * kernel[row + tap];
      output[count] = sum;
    }
    const kept = Math.floor(position) - half;
    this.tail = buffer.slice(kept);
    this.position = position - kept;
    return output;
  }
}

/** Rows of 2·half taps, one per phase; every row sums to 1 so that silence and DC stay exact.
 *  @param {number} half @param {number} cutoff */
function kernelTable(half, cutoff) {
  const table = new Float32Array(PHASES * 2 * half);
  for (let phase = 0; phase < PHASES; phase++) {
    const row = table.subarray(phase * 2 * half, (phase + 1) * 2 * half);
    let sum = 0;
    for (let tap = 0; tap < 2 * half; tap++) {
      const x = tap - half + 1 - phase / PHASES;
      const window = Math.abs(x) < half ? 0.42 + 0.5 * Math.cos((Math.PI * x) / half) + 0.08 * Math.cos((2 * Math.PI * x) / half) : 0;
      row[tap] = (x === 0 ? cutoff : Math.sin(Math.PI * cutoff * x) / (Math.PI * x)) * window;
      sum += row[tap];
    }
    for (let tap = 0; tap < 2 * half; tap++) row[tap] /= sum;
  }
  return table;
}
