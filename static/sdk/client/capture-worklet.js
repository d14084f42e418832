// Microphone → PCM16 at 24 kHz in frames of 20 ms, posted as ArrayBuffers.

import { Resampler } from "./resampler.js";

const RATE = 24000;
const FRAME = RATE / 50;

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.resampler = new Resampler(sampleRate, RATE);
    this.frame = new Int16Array(FRAME);
    this.filled = 0;
  }

  process([input]) {
    const samples = input?.[0];
    if (samples) this.take(this.resampler.process(samples));
    return true;
  }

  take(samples) {
    for (const sample of samples) {
      this.frame[this.filled++] = Math.max(-32768, Math.min(32767, Math.round(sample * 32767)));
      if (this.filled < FRAME) continue;
      this.port.postMessage(this.frame.buffer, [this.frame.buffer]);
      this.frame = new Int16Array(FRAME);
      this.filled = 0;
    }
  }
}

registerProcessor("blab-capture", Capture);
