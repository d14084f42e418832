// Voice to voice, measured where the caller is: from the last sound at the microphone to the first sound
// at the loudspeaker. The server's stages explain that time; they do not replace it.

import { settled } from "./waiting.js";

const BLOCK = 256; // samples: 5 ms at 48 kHz
const OUTPUT_FLOOR = 0.003; // −50 dBFS: speech begins above it, comfort noise stays below
const INPUT_FLOOR = 0.008; // −42 dBFS, or four times the room's own noise
const PAUSE_MS = 250; // silence of the loudspeaker after which a sound is a new answer
const LONGEST_MS = 15_000;

/** The last moment and the first of this look at which an analyser was louder than `threshold`. */
class Ear {
  /** @param {AnalyserNode} analyser */
  constructor(analyser) {
    this.analyser = analyser;
    this.samples = new Float32Array(analyser.fftSize);
    this.blockMs = (BLOCK / analyser.context.sampleRate) * 1000;
    this.quietest = 0.02;
  }

  /** `{first, last}` in ms of performance.now(), null where it was silent.
   *  @param {number} now @param {(quietest: number) => number} threshold
   *  @returns {{ first: number, last: number } | null} */
  look(now, threshold) {
    this.analyser.getFloatTimeDomainData(this.samples);
    const blocks = this.samples.length / BLOCK;
    /** @type {number | null} */
    let first = null;
    let last = 0;
    for (let block = 0; block < blocks; block++) {
      const level = this.#level(block * BLOCK);
      this.quietest = Math.min(level, this.quietest * 1.0005 + 1e-7);
      if (level < threshold(this.quietest)) continue;
      last = now - (blocks - 1 - block) * this.blockMs;
      first ??= last - this.blockMs;
    }
    return first === null ? null : { first, last };
  }

  /** @param {number} from */
  #level(from) {
    let sum = 0;
    for (let i = from; i < from + BLOCK; i++) sum += this.samples[i] ** 2;
    return Math.sqrt(sum / BLOCK);
  }
}

export class Stopwatch {
  /** @type {Ear | null} */
  #microphone = null;
  /** @type {Ear | null} */
  #loudspeaker = null;
  /** @type {number | null} */
  #spokeAt = null;
  /** @type {number | null} */
  #soundedAt = null;
  #held = false;
  /** @type {{ at: number, waited: number }[]} */
  #answers = []; // when an answer became audible, and how long after the last word
  /** @type {((waited: number | null) => void)[]} */
  #waiting = []; // who waits for the next answer

  /** Follows two analysers; without a microphone there is nothing to measure.
   *  @param {AnalyserNode | null} microphone @param {AnalyserNode | null} loudspeaker */
  start(microphone, loudspeaker) {
    this.stop();
    this.#microphone = microphone && new Ear(microphone);
    this.#loudspeaker = loudspeaker && new Ear(loudspeaker);
  }

  stop() {
    this.#microphone = this.#loudspeaker = this.#spokeAt = this.#soundedAt = null;
    this.#answers = [];
    this.#held = false;
    for (const resolve of this.#waiting.splice(0)) resolve(null);
  }

  /** What comes next answers no words of the microphone's: something was typed. */
  forget() {
    this.#spokeAt = null;
    this.#answers = [];
  }

  /** Whether the agent has paused: when it goes on, that is no answer.
   *  @param {boolean} held */
  hold(held) {
    this.#held = held;
  }

  /** To be called for every frame that is drawn.
   *  @param {number} now */
  tick(now) {
    if (!this.#microphone || !this.#loudspeaker) return;
    const out = this.#loudspeaker.look(now, () => OUTPUT_FLOOR);
    if (out) {
      if (this.#soundedAt === null || out.first - this.#soundedAt > PAUSE_MS) this.#began(out.first);
      this.#soundedAt = out.last;
    }
    const spoke = this.#microphone.look(now, (quietest) => Math.max(INPUT_FLOOR, 4 * quietest));
    if (spoke) this.#spokeAt = spoke.last;
  }

  /** ms from the caller's last sound to the answer that is or will soon be heard; null where that was
   *  not measured (no microphone, a page in the background).
   *  @returns {Promise<number | null>} */
  answer(within = 3000) {
    const recent = this.#answers.at(-1);
    if (recent && performance.now() - recent.at < 1500) {
      this.#answers.pop();
      return Promise.resolve(recent.waited);
    }
    /** @type {(waited: number | null) => void} */
    let waiter;
    return settled((resolve) => this.#waiting.push((waiter = resolve)), { ms: within, late: () => null })
      .catch(() => null)
      .finally(() => (this.#waiting = this.#waiting.filter((one) => one !== waiter)));
  }

  /** @param {number} at */
  #began(at) {
    const goesOn = this.#held;
    this.#held = false;
    if (goesOn || this.#spokeAt === null || !this.#loudspeaker) return;
    const context = /** @type {AudioContext} */ (this.#loudspeaker.analyser.context);
    const waited = at - this.#spokeAt + (context.outputLatency || context.baseLatency || 0) * 1000;
    if (waited < 0 || waited > LONGEST_MS) return;
    const resolve = this.#waiting.shift();
    if (resolve) resolve(waited);
    else this.#answers = [{ at: performance.now(), waited }];
  }
}
