// One call from key to hang-up: opens the transport, follows the agent's state, passes events on. It ends
// with its connection; another Call over another connection can resume it.

import { problems } from "./problems.js";
import { WebRtcCall } from "./webrtc.js";
import { WebSocketCall } from "./websocket.js";

const TRANSPORTS = { webrtc: WebRtcCall, websocket: WebSocketCall };
const PING_MS = 1_000;
const SHAKY_MS = 2_500; // two pings without an answer
const LOST_MS = 7_000;
const RESUMABLE_LOST_MS = 4_000; // a call that can be resumed loses nothing by another connection
const EXTENSIONS = ["latency", "transcript.partial", "playout", "language", "resumption"];
const STEP_BACK = 0.35; // the agent's volume while the caller begins to speak over it

export class Call {
  /** `transport`: "webrtc" | "websocket". `state` is what the agent does:
   *  listening | hearing | thinking | speaking | held. */
  state = "listening";
  startedAt = 0;
  #responding = null; // id of the response being generated
  #audible = false; // the caller hears the agent
  #tellsPlayout = false;
  #closed = false;
  #handlers;
  #beat = null; // the interval of the pings
  #pings = new Map(); // ping id → when it was sent
  #heardAt = 0; // when the server last gave a sign of life
  #tickedAt = 0;

  /** `{handle, window}`: what resumes the call, within so many seconds; null if nothing does. */
  resumption = null;
  #resumes; // the lost Call that this one resumes

  /** Handlers: onEvent, onState, onInterrupt, onEnd, onShaky. None is called once the call is closed:
   *  what still arrives belongs to nobody. `resumes`: the lost Call that goes on in this one. */
  constructor(transport, { audio, speaker, resumes = null, ...handlers }) {
    this.#handlers = handlers;
    this.#resumes = resumes;
    this.resumption = resumes?.resumption ?? null;
    this.transport = new TRANSPORTS[transport]({
      audio,
      speaker,
      onEvent: (event) => this.#closed || this.#receive(event),
      onAudio: () => (this.#heardAt = performance.now()),
      onEnd: (problem) => this.#end(problem),
      onShaky: (shaky) => this.#emit("onShaky", shaky),
    });
  }

  /** ms of a round trip of the newest ping; null before the first. */
  roundTripMs = null;

  get name() {
    return this.transport.name;
  }

  /** `session`: what the caller has set up, as a session object. Throws a Problem. */
  async open(key, microphone, signal, session = {}) {
    await this.transport.open(key, microphone, signal, this.resumption?.handle);
    this.startedAt = this.#resumes?.startedAt ?? Date.now();
    // A call that is resumed keeps its session.
    if (!this.#resumes) this.send({ type: "session.update", session: { type: "realtime", blab: { events: EXTENSIONS }, ...session } });
    this.#resumes = null;
    this.#heardAt = this.#tickedAt = performance.now();
    this.#beat = setInterval(() => this.#ping(), PING_MS);
  }

  /** Changes the session of the running call. */
  configure(session) {
    this.send({ type: "session.update", session: { type: "realtime", ...session } });
  }

  /** ms that the network adds to an answer; null while unknown. */
  networkMs() {
    return this.transport.networkMs(this.roundTripMs);
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

  /** Ends the call, or only its connection if the call goes on over another one (`moved`). */
  close({ moved = false } = {}) {
    this.#stop();
    this.transport.close({ moved });
  }

  #stop() {
    this.#closed = true;
    clearInterval(this.#beat);
  }

  #emit(handler, ...values) {
    if (!this.#closed) this.#handlers[handler](...values);
  }

  #end(problem) {
    if (this.#closed) return;
    this.#stop();
    // To close a connection that still lives would end the call: it is kept until another one has the call.
    if (problem?.again && this.resumption) this.transport.abandon();
    else this.transport.close();
    this.#handlers.onEnd(problem);
  }

  /** The page's own sign of life: a browser shows neither a WebSocket's pings nor a dead network. */
  #ping() {
    const now = performance.now();
    // A timer that came late (a sleeping laptop, a tab in the background) says nothing of the network.
    if (now - this.#tickedAt > 3 * PING_MS) this.#heardAt = now;
    this.#tickedAt = now;
    const silent = now - this.#heardAt;
    if (silent > (this.resumption ? RESUMABLE_LOST_MS : LOST_MS)) return this.#end(problems.lost());
    this.#emit("onShaky", silent > SHAKY_MS);
    const id = `ping_${Math.round(now)}`;
    this.#pings.set(id, now);
    if (this.#pings.size > 16) this.#pings.delete(this.#pings.keys().next().value);
    return this.send({ type: "blab.ping", event_id: id });
  }

  #receive(event) {
    this.#heardAt = performance.now();
    if (event.type === "blab.pong") {
      const sent = this.#pings.get(event.ping_id);
      this.#pings.delete(event.ping_id);
      if (sent !== undefined) this.roundTripMs = this.#heardAt - sent;
      return;
    }
    if (event.type === "blab.session.resumption") {
      this.resumption = { handle: event.handle, window: event.window };
      if (event.reconnect) this.#end(problems.restarting());
      return;
    }
    this.#follow(event);
    this.#emit("onEvent", event);
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
        this.#emit("onInterrupt");
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
    if (this.state !== "held") this.#emit("onInterrupt");
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
    this.#emit("onState", state);
  }
}
