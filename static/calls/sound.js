// A recorded call as one thing to play: both tracks of all its parts, on the call's axis, as the two
// channels of one WAV blob behind one <audio> element. So the voices cannot drift apart, and the
// browser keeps their pitch at any speed. Decoding goes in slices of half a minute.

import { Peaks, RATE, Track } from "./tracks.js";

const SLICE = 30 * RATE;
const at = (ms) => Math.round((ms * RATE) / 1000);

export class Sound extends EventTarget {
  audio = new Audio();
  peaks = {};
  #gains = {};
  #context = null;
  #stopAt = null; // seconds
  #frame = 0;
  #url = null;

  constructor() {
    super();
    this.audio.preservesPitch = true;
    for (const name of ["play", "pause", "ended", "ratechange"]) this.audio.addEventListener(name, () => this.#changed());
    this.audio.addEventListener("seeking", () => this.#moved());
  }

  /** Fetches and decodes; `fetched(url)`: a file's bytes; `progress(share)`: 0 to 1, as peaks come in. */
  async load(parts, durationMs, fetched, progress) {
    const total = at(durationMs);
    this.peaks = { caller: new Peaks(total), agent: new Peaks(total) };
    const pieces = [wavHeader(total)];
    let done = 0;
    for (const part of parts) {
      const [caller, agent] = await Promise.all([part.callerUrl, part.agentUrl].map(async (url) => url && new Track(await fetched(url))));
      const begins = at(part.beginsMs);
      if (begins > done) pieces.push(new Int16Array(2 * (begins - done)));
      const length = Math.min(total - begins, Math.max(caller?.length ?? 0, agent?.length ?? 0));
      const skipped = Math.max(0, done - begins);
      for (let from = skipped; from < length; from += SLICE) {
        const to = Math.min(length, from + SLICE);
        const voices = await Promise.all([caller, agent].map((track) => track?.samples(from, to) ?? new Float32Array(to - from)));
        this.peaks.caller.add(begins + from, voices[0]);
        this.peaks.agent.add(begins + from, voices[1]);
        pieces.push(interleaved(voices));
        done = begins + to;
        progress(done / total);
      }
    }
    if (done < total) pieces.push(new Int16Array(2 * (total - done)));
    this.#url = URL.createObjectURL(new Blob(pieces, { type: "audio/wav" }));
    this.audio.src = this.#url;
    await new Promise((resolve, reject) => {
      this.audio.addEventListener("loadedmetadata", resolve, { once: true });
      this.audio.addEventListener("error", () => reject(new Error("The browser cannot play this recording.")), { once: true });
    });
    this.audio.currentTime = this.#wanted / 1000;
  }

  #wanted = 0; // where to begin, until it is loaded

  get loaded() {
    return this.audio.readyState > 0;
  }

  get playing() {
    return !this.audio.paused;
  }

  get ms() {
    return this.loaded ? this.audio.currentTime * 1000 : this.#wanted;
  }

  set ms(value) {
    this.#stopAt = null;
    this.#wanted = Math.max(0, value);
    if (this.loaded) this.audio.currentTime = Math.min(this.#wanted / 1000, this.audio.duration);
    this.#moved();
  }

  /** Plays from where it is, or a stretch only. */
  async play(fromMs, toMs) {
    if (!this.loaded) return;
    this.#route();
    if (fromMs !== undefined) this.ms = fromMs;
    this.#stopAt = toMs === undefined ? null : toMs / 1000;
    await this.#context.resume();
    await this.audio.play().catch(() => {}); // paused again before it began
  }

  pause() {
    this.audio.pause();
  }

  toggle() {
    return this.playing ? this.pause() : this.play(this.audio.ended ? 0 : undefined);
  }

  set speed(value) {
    this.audio.playbackRate = value;
  }

  /** Silences one voice; `name`: caller or agent. */
  mute(name, muted) {
    this.#route();
    this.#gains[name].gain.value = muted ? 0 : 1;
  }

  close() {
    cancelAnimationFrame(this.#frame);
    this.pause();
    this.#context?.close();
    if (this.#url) URL.revokeObjectURL(this.#url);
  }

  #route() {
    if (this.#context) return;
    this.#context = new AudioContext();
    const voices = this.#context.createChannelSplitter(2);
    this.#context.createMediaElementSource(this.audio).connect(voices);
    ["caller", "agent"].forEach((name, channel) => {
      this.#gains[name] = this.#context.createGain();
      voices.connect(this.#gains[name], channel);
      this.#gains[name].connect(this.#context.destination);
    });
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
    cancelAnimationFrame(this.#frame);
    if (this.playing) this.#follow();
    else this.#moved();
  }

  #follow() {
    if (this.#stopAt !== null && this.audio.currentTime >= this.#stopAt) {
      this.#stopAt = null;
      return this.pause();
    }
    this.#moved();
    this.#frame = requestAnimationFrame(() => this.#follow());
  }

  #moved() {
    this.dispatchEvent(new Event("move"));
  }
}

function interleaved([left, right]) {
  const samples = new Int16Array(2 * left.length);
  for (let i = 0; i < left.length; i++) {
    samples[2 * i] = Math.max(-1, Math.min(1, left[i])) * 32_767;
    samples[2 * i + 1] = Math.max(-1, Math.min(1, right[i])) * 32_767;
  }
  return samples;
}

/** For 16 bits, two channels. */
function wavHeader(samples) {
  const view = new DataView(new ArrayBuffer(44));
  const words = (place, text) => [...text].forEach((letter, i) => view.setUint8(place + i, letter.charCodeAt(0)));
  words(0, "RIFF");
  view.setUint32(4, 36 + 4 * samples, true);
  words(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 2, true);
  view.setUint32(24, RATE, true);
  view.setUint32(28, 4 * RATE, true);
  view.setUint16(32, 4, true);
  view.setUint16(34, 16, true);
  words(36, "data");
  view.setUint32(40, 4 * samples, true);
  return view.buffer;
}
