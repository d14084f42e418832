// The caller's microphone and loudspeaker, and what is measured of both.

import { microphoneProblem, problems } from "./problems.js";
import { settled } from "./waiting.js";

const RESUME_MS = 500; // without a gesture the browser leaves it pending

/** Whether this page may ask for a microphone at all. */
export const microphonePossible = () => isSecureContext && Boolean(navigator.mediaDevices?.getUserMedia);

/** The microphones and loudspeakers of this device. Browsers give names, and more than one of a kind, only
 *  to pages that may use the microphone.
 *  @returns {Promise<import("../blab.js").Devices>} */
export async function devices() {
  const known = (await navigator.mediaDevices?.enumerateDevices?.().catch(() => [])) ?? [];
  /** @param {MediaDeviceKind} kind @param {string} name */
  const list = (kind, name) =>
    known
      .filter((device) => device.kind === kind && device.deviceId && device.deviceId !== "default")
      .map(({ deviceId, label }, place) => ({ id: deviceId, label: label || `${name} ${place + 1}` }));
  return {
    microphones: list("audioinput", "Microphone"),
    speakers: list("audiooutput", "Speaker"),
    canChooseSpeaker: "setSinkId" in HTMLMediaElement.prototype,
  };
}

/** The microphone with the browser's own echo cancellation; throws a Problem. `deviceId`: which one, if it
 *  is still there; empty: the system's own.
 *  @param {string} deviceId */
async function openMicrophone(deviceId) {
  if (!microphonePossible()) throw problems.insecure();
  try {
    return await navigator.mediaDevices.getUserMedia({
      audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true, ...(deviceId && { deviceId: { ideal: deviceId } }) },
    });
  } catch (error) {
    throw microphoneProblem(error);
  }
}

/** What a call hears and plays with, from its beginning to its end. */
export class Sound {
  /** @type {MediaStream | null} */
  microphone = null;
  /** What the microphone hears. @type {AnalyserNode | null} */
  input = null;
  /** @type {AudioContext | null} */
  context = null;
  /** @type {MediaStreamAudioSourceNode | null} */
  #source = null;
  #borrowed = false; // the page opened the microphone, and closes it
  /** @type {AbortController | null} */
  #watch = null;
  #given;

  /** `element`: plays what arrives over WebRTC; `audio`: a context of the page's own, which stays open.
   *  @param {{ element?: HTMLAudioElement, audio?: AudioContext }} options */
  constructor({ element = new Audio(), audio }) {
    this.element = element;
    this.element.autoplay = true;
    this.#given = audio;
  }

  async open() {
    this.context ??= this.#given ?? new AudioContext({ latencyHint: "interactive" });
    const { context } = this;
    await settled((resolve) => context.resume().then(resolve), { ms: RESUME_MS }).catch(() => {});
    return context;
  }

  /** Opens a microphone in place of the one so far. `onGone`: it was unplugged, or its permission revoked.
   *  @param {string | MediaStream} which
   *  @param {() => void} onGone
   *  @param {AbortSignal} [signal] */
  async openMicrophone(which, onGone, signal) {
    const stream = typeof which === "string" ? await openMicrophone(which) : which;
    const borrowed = typeof which !== "string";
    if (signal?.aborted && !borrowed) stop(stream);
    signal?.throwIfAborted();
    this.closeMicrophone();
    const context = await this.open();
    this.microphone = stream;
    this.#borrowed = borrowed;
    this.input = context.createAnalyser();
    this.#source = context.createMediaStreamSource(stream);
    this.#source.connect(this.input);
    this.#watch = new AbortController();
    stream.getAudioTracks()[0].addEventListener("ended", onGone, { signal: this.#watch.signal });
    return stream;
  }

  /** Gives the microphone back, so that the browser's recording sign goes out. */
  closeMicrophone() {
    this.#watch?.abort();
    this.#source?.disconnect();
    if (this.microphone && !this.#borrowed) stop(this.microphone);
    this.microphone = this.input = this.#source = this.#watch = null;
  }

  /** A muted microphone sends silence. */
  get muted() {
    return this.microphone?.getAudioTracks()[0].enabled === false;
  }

  set muted(muted) {
    const [track] = this.microphone?.getAudioTracks() ?? [];
    if (track) track.enabled = !muted;
  }

  /** Plays over this loudspeaker, where the browser lets a page choose; one that is gone is the system's
   *  own again.
   *  @param {string} id */
  async useSpeaker(id) {
    const sinks = /** @type {{ setSinkId?: (id: string) => Promise<void> }[]} */ ([this.element, this.context]);
    await Promise.allSettled(sinks.map((sink) => sink?.setSinkId?.(id)));
  }

  close() {
    this.closeMicrophone();
    if (this.context && this.context !== this.#given) this.context.close().catch(() => {});
    this.context = null;
  }
}

/** @param {MediaStream} stream */
function stop(stream) {
  for (const track of stream.getTracks()) track.stop();
}
