// Both tracks of a call, in memory: 16 kHz, 16 bit, 64 kB a second. At most MOST_SECONDS are kept (38 MB);
// beyond it the oldest second goes. Nothing leaves the page.

const RATE = 16_000;
const MOST_SECONDS = 600;
const PEAKS_A_SECOND = 50;
const BLOCKS_A_SECOND = 10;

export class Recording {
  /** [caller, agent] of blocks of 100 ms, Int16Array. */
  #tracks = [[], []];
  /** Loudest sample of each 20 ms, 0 to 1. */
  peaks = [[], []];
  /** Seconds of the beginning that are gone. */
  dropped = 0;
  #context = null;
  #node = null;
  #inputs = []; // what is recorded: the caller's node, the agent's
  #connected = [];
  #startedAt = 0;

  /** Seconds since the beginning of the call, by the clock of the samples. */
  get time() {
    return this.#context ? this.#context.currentTime - this.#startedAt : this.end;
  }

  get end() {
    return this.dropped + this.#tracks[0].length / BLOCKS_A_SECOND;
  }

  get isEmpty() {
    return this.#tracks[0].length === 0;
  }

  /** Begins, or goes on with other nodes of the same context (a new connection, another microphone).
   *  Nothing is recorded where a page may have no worklets. */
  follow(microphone, output) {
    const { context } = output;
    this.#inputs = [microphone, output];
    if (this.#context === context) return this.#connect();
    this.#context = context;
    this.#startedAt = context.currentTime;
    return this.#record(context).catch(reportError);
  }

  stop() {
    if (this.#node) {
      this.#node.port.onmessage = null;
      this.#node.disconnect();
    }
    this.#node = this.#context = null;
    this.#inputs = this.#connected = [];
  }

  /** What is kept, as a WAV file: the caller on the left, the agent on the right. */
  wav() {
    const [left, right] = this.#tracks;
    const samples = left.map((block, place) => {
      const both = new Int16Array(2 * block.length);
      for (let i = 0; i < block.length; i++) {
        both[2 * i] = block[i];
        both[2 * i + 1] = right[place][i];
      }
      return both;
    });
    return new Blob([header(samples.reduce((sum, { byteLength }) => sum + byteLength, 0)), ...samples], { type: "audio/wav" });
  }

  async #record(context) {
    if (!context.audioWorklet) return;
    await context.audioWorklet.addModule("/demo/inspect/recorder-worklet.js");
    if (this.#context !== context) return;
    const late = Math.round((context.currentTime - this.#startedAt) * BLOCKS_A_SECOND);
    for (let i = 0; i < late; i++) this.#push([0, 1].map(() => new Int16Array(RATE / BLOCKS_A_SECOND)));
    this.#node = new AudioWorkletNode(context, "blab-recorder", { numberOfInputs: 2, numberOfOutputs: 1, channelCount: 1, channelCountMode: "explicit" });
    this.#node.port.onmessage = ({ data }) => this.#push(data);
    this.#node.connect(context.destination); // silent; connected, so that every browser pulls it
    this.#connect();
  }

  #connect() {
    if (!this.#node) return;
    for (const input of this.#connected) input?.disconnect(this.#node);
    this.#connected = this.#inputs;
    this.#connected.forEach((input, place) => input?.connect(this.#node, 0, place));
  }

  #push(blocks) {
    blocks.forEach((block, place) => {
      this.#tracks[place].push(block);
      const size = RATE / PEAKS_A_SECOND;
      for (let from = 0; from < block.length; from += size) this.peaks[place].push(peakOf(block, from, from + size));
    });
    if (this.#tracks[0].length <= MOST_SECONDS * BLOCKS_A_SECOND) return;
    for (const track of this.#tracks) track.splice(0, BLOCKS_A_SECOND);
    for (const peaks of this.peaks) peaks.splice(0, PEAKS_A_SECOND);
    this.dropped += 1;
  }
}

function peakOf(block, from, to) {
  let peak = 0;
  for (let i = from; i < to; i++) peak = Math.max(peak, Math.abs(block[i]));
  return peak / 32768;
}

/** RIFF, PCM, two channels. */
function header(bytes) {
  const view = new DataView(new ArrayBuffer(44));
  const text = (place, characters) => [...characters].forEach((character, i) => view.setUint8(place + i, character.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + bytes, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 2, true);
  view.setUint32(24, RATE, true);
  view.setUint32(28, RATE * 4, true);
  view.setUint16(32, 4, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, bytes, true);
  return view.buffer;
}
