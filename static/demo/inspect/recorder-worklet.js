// Two inputs, the caller and the agent → PCM16 at 16 kHz, posted in blocks of 100 ms.

import { Resampler } from "/sdk/resampler.js";

const RATE = 16_000;
const BLOCK = RATE / 10;

class Track {
  constructor() {
    this.resampler = new Resampler(sampleRate, RATE);
    this.samples = new Int16Array(2 * BLOCK);
    this.length = 0;
  }

  push(input) {
    for (const sample of this.resampler.process(input)) {
      if (this.length === this.samples.length) return; // the other track is a block behind: never
      this.samples[this.length++] = Math.max(-32768, Math.min(32767, Math.round(sample * 32767)));
    }
  }

  take() {
    const block = this.samples.slice(0, BLOCK);
    this.samples.copyWithin(0, BLOCK, this.length);
    this.length -= BLOCK;
    return block;
  }
}

class Recorder extends AudioWorkletProcessor {
  constructor() {
    super();
    this.tracks = [new Track(), new Track()];
    this.silence = new Float32Array(128);
  }

  process(inputs) {
    this.tracks.forEach((track, place) => track.push(inputs[place][0] ?? this.silence));
    if (this.tracks.every((track) => track.length >= BLOCK)) {
      const blocks = this.tracks.map((track) => track.take());
      this.port.postMessage(blocks, blocks.map((block) => block.buffer));
    }
    return true;
  }
}

registerProcessor("blab-recorder", Recorder);
