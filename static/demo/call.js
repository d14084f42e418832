// One call from key to hang-up: opens the transport, follows the agent's state, passes events on.

import { WebRtcCall } from "./webrtc.js";
import { WebSocketCall } from "./websocket.js";

const TRANSPORTS = { webrtc: WebRtcCall, websocket: WebSocketCall };
const EXTENSIONS = ["latency", "transcript.partial", "playout"];
const STEP_BACK = 0.35; // the agent's volume while the caller begins to speak over it

export class Call {
  /** `transport`: "webrtc" | "websocket". `state` is what the agent does:
   *  listening | hearing | thinking | speaking | held. */
  state = "listening";
  startedAt = 0;
  #responding = null; // id of the response being generated
  #audible = false; // the caller hears the agent
  #tellsPlayout = false;

  constructor(transport, { audio, speaker, onEvent, onState, onInterrupt, onEnd, onShaky }) {
    Object.assign(this, { onEvent, onState, onInterrupt });
    this.transport = new TRANSPORTS[transport]({ audio, speaker, onEvent: (event) => this.#receive(event), onEnd, onShaky });
  }

  get name() {
    return this.transport.name;
  }

  async open(key, microphone, signal) {
    await this.transport.open(key, microphone, signal);
    this.startedAt = Date.now();
    this.send({ type: "session.update", session: { type: "realtime", blab: { events: EXTENSIONS } } });
  }

  send(event) {
    this.transport.send(event);
  }

  /** Says `text` for the caller; what the agent is saying stops. */
  type(itemId, text) {
    if (this.#responding) this.send({ type: "response.cancel" });
    if (this.#audible) {
      this.send({ type: "output_audio_buffer.clear" });
      this.#cutShort();
    }
    this.send({
      type: "conversation.item.create",
      item: { id: itemId, type: "message", role: "user", content: [{ type: "input_text", text }] },
    });
    this.send({ type: "response.create" });
    this.#set("thinking");
  }

  close() {
    this.transport.close();
  }

  #receive(event) {
    this.#follow(event);
    this.onEvent(event);
  }

  #follow(event) {
    switch (event.type) {
      case "input_audio_buffer.speech_started":
        if (this.#audible) this.transport.volume(STEP_BACK);
        this.#set("hearing");
        break;
      case "input_audio_buffer.speech_stopped":
        if (this.state === "hearing") this.#set(this.#audible ? "speaking" : "thinking");
        if (this.state === "speaking") this.transport.volume(1);
        break;
      case "conversation.item.input_audio_transcription.completed":
        if (this.state === "thinking" && !event.transcript.trim() && !this.#responding) this.#set("listening");
        break;
      case "response.created":
        this.#responding = event.response.id;
        this.transport.volume(1);
        this.#set("thinking");
        break;
      case "output_audio_buffer.started":
      case "blab.playout.started":
        this.#tellsPlayout = true;
        this.#speak();
        break;
      case "response.output_audio_transcript.delta":
      case "response.audio_transcript.delta":
        if (this.#responding) this.#speak();
        break;
      case "blab.playout.held":
        this.transport.flush();
        this.onInterrupt();
        this.#set("held");
        break;
      case "blab.playout.resumed":
        this.transport.volume(1);
        this.#set("speaking");
        break;
      case "output_audio_buffer.stopped":
      case "blab.playout.stopped":
        this.#silent();
        break;
      case "output_audio_buffer.cleared":
      case "blab.playout.cleared":
      case "conversation.item.truncated":
        this.#cutShort();
        break;
      case "response.done":
        this.#done(event.response);
        break;
    }
  }

  #speak() {
    this.#audible = true;
    if (this.state === "thinking" || this.state === "listening") this.#set("speaking");
  }

  #silent() {
    this.#audible = false;
    if (this.state === "speaking" || this.state === "held") this.#set("listening");
  }

  #cutShort() {
    if (!this.#audible) return;
    this.transport.flush();
    if (this.state !== "held") this.onInterrupt();
    this.#audible = false;
    if (this.state === "held") this.#set("hearing");
    if (this.state === "speaking") this.#set("listening");
  }

  #done(response) {
    if (this.#responding === response.id) this.#responding = null;
    if (response.status === "cancelled") this.#cutShort();
    // Without word about the playout, the end of the response has to do as its end.
    else if (!this.#tellsPlayout || !this.#audible) this.#silent();
    if (this.state === "thinking") this.#set("listening");
  }

  #set(state) {
    if (state === this.state) return;
    this.state = state;
    this.onState(state);
  }
}
