// A recorded call as one thing to play: both tracks of all its parts, on the call's axis, as the two
// channels of one WAV blob behind one <audio> element. So the voices cannot drift apart, and the
// browser keeps their pitch at any speed. Decoding goes in slices of half a minute.

import { Peaks, RATE } from "/shared/peaks.js";
import { Playback } from "/shared/playback.js";
import { pcm16, wavHeader } from "/shared/wav.js";
import { Track } from "./tracks.js";

const SLICE = 30 * RATE;
const at = (ms) => Math.round((ms * RATE) / 1000);

export class Sound extends Playback {
  peaks = {};
  #gains = {};
  #context = null;

  /** Fetches and decodes; `fetched(url)`: a file's bytes; `progress(share)`: 0 to 1, as peaks come in. */
  async load(parts, durationMs, fetched, progress) {
    const total = at(durationMs);
    this.peaks = { caller: new Peaks(total), agent: new Peaks(total) };
    const pieces = [wavHeader(total, RATE, 2)];
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
    await this.open(new Blob(pieces, { type: "audio/wav" }));
  }

  /** Plays from where it is, or a stretch only. */
  async play(fromMs, toMs) {
    if (!this.loaded) return;
    this.#route();
    await this.#context.resume();
    await super.play(fromMs, toMs);
  }

  /** Silences one voice; `name`: caller or agent. */
  mute(name, muted) {
    this.#route();
    this.#gains[name].gain.value = muted ? 0 : 1;
  }

  close() {
    super.close();
    this.#context?.close();
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
}

function interleaved([left, right]) {
  const samples = new Int16Array(2 * left.length);
  const voices = [pcm16(left), pcm16(right)];
  for (let i = 0; i < left.length; i++) {
    samples[2 * i] = voices[0][i];
    samples[2 * i + 1] = voices[1][i];
  }
  return samples;
}
