// PCM16 at 24 kHz → the speaker, through a ring.
// Overflow: what does not fit into the ring is dropped (the server paces far below that).
// Underrun: silence until PRIME_MS have come again. A flush fades out over one quantum: no click.

import { Resampler } from "./resampler.js";

const RATE = 24000;
const RING_SECONDS = 30;
const PRIME_MS = 40;
const PRIME_WAIT_MS = 80;
const REPORT_EVERY = 64; // quanta

class Player extends AudioWorkletProcessor {
  constructor() {
    super();
    this.resampler = new Resampler(RATE, sampleRate);
    this.ring = new Float32Array(RING_SECONDS * sampleRate);
    this.read = 0;
    this.length = 0;
    this.playing = false;
    this.waited = 0;
    this.fade = new Float32Array(0);
    this.quanta = 0;
    this.port.onmessage = ({ data }) => this.receive(data);
  }

  /** An ArrayBuffer of PCM16, "flush", or "report" (answered with the present state). */
  receive(data) {
    if (data === "flush") this.flush();
    else if (data === "report") this.report();
    else this.push(data);
  }

  push(buffer) {
    const pcm = new Int16Array(buffer);
    const samples = new Float32Array(pcm.length);
    for (let i = 0; i < pcm.length; i++) samples[i] = pcm[i] / 32768;
    const resampled = this.resampler.process(samples);
    const fits = Math.min(resampled.length, this.ring.length - this.length);
    for (let i = 0; i < fits; i++) this.ring[(this.read + this.length + i) % this.ring.length] = resampled[i];
    this.length += fits;
  }

  flush() {
    const count = this.playing ? Math.min(128, this.length) : 0;
    const fade = new Float32Array(count);
    for (let i = 0; i < count; i++) fade[i] = this.ring[(this.read + i) % this.ring.length] * (1 - (i + 1) / count);
    this.fade = fade;
    this.length = 0;
    this.playing = false;
    this.resampler.reset();
    this.report();
  }

  process(_inputs, [output]) {
    const channel = output[0];
    if (this.fade.length) {
      channel.set(this.fade);
      this.fade = new Float32Array(0);
    } else if (this.primed(channel.length)) {
      this.fill(channel);
    }
    for (let other = 1; other < output.length; other++) output[other].set(channel);
    if (++this.quanta % REPORT_EVERY === 0 && this.playing) this.report();
    return true;
  }

  /** Whether to play now; a short last piece plays after a moment's wait. */
  primed(quantum) {
    if (this.playing || !this.length) return this.playing;
    this.waited += quantum;
    const enough = this.length >= (PRIME_MS * sampleRate) / 1000;
    this.playing = enough || this.waited >= (PRIME_WAIT_MS * sampleRate) / 1000;
    return this.playing;
  }

  fill(channel) {
    const count = Math.min(channel.length, this.length);
    for (let i = 0; i < count; i++) channel[i] = this.ring[(this.read + i) % this.ring.length];
    this.read = (this.read + count) % this.ring.length;
    this.length -= count;
    this.waited = 0;
    if (count === channel.length) return;
    this.playing = false;
    this.report();
  }

  report() {
    this.port.postMessage({ playing: this.playing, bufferedMs: (this.length * 1000) / sampleRate });
  }
}

registerProcessor("blab-player", Player);
