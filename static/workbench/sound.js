// Speech as it comes from the server: heard while it is made, kept as samples, and how loud it is.

import { eventsOf } from "/shared/event-stream.js";
import { WavReader } from "/shared/wav.js";

const AHEAD = 0.06; // seconds between a sample's arrival and its sound, so that the next one is there in time

const bytesOf = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));

let sounding = null; // one sound at a time: a new one ends the one before

function begins(sound) {
  sounding?.stop();
  sounding = sound;
}

/** Ends whatever can be heard. */
export const silence = () => sounding?.stop();

/** Plays samples that are pushed, one after the other. */
export class LivePlayer {
  #context = new AudioContext();
  #until = 0; // when what was pushed will have been played
  #over;
  underruns = 0;
  startedAt = null; // performance.now() of the first sample's sound

  /** Resolves when everything was played, or it was stopped. */
  ended = new Promise((resolve) => (this.#over = resolve));

  constructor() {
    begins(this);
    this.#context.resume();
  }

  push(samples, rate) {
    if (!samples.length || this.#context.state === "closed") return;
    const buffer = this.#context.createBuffer(1, samples.length, rate);
    buffer.copyToChannel(samples, 0);
    const source = this.#context.createBufferSource();
    source.buffer = buffer;
    source.connect(this.#context.destination);
    const now = this.#context.currentTime;
    if (this.startedAt === null) this.startedAt = performance.now() + AHEAD * 1000;
    else if (this.#until < now) this.underruns++;
    this.#until = Math.max(this.#until, now + AHEAD);
    source.start(this.#until);
    this.#until += buffer.duration;
  }

  /** Nothing more comes: ends itself once all is played. */
  finish() {
    const left = this.#until - this.#context.currentTime;
    setTimeout(() => this.stop(), Math.max(0, left) * 1000 + 50);
  }

  stop() {
    if (sounding === this) sounding = null;
    if (this.#context.state !== "closed") this.#context.close();
    this.#over();
  }
}

/**
 * Speech for an order of POST /api/tts/stream, as it is made. Resolves with {samples, rate, firstMs, totalMs, done}:
 * `firstMs`: from the request to the first audio, `done`: the stream's last event. `heard(samples, rate)`: each piece.
 */
export async function streamed(access, order, { signal, heard } = {}) {
  const asked = performance.now();
  const body = JSON.stringify({ ...order, response_format: "wav" });
  const response = await access.fetch("/api/tts/stream", { method: "POST", headers: { "Content-Type": "application/json" }, body, signal });
  const reader = new WavReader();
  const pieces = [];
  let firstMs = null;
  for await (const { name, data } of eventsOf(response)) {
    if (name === "error") throw Object.assign(new Error(data.message), { code: data.code });
    if (name === "done") {
      return { samples: joined(pieces), rate: reader.rate, firstMs, totalMs: performance.now() - asked, done: data };
    }
    if (name !== "chunk") continue;
    const samples = reader.push(bytesOf(data.audio));
    if (!samples.length) continue;
    firstMs ??= performance.now() - asked;
    pieces.push(samples);
    heard?.(samples, reader.rate);
  }
  throw new Error("The connection was lost before the speech was finished. Try again.");
}

/** Speaks an order, heard while it is made; resolves with {made, player} once all of it is there, null if it was stopped before. */
export async function spoken(access, order, heard = () => {}) {
  const player = new LivePlayer();
  const stopped = new AbortController();
  player.ended.then(() => stopped.abort());
  const taken = (samples, rate) => {
    player.push(samples, rate);
    heard();
  };
  try {
    const made = await streamed(access, order, { signal: stopped.signal, heard: taken });
    player.finish();
    return { made, player };
  } catch (error) {
    if (stopped.signal.aborted) return null;
    player.stop();
    throw error;
  }
}

function joined(pieces) {
  const all = new Float32Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}

/** Plays a file of this server by its signed address, which begins with the server's public name. */
export class FilePlayer {
  #audio;
  #over;
  ended = new Promise((resolve) => (this.#over = resolve));

  constructor(address) {
    begins(this);
    const { pathname, search } = new URL(address, location.href);
    this.#audio = new Audio(pathname + search);
    for (const name of ["ended", "error"]) this.#audio.addEventListener(name, () => this.stop());
    this.#audio.play().catch(() => this.stop());
  }

  stop() {
    if (sounding === this) sounding = null;
    this.#audio.pause();
    this.#over();
  }
}

/** A button that plays and, meanwhile, stops. `begin()`: makes the player; what it throws goes to `failed`. */
export function playButton(button, begin, failed = () => {}) {
  const names = { play: button.dataset.play ?? button.textContent, stop: "Stop" };
  button.addEventListener("click", async () => {
    if (button.dataset.playing) return silence();
    button.dataset.playing = "true";
    if (!button.querySelector("svg")) button.textContent = names.stop;
    try {
      await (await begin())?.ended;
    } catch (error) {
      failed(error);
    }
    delete button.dataset.playing;
    if (!button.querySelector("svg")) button.textContent = names.play;
  });
}

const BETWEEN = 0.5; // seconds between two sounds

/** Plays sounds that are all there, {samples, rate, gain}, one after the other. */
export function played(sounds) {
  const player = new LivePlayer();
  for (const [i, { samples, rate, gain }] of sounds.entries()) {
    if (i) player.push(new Float32Array(BETWEEN * rate), rate);
    player.push(samples.map((sample) => sample * gain), rate);
  }
  player.finish();
  return player;
}

// ITU-R BS.1770-4: K-weighting, blocks of 400 ms with 75 % overlap, gates at -70 LUFS and 10 LU below the rest.

/** A second-order filter over samples. */
function filtered(samples, [b0, b1, b2, a1, a2]) {
  const out = new Float32Array(samples.length);
  let [x1, x2, y1, y2] = [0, 0, 0, 0];
  for (let i = 0; i < samples.length; i++) {
    const x = samples[i];
    const y = b0 * x + b1 * x1 + b2 * x2 - a1 * y1 - a2 * y2;
    [x2, x1, y2, y1] = [x1, x, y1, y];
    out[i] = y;
  }
  return out;
}

/** A high shelf of 4 dB at 1682 Hz, and a high pass at 38 Hz, at any rate. */
function kWeighting(rate) {
  const shelf = (() => {
    const [f, gain, q] = [1681.974450955533, 3.999843853973347, 0.7071752369554196];
    const k = Math.tan((Math.PI * f) / rate);
    const vh = 10 ** (gain / 20);
    const vb = vh ** 0.4996667741545416;
    const a0 = 1 + k / q + k * k;
    return [(vh + (vb * k) / q + k * k) / a0, (2 * (k * k - vh)) / a0, (vh - (vb * k) / q + k * k) / a0, (2 * (k * k - 1)) / a0, (1 - k / q + k * k) / a0];
  })();
  const pass = (() => {
    const [f, q] = [38.13547087602444, 0.5003270373238773];
    const k = Math.tan((Math.PI * f) / rate);
    const a0 = 1 + k / q + k * k;
    return [1, -2, 1, (2 * (k * k - 1)) / a0, (1 - k / q + k * k) / a0];
  })();
  return [shelf, pass];
}

/** The loudness of mono samples in LUFS; null for silence, or less than 400 ms. */
export function loudness(samples, rate) {
  const [shelf, pass] = kWeighting(rate);
  const weighted = filtered(filtered(samples, shelf), pass);
  const [block, step] = [Math.round(0.4 * rate), Math.round(0.1 * rate)];
  const powers = [];
  for (let at = 0; at + block <= weighted.length; at += step) {
    let sum = 0;
    for (let i = at; i < at + block; i++) sum += weighted[i] * weighted[i];
    powers.push(sum / block);
  }
  const lufs = (power) => -0.691 + 10 * Math.log10(power);
  const mean = (list) => list.reduce((sum, one) => sum + one, 0) / list.length;
  const audible = powers.filter((power) => lufs(power) > -70);
  if (!audible.length) return null;
  const gate = lufs(mean(audible)) - 10;
  return lufs(mean(audible.filter((power) => lufs(power) > gate)));
}
