// A call over one WebSocket: JSON events as text, PCM16 24 kHz mono as binary frames both ways.

import { closeProblem, problems } from "./problems.js";

const CONNECT_MS = 10_000;
const BACKLOG_BYTES = 96_000; // 2 s of audio: beyond it, microphone frames are dropped
const PRIME_MS = 40; // as the player worklet has it

export class WebSocketCall {
  name = "WebSocket";
  #socket = null;
  #player = null;
  #gain = null;
  #capture = null;
  #source = null;
  #closed = false;
  #begun = () => {}; // to be called when the server has taken the call
  #complaint = ""; // what the server said last before it closed

  /** As WebRtcCall. */
  constructor({ audio, onEvent, onAudio, onEnd }) {
    Object.assign(this, { audio, onEvent, onAudio, onEnd });
    this.output = audio.createAnalyser();
    this.playing = false;
  }

  async open(key, microphone, signal, handle) {
    if (!this.audio.audioWorklet) throw problems.insecure();
    await Promise.all(["capture", "player"].map((name) => this.audio.audioWorklet.addModule(`/sdk/${name}-worklet.js`)));
    signal.throwIfAborted();
    this.#buildPlayer();
    const url = new URL("/v1/realtime?model=default", location.href);
    url.protocol = url.protocol.replace("http", "ws");
    const protocols = ["realtime", `openai-insecure-api-key.${key}`, "blab.binary.v1"];
    if (handle) protocols.push(`blab-resume.${handle}`);
    this.#socket = new WebSocket(url, protocols);
    this.#socket.binaryType = "arraybuffer";
    this.#socket.addEventListener("message", ({ data }) => this.#receive(data));
    await this.#connected(signal);
    if (microphone) await this.attach(microphone);
  }

  async attach(microphone) {
    const audio = this.audio;
    this.#source = audio.createMediaStreamSource(microphone);
    this.#capture = new AudioWorkletNode(audio, "blab-capture", { channelCount: 1, channelCountMode: "explicit" });
    this.#capture.port.onmessage = ({ data }) => this.#sendAudio(data);
    // The capture node puts out silence; connected, so that every browser pulls it.
    this.#source.connect(this.#capture).connect(audio.destination);
  }

  send(event) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(event));
  }

  volume(value) {
    this.#gain.gain.setTargetAtTime(value, this.audio.currentTime, 0.015);
  }

  /** Forgets what was sent ahead and not heard; the server sends it again if it plays on. */
  flush() {
    this.#player.port.postMessage("flush");
  }

  /** ms that the network adds: a round trip, and what the player waits for before it begins. */
  networkMs(roundTripMs) {
    return roundTripMs === null ? null : roundTripMs + PRIME_MS;
  }

  close() {
    this.abandon();
    this.#socket?.close(1000, "hung up");
  }

  /** Neither hears nor plays any more, and leaves the connection as it is. */
  abandon() {
    if (this.#closed) return;
    this.#closed = true;
    this.#source?.disconnect();
    this.#capture?.port.close();
    this.#capture?.disconnect();
    this.#player?.port.close();
    this.#player?.disconnect();
    this.#gain?.disconnect();
  }

  #buildPlayer() {
    const audio = this.audio;
    this.#player = new AudioWorkletNode(audio, "blab-player", { numberOfInputs: 0, outputChannelCount: [1] });
    this.#player.port.onmessage = ({ data }) => (this.playing = data.playing);
    this.#gain = audio.createGain();
    this.#player.connect(this.output);
    this.#player.connect(this.#gain).connect(audio.destination);
  }

  #connected(signal) {
    const socket = this.#socket;
    return new Promise((resolve, reject) => {
      let open = false;
      const timer = setTimeout(() => reject(problems.unreachable()), CONNECT_MS);
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      // Not the handshake: a refusal, too, comes over an open socket, as an error and a close code.
      this.#begun = () => {
        open = true;
        clearTimeout(timer);
        resolve();
      };
      socket.addEventListener("close", async (event) => {
        clearTimeout(timer);
        const problem = await closeProblem(event, open, this.#complaint);
        if (!open) reject(problem ?? problems.unreachable());
        else if (!this.#closed) this.onEnd(problem);
      });
    });
  }

  #receive(data) {
    if (this.#closed) return;
    if (data instanceof ArrayBuffer) {
      this.onAudio();
      this.#player.port.postMessage(data, [data]);
      return;
    }
    const event = JSON.parse(data);
    if (event.type === "error") this.#complaint = event.error?.message ?? "";
    else this.#begun();
    this.onEvent(event);
  }

  #sendAudio(frame) {
    const socket = this.#socket;
    if (socket.readyState === WebSocket.OPEN && socket.bufferedAmount < BACKLOG_BYTES) socket.send(frame);
  }
}
