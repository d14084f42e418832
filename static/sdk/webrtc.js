// A call over WebRTC: POST the offer, audio both ways, events on the data channel "oai-events".

import { problems, responseProblem } from "./problems.js";

const GATHER_MS = 500; // wait for own candidates; the server learns late ones from the checks
const CONNECT_MS = 12_000;
const HANGUP_MS = 2_000;
const DISCONNECTED_MS = 5_000; // how long ICE may try to find the way back

export class WebRtcCall {
  name = "WebRTC";
  #peer = null;
  #channel = null;
  #sender = null;
  #location = null;
  #key = null;
  #closed = false;
  #grace = null;

  /** `audio`: the shared AudioContext; `speaker`: the <audio> element; handlers: onEvent, onEnd, onShaky. */
  constructor({ audio, speaker, onEvent, onEnd, onShaky }) {
    Object.assign(this, { audio, speaker, onEvent, onEnd, onShaky });
    this.output = audio.createAnalyser();
    this.quality = { emitted: 0, delay: 0 };
  }

  /** Opens the call; `microphone` may be null (typed conversation). Throws a Problem. */
  async open(key, microphone, signal, handle) {
    if (!globalThis.RTCPeerConnection) throw problems.unsupported();
    this.#key = key;
    const peer = (this.#peer = new RTCPeerConnection());
    this.#sender = peer.addTransceiver("audio", { direction: "sendrecv" }).sender;
    if (microphone) await this.attach(microphone);
    peer.addEventListener("track", ({ track, streams }) => this.#listen(streams[0] ?? new MediaStream([track])));
    peer.addEventListener("connectionstatechange", () => this.#watch());
    this.#channel = peer.createDataChannel("oai-events");
    this.#channel.addEventListener("message", ({ data }) => this.onEvent(JSON.parse(data)));
    this.#channel.addEventListener("close", () => this.#end(problems.lost()));
    await peer.setLocalDescription();
    await gathered(peer);
    signal.throwIfAborted();
    const answer = await this.#offer(peer.localDescription.sdp, signal, handle);
    signal.throwIfAborted();
    await peer.setRemoteDescription({ type: "answer", sdp: answer });
    await this.#connected(signal);
  }

  /** Sends the microphone from now on; needs no new negotiation. */
  async attach(microphone) {
    await this.#sender.replaceTrack(microphone.getAudioTracks()[0]);
  }

  send(event) {
    if (this.#channel?.readyState === "open") this.#channel.send(JSON.stringify(event));
  }

  /** 1: full, 0: silent at once, in between: stepping back while the caller begins to speak. */
  volume(value) {
    this.speaker.volume = value;
  }

  /** The server plays on from what was heard: only the few ms under way are silenced here. */
  flush() {
    this.volume(0);
  }

  /** ms the network adds to an answer: round trip plus the jitter buffer; null while unknown. */
  async networkMs(pingMs) {
    const quality = this.quality;
    let roundTrip = pingMs; // Firefox gives no other
    let jitter = 0;
    for (const stat of (await this.#peer.getStats()).values()) {
      if (stat.type === "candidate-pair" && stat.nominated && stat.currentRoundTripTime !== undefined) {
        roundTrip = stat.currentRoundTripTime * 1000;
      }
      if (stat.type !== "inbound-rtp" || stat.kind !== "audio") continue;
      const emitted = stat.jitterBufferEmittedCount - quality.emitted;
      if (emitted > 0) jitter = ((stat.jitterBufferDelay - quality.delay) / emitted) * 1000;
      this.quality = { emitted: stat.jitterBufferEmittedCount, delay: stat.jitterBufferDelay };
    }
    return roundTrip === null ? null : roundTrip + jitter;
  }

  /** Hangs up, unless the call has `moved` to another connection. */
  close({ moved = false } = {}) {
    this.abandon();
    const location = this.#location;
    this.#location = null;
    this.#hangUp(moved ? null : location).finally(() => this.#peer?.close());
  }

  /** Neither hears nor plays any more, and leaves the connection as it is. */
  abandon() {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#grace);
    this.#sender?.replaceTrack(null).catch(() => {});
    this.#source?.disconnect();
    if (this.speaker.srcObject === this.#stream) this.speaker.srcObject = null;
  }

  /** Says goodbye first, so that the server need not find out from the connection. */
  async #hangUp(location) {
    if (!location) return;
    const headers = { Authorization: `Bearer ${this.#key}` };
    const signal = AbortSignal.timeout(HANGUP_MS);
    await fetch(`${location}/hangup`, { method: "POST", headers, keepalive: true, signal }).catch(() => {});
  }

  #source = null;
  #stream = null;

  /** WebAudio reads a remote stream only while an <audio> element plays it as well. */
  #listen(stream) {
    this.volume(1);
    this.speaker.srcObject = this.#stream = stream;
    this.speaker.play().catch(() => {});
    this.#source = this.audio.createMediaStreamSource(stream);
    this.#source.connect(this.output);
  }

  async #offer(sdp, signal, handle) {
    let response;
    try {
      const headers = { "Content-Type": "application/sdp", Authorization: `Bearer ${this.#key}` };
      const query = handle ? `?resume=${encodeURIComponent(handle)}` : "";
      response = await fetch(`/v1/realtime/calls${query}`, { method: "POST", headers, body: sdp, signal });
    } catch (error) {
      throw error.name === "AbortError" ? error : problems.unreachable();
    }
    if (!response.ok) throw await responseProblem(response);
    const location = response.headers.get("Location");
    this.#location = location && new URL(location, response.url).href;
    return response.text();
  }

  /** Resolves when events can be sent; a path that never opens is a Problem of its own. */
  #connected(signal) {
    const channel = this.#channel;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(problems.media()), CONNECT_MS);
      const settle = (outcome, value) => {
        clearTimeout(timer);
        outcome(value);
      };
      this.#fail = (problem) => settle(reject, problem);
      signal.addEventListener("abort", () => settle(reject, signal.reason), { once: true });
      if (channel.readyState === "open") settle(resolve);
      channel.addEventListener("open", () => settle(resolve), { once: true });
    }).finally(() => (this.#fail = null));
  }

  #fail = null;

  #watch() {
    if (this.#closed) return;
    const state = this.#peer.connectionState;
    clearTimeout(this.#grace);
    this.onShaky(state === "disconnected");
    if (state === "disconnected") this.#grace = setTimeout(() => this.#end(problems.lost()), DISCONNECTED_MS);
    if (state === "failed" || state === "closed") this.#end(this.#fail ? problems.media() : problems.lost());
  }

  #end(problem) {
    if (this.#closed) return;
    if (this.#fail) this.#fail(problem);
    else this.onEnd(problem);
  }
}

/** Waits until the offer holds all own candidates, GATHER_MS at most. */
function gathered(peer) {
  if (peer.iceGatheringState === "complete") return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, GATHER_MS);
    peer.addEventListener("icegatheringstatechange", () => {
      if (peer.iceGatheringState !== "complete") return;
      clearTimeout(timer);
      resolve();
    });
  });
}
