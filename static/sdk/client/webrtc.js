// A call over WebRTC: POST the offer, audio both ways, events on the data channel "oai-events".

import { problems, responseProblem } from "./problems.js";
import { settled } from "./waiting.js";

const GATHER_MS = 500; // wait for own candidates; the server learns late ones from the checks
const CONNECT_MS = 12_000;
const HANGUP_MS = 2_000;
const DISCONNECTED_MS = 5_000; // how long ICE may try to find the way back

/** @typedef {import("./connection.js").ChannelOptions} ChannelOptions */

export class WebRtcChannel {
  name = "WebRTC";
  /** @type {RTCPeerConnection | null} */
  #peer = null;
  /** @type {RTCDataChannel | null} */
  #channel = null;
  /** @type {RTCRtpSender | null} */
  #sender = null;
  /** @type {string | null} */
  #location = null;
  #key = "";
  #closed = false;
  #scope = new AbortController(); // of its listeners
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #grace;
  /** @type {((problem: unknown) => void) | null} */
  #fail = null; // while it is being opened
  /** @type {MediaStreamAudioSourceNode | null} */
  #source = null;
  /** @type {MediaStream | null} */
  #stream = null;

  /** @param {ChannelOptions} options */
  constructor({ server, query, audio, speaker, onEvent, onEnd, onShaky }) {
    this.server = server;
    this.query = query;
    this.audio = audio;
    this.speaker = speaker;
    this.onEvent = onEvent;
    this.onEnd = onEnd;
    this.onShaky = onShaky;
    this.output = audio.createAnalyser();
    this.quality = { emitted: 0, delay: 0 };
  }

  /** Opens the call; `microphone` may be null (typed conversation). Throws a Problem.
   *  @param {string} key @param {MediaStream | null} microphone @param {AbortSignal} signal
   *  @param {string} [handle] */
  async open(key, microphone, signal, handle) {
    if (!globalThis.RTCPeerConnection) throw problems.unsupported();
    this.#key = key;
    const own = { signal: this.#scope.signal };
    const peer = (this.#peer = new RTCPeerConnection());
    this.#sender = peer.addTransceiver("audio", { direction: "sendrecv" }).sender;
    if (microphone) await this.attach(microphone);
    peer.addEventListener("track", ({ track, streams }) => this.#listen(streams[0] ?? new MediaStream([track])), own);
    peer.addEventListener("connectionstatechange", () => this.#watch(), own);
    const channel = (this.#channel = peer.createDataChannel("oai-events"));
    channel.addEventListener("message", ({ data }) => this.onEvent(JSON.parse(data)), own);
    channel.addEventListener("close", () => this.#end(problems.lost()), own);
    await peer.setLocalDescription();
    await gathered(peer);
    signal.throwIfAborted();
    const answer = await this.#offer(peer.localDescription?.sdp ?? "", signal, handle);
    signal.throwIfAborted();
    await peer.setRemoteDescription({ type: "answer", sdp: answer });
    await this.#connected(channel, signal);
  }

  /** Sends the microphone from now on; needs no new negotiation.
   *  @param {MediaStream} microphone */
  async attach(microphone) {
    await this.#sender?.replaceTrack(microphone.getAudioTracks()[0]);
  }

  /** @param {object} event */
  send(event) {
    if (this.#channel?.readyState === "open") this.#channel.send(JSON.stringify(event));
  }

  /** 1: full, 0: silent at once, in between: stepping back while the caller begins to speak.
   *  @param {number} value */
  volume(value) {
    this.speaker.volume = value;
  }

  /** The server plays on from what was heard: only the few ms under way are silenced here. */
  flush() {
    this.volume(0);
  }

  /** ms that the network adds to an answer: round trip plus the jitter buffer; null while unknown.
   *  @param {number | null} pingMs */
  async networkMs(pingMs) {
    const quality = this.quality;
    let roundTrip = pingMs; // Firefox gives no other
    let jitter = 0;
    for (const stat of await this.stats()) {
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

  /** What the browser knows of the connection: `RTCStats`, as they stand.
   *  @returns {Promise<any[]>} */
  async stats() {
    if (!this.#peer || this.#closed) return [];
    const report = /** @type {Map<string, any>} */ (/** @type {unknown} */ (await this.#peer.getStats()));
    return [...report.values()];
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
    this.#scope.abort();
    clearTimeout(this.#grace);
    this.#sender?.replaceTrack(null).catch(() => {});
    this.#source?.disconnect();
    if (this.speaker.srcObject === this.#stream) this.speaker.srcObject = null;
  }

  /** Says goodbye first, so that the server need not find out from the connection.
   *  @param {string | null} location */
  async #hangUp(location) {
    if (!location) return;
    const headers = { Authorization: `Bearer ${this.#key}` };
    const signal = AbortSignal.timeout(HANGUP_MS);
    await fetch(`${location}/hangup`, { method: "POST", headers, keepalive: true, signal }).catch(() => {});
  }

  /** WebAudio reads a remote stream only while an <audio> element plays it as well.
   *  @param {MediaStream} stream */
  #listen(stream) {
    this.volume(1);
    this.speaker.srcObject = this.#stream = stream;
    this.speaker.play().catch(() => {});
    this.#source = this.audio.createMediaStreamSource(stream);
    this.#source.connect(this.output);
  }

  /** @param {string} sdp @param {AbortSignal} signal @param {string} [handle] */
  async #offer(sdp, signal, handle) {
    let response;
    try {
      const headers = { "Content-Type": "application/sdp", Authorization: `Bearer ${this.#key}` };
      const query = new URLSearchParams(handle ? { resume: handle } : this.query);
      response = await fetch(`${this.server}/v1/realtime/calls?${query}`, { method: "POST", headers, body: sdp, signal });
    } catch (error) {
      throw signal.aborted ? error : problems.unreachable();
    }
    if (!response.ok) throw await responseProblem(response, this.server);
    const location = response.headers.get("Location");
    this.#location = location && new URL(location, response.url).href;
    return response.text();
  }

  /** Resolves when events can be sent; a path that never opens is a Problem of its own.
   *  @param {RTCDataChannel} channel @param {AbortSignal} signal
   *  @returns {Promise<void>} */
  #connected(channel, signal) {
    const limits = { signal, ms: CONNECT_MS, late: problems.media };
    return settled((/** @type {(value: void) => void} */ resolve, reject, scope) => {
      this.#fail = reject;
      if (channel.readyState === "open") resolve();
      channel.addEventListener("open", () => resolve(), { signal: scope });
    }, limits).finally(() => (this.#fail = null));
  }

  #watch() {
    if (this.#closed) return;
    const state = this.#peer?.connectionState;
    clearTimeout(this.#grace);
    this.onShaky(state === "disconnected");
    if (state === "disconnected") this.#grace = setTimeout(() => this.#end(problems.lost()), DISCONNECTED_MS);
    if (state === "failed" || state === "closed") this.#end(this.#fail ? problems.media() : problems.lost());
  }

  /** @param {import("./problems.js").Problem} problem */
  #end(problem) {
    if (this.#closed) return;
    if (this.#fail) this.#fail(problem);
    else this.onEnd(problem);
  }
}

/** Waits until the offer holds all own candidates, GATHER_MS at most.
 *  @param {RTCPeerConnection} peer */
function gathered(peer) {
  const limits = { ms: GATHER_MS, late: () => null };
  return settled((/** @type {(value: void) => void} */ resolve, _reject, scope) => {
    const look = () => peer.iceGatheringState === "complete" && resolve();
    peer.addEventListener("icegatheringstatechange", look, { signal: scope });
    look();
  }, limits).catch(() => {});
}
