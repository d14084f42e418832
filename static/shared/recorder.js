// The microphone as a WAV file. Events: `level` (0 to 1, the loudest sample of the last 20 ms) while it records.

import { wavFile } from "./wav.js";

const RATE = 24_000; // of the worklet
const AS_IT_IS = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };

/** What to do about a microphone that does not open. */
export function microphoneProblem(error) {
  if (error.name === "NotAllowedError") return "The microphone is blocked. Allow it for this page in the browser's address bar, then try again.";
  if (error.name === "NotFoundError") return "No microphone was found. Connect one, or choose a file instead.";
  if (!navigator.mediaDevices) return "Browsers open the microphone on https:// or localhost only. Open this page there, or choose a file instead.";
  return `The microphone did not open: ${error.message}`;
}

export class Recorder extends EventTarget {
  #context;
  #stream;
  #pieces = [];
  #samples = 0;
  #most;
  #full;

  /** Opens the microphone and begins; throws what `getUserMedia` does. `longest`: seconds after which it takes no more. */
  static async start(longest = 1800) {
    const recorder = new Recorder();
    recorder.#most = longest * RATE;
    recorder.#stream = await navigator.mediaDevices.getUserMedia({ audio: AS_IT_IS });
    try {
      recorder.#context = new AudioContext();
      await recorder.#context.audioWorklet.addModule("/sdk/capture-worklet.js");
      const capture = new AudioWorkletNode(recorder.#context, "blab-capture");
      capture.port.onmessage = ({ data }) => recorder.#take(new Int16Array(data));
      recorder.#context.createMediaStreamSource(recorder.#stream).connect(capture);
      await recorder.#context.resume();
    } catch (error) {
      recorder.#close();
      throw error;
    }
    return recorder;
  }

  get ms() {
    return (this.#samples * 1000) / RATE;
  }

  /** Ends it; the recording as a file. */
  stop(name) {
    this.#close();
    return new File([wavFile(this.#pieces, RATE)], name, { type: "audio/wav" });
  }

  /** Ends it and forgets what was recorded. */
  drop() {
    this.#close();
    this.#pieces = [];
  }

  #take(samples) {
    if (this.#samples >= this.#most) {
      if (!this.#full) this.dispatchEvent(new Event("full"));
      this.#full = true;
      return;
    }
    this.#pieces.push(samples);
    this.#samples += samples.length;
    let level = 0;
    for (const sample of samples) level = Math.max(level, Math.abs(sample) / 32_768);
    this.dispatchEvent(new CustomEvent("level", { detail: level }));
  }

  #close() {
    for (const track of this.#stream.getTracks()) track.stop();
    this.#context?.close();
  }
}
