// A call over one WebSocket: JSON events as text, PCM16 24 kHz mono as binary frames both ways.

import { closeProblem, problems } from "./problems.js";
import { settled } from "./waiting.js";

const CONNECT_MS = 10_000;
const BACKLOG_BYTES = 96_000; // 2 s of audio: beyond it, microphone frames are dropped
const PRIME_MS = 40; // as the player worklet has it
// In the form that bundlers understand.
const WORKLETS = [new URL("./capture-worklet.js", import.meta.url), new URL("./player-worklet.js", import.meta.url)];

export class WebSocketChannel {
  name = "WebSocket";
  /** @type {WebSocket | null} */
  #socket = null;
  /** @type {AudioWorkletNode | null} */
  #player = null;
  /** @type {GainNode | null} */
  #gain = null;
  /** @type {AudioWorkletNode | null} */
  #capture = null;
  /** @type {MediaStreamAudioSourceNode | null} */
  #source = null;
  #closed = false;
  #scope = new AbortController(); // of its listeners
  #begun = () => {}; // to be called when the server has taken the call
  #complaint = ""; // what the server said last before it closed

  /** @param {import("./connection.js").ChannelOptions} options */
  constructor({ server, query, audio, onEvent, onAudio, onEnd }) {
    this.server = server;
    this.query = query;
    this.audio = audio;
    this.onEvent = onEvent;
    this.onAudio = onAudio;
    this.onEnd = onEnd;
    this.output = audio.createAnalyser();
    this.playing = false;
  }

  /** As WebRtcChannel.
   *  @param {string} key @param {MediaStream | null} microphone @param {AbortSignal} signal
   *  @param {string} [handle] */
  async open(key, microphone, signal, handle) {
    const { audioWorklet } = this.audio;
    if (!audioWorklet) throw problems.insecure();
    await Promise.all(WORKLETS.map((worklet) => audioWorklet.addModule(worklet)));
    signal.throwIfAborted();
    this.#buildPlayer();
    const url = new URL(`${this.server}/v1/realtime`);
    for (const [name, value] of Object.entries(this.query.agent_id ? this.query : { model: "default", ...this.query })) url.searchParams.set(name, value);
    url.protocol = url.protocol.replace("http", "ws");
    const protocols = ["realtime", `openai-insecure-api-key.${key}`, "blab.binary.v1"];
    if (handle) protocols.push(`blab-resume.${handle}`);
    const socket = (this.#socket = new WebSocket(url, protocols));
    socket.binaryType = "arraybuffer";
    socket.addEventListener("message", ({ data }) => this.#receive(data), { signal: this.#scope.signal });
    await this.#connected(socket, signal);
    if (microphone) await this.attach(microphone);
  }

  /** @param {MediaStream} microphone */
  async attach(microphone) {
    const audio = this.audio;
    this.#detach();
    this.#source = audio.createMediaStreamSource(microphone);
    this.#capture = new AudioWorkletNode(audio, "blab-capture", { channelCount: 1, channelCountMode: "explicit" });
    this.#capture.port.onmessage = ({ data }) => this.#sendAudio(data);
    // The capture node puts out silence; connected, so that every browser pulls it.
    this.#source.connect(this.#capture).connect(audio.destination);
  }

  /** @param {object} event */
  send(event) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(event));
  }

  /** @param {number} value */
  volume(value) {
    this.#gain?.gain.setTargetAtTime(value, this.audio.currentTime, 0.015);
  }

  /** Forgets what was sent ahead and not heard; the server sends it again if it plays on. */
  flush() {
    this.#player?.port.postMessage("flush");
  }

  /** ms that the network adds: a round trip, and what the player waits for before it begins.
   *  @param {number | null} roundTripMs */
  networkMs(roundTripMs) {
    return roundTripMs === null ? null : roundTripMs + PRIME_MS;
  }

  /** The browser says nothing of a WebSocket's packets.
   *  @returns {Promise<any[]>} */
  async stats() {
    return [];
  }

  close() {
    this.abandon();
    this.#socket?.close(1000, "hung up");
  }

  /** Neither hears nor plays any more, and leaves the connection as it is. */
  abandon() {
    if (this.#closed) return;
    this.#closed = true;
    this.#scope.abort();
    this.#detach();
    this.#player?.port.close();
    this.#player?.disconnect();
    this.#gain?.disconnect();
  }

  #detach() {
    this.#source?.disconnect();
    this.#capture?.port.close();
    this.#capture?.disconnect();
    this.#source = this.#capture = null;
  }

  #buildPlayer() {
    const audio = this.audio;
    const player = (this.#player = new AudioWorkletNode(audio, "blab-player", { numberOfInputs: 0, outputChannelCount: [1] }));
    player.port.onmessage = ({ data }) => (this.playing = data.playing);
    this.#gain = audio.createGain();
    player.connect(this.output);
    player.connect(this.#gain).connect(audio.destination);
  }

  /** @param {WebSocket} socket @param {AbortSignal} signal
   *  @returns {Promise<void>} */
  #connected(socket, signal) {
    let open = false;
    const limits = { signal, ms: CONNECT_MS, late: problems.unreachable };
    return settled((/** @type {(value: void) => void} */ resolve, reject) => {
      // Not the handshake: a refusal, too, comes over an open socket, as an error and a close code.
      this.#begun = () => {
        open = true;
        resolve();
      };
      const closed = async (/** @type {CloseEvent} */ event) => {
        const problem = await closeProblem(event, open, this.#complaint, this.server);
        if (!open) reject(problem ?? problems.unreachable());
        else if (!this.#closed) this.onEnd(problem);
      };
      socket.addEventListener("close", closed, { signal: this.#scope.signal });
    }, limits);
  }

  /** @param {string | ArrayBuffer} data */
  #receive(data) {
    if (this.#closed) return;
    if (data instanceof ArrayBuffer) {
      this.onAudio();
      this.#player?.port.postMessage(data, [data]);
      return;
    }
    const event = JSON.parse(data);
    if (event.type === "error") this.#complaint = event.error?.message ?? "";
    else this.#begun();
    this.onEvent(event);
  }

  /** @param {ArrayBuffer} frame */
  #sendAudio(frame) {
    const socket = this.#socket;
    if (socket?.readyState === WebSocket.OPEN && socket.bufferedAmount < BACKLOG_BYTES) socket.send(frame);
  }
}
