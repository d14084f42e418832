// One connection of a call: opens the channel, follows the agent's state, notices that the network has
// died, passes events on. Another connection can resume its call.

import { problems } from "./problems.js";
import { WebRtcChannel } from "./webrtc.js";
import { WebSocketChannel } from "./websocket.js";

/** @typedef {import("../blab.js").AgentState} AgentState */
/** @typedef {import("../blab.js").ServerEvent} ServerEvent */
/** @typedef {import("./problems.js").Problem} Problem */

/** What a channel needs. `server`: its origin; `query`: of the address of a new call; `audio`: the context
 *  of the call; `speaker`: plays what arrives over WebRTC.
 *  @typedef {{
 *    server: string, query: Record<string, string>, audio: AudioContext, speaker: HTMLAudioElement,
 *    onEvent: (event: ServerEvent) => void, onAudio: () => void, onEnd: (problem: Problem | null) => void,
 *    onShaky: (shaky: boolean) => void,
 *  }} ChannelOptions */

/** @typedef {{
 *    onEvent: (event: ServerEvent) => void, onSend: (event: ServerEvent) => void,
 *    onState: (state: AgentState) => void, onInterrupt: () => void,
 *    onAudible: (audible: boolean) => void, onEnd: (problem: Problem | null) => void,
 *    onShaky: (shaky: boolean) => void,
 *  }} Handlers */

const CHANNELS = { webrtc: WebRtcChannel, websocket: WebSocketChannel };
const PING_MS = 1_000;
const SHAKY_MS = 2_500; // two pings without an answer
const LOST_MS = 7_000;
const RESUMABLE_LOST_MS = 4_000; // a call that can be resumed loses nothing by another connection
const EXTENSIONS = ["latency", "transcript.partial", "playout", "language", "resumption"];
const STEP_BACK = 0.35; // the agent's volume while the caller begins to speak over it

export class Connection {
  /** What the agent does. @type {AgentState} */
  state = "listening";
  startedAt = 0;
  /** ms of a round trip of the newest ping; null before the first. @type {number | null} */
  roundTripMs = null;
  /** What resumes the call, within so many seconds; null if nothing does.
   *  @type {{ handle: string, window: number } | null} */
  resumption = null;
  /** @type {string | null} */
  #responding = null; // id of the response being generated
  #audible = false; // the caller hears the agent
  #reportsPlayout = false;
  #closed = false;
  #handlers;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #beat; // the interval of the pings
  /** @type {Map<string, number>} */
  #pings = new Map(); // ping id → when it was sent
  #heardAt = 0; // when the server last gave a sign of life
  #tickedAt = 0;

  /** @type {Connection | null} */
  #resumes; // the lost one whose call goes on in this one

  /** No handler is called once the connection is closed: what still arrives belongs to nobody.
   *  @param {"webrtc" | "websocket"} transport
   *  @param {Pick<ChannelOptions, "server" | "query" | "audio" | "speaker">} channel
   *  @param {Handlers} handlers
   *  @param {Connection | null} resumes */
  constructor(transport, channel, handlers, resumes = null) {
    this.#handlers = handlers;
    this.#resumes = resumes;
    this.resumption = resumes?.resumption ?? null;
    this.channel = new CHANNELS[transport]({
      ...channel,
      onEvent: (event) => this.#receive(event),
      onAudio: () => (this.#heardAt = performance.now()),
      onEnd: (problem) => this.#end(problem),
      onShaky: (shaky) => this.#emit("onShaky", shaky),
    });
  }

  get name() {
    return this.channel.name;
  }

  /** `session`: what the caller has set up, as a session object. Throws a Problem.
   *  @param {string} key @param {MediaStream | null} microphone @param {AbortSignal} signal
   *  @param {object} session */
  async open(key, microphone, signal, session = {}) {
    await this.channel.open(key, microphone, signal, this.resumption?.handle);
    this.startedAt = this.#resumes?.startedAt ?? Date.now();
    // A call that is resumed keeps its session.
    if (!this.#resumes) this.send({ type: "session.update", session: { type: "realtime", blab: { events: EXTENSIONS }, ...session } });
    this.#resumes = null;
    this.#heardAt = this.#tickedAt = performance.now();
    this.#beat = setInterval(() => this.#ping(), PING_MS);
  }

  /** Changes the session of the running call.
   *  @param {object} session */
  configure(session) {
    this.send({ type: "session.update", session: { type: "realtime", ...session } });
  }

  /** ms that the network adds to an answer; null while unknown. */
  async networkMs() {
    return this.channel.networkMs(this.roundTripMs);
  }

  /** @param {ServerEvent} event */
  send(event) {
    this.channel.send(event);
    if (event.type !== "blab.ping") this.#emit("onSend", event);
  }

  /** Stops what the agent is saying. */
  interrupt() {
    if (this.#responding) this.send({ type: "response.cancel" });
    if (!this.#audible) return;
    this.send({ type: "output_audio_buffer.clear" });
    this.#cutShort();
  }

  /** Says `text` for the caller; what the agent is saying stops.
   *  @param {string} itemId @param {string} text */
  type(itemId, text) {
    this.interrupt();
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
    this.channel.close({ moved });
  }

  #stop() {
    this.#closed = true;
    clearInterval(this.#beat);
  }

  /** @template {keyof Handlers} Name
   *  @param {Name} handler @param {Parameters<Handlers[Name]>} values */
  #emit(handler, ...values) {
    const call = /** @type {(...values: any[]) => void} */ (this.#handlers[handler]);
    if (!this.#closed) call(...values);
  }

  /** @param {Problem | null} problem */
  #end(problem) {
    if (this.#closed) return;
    this.#stop();
    // To close a connection that still lives would end the call: it is kept until another one has the call.
    if (problem?.again && this.resumption) this.channel.abandon();
    else this.channel.close();
    this.#handlers.onEnd(problem);
  }

  /** The client's own sign of life: a browser shows neither a WebSocket's pings nor a dead network. */
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
    for (const oldest of this.#pings.keys()) if (this.#pings.size > 16) this.#pings.delete(oldest);
    return this.send({ type: "blab.ping", event_id: id });
  }

  /** @param {ServerEvent} event */
  #receive(event) {
    if (this.#closed) return; // the one door: what comes late changes nothing
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

  /** @param {ServerEvent} event */
  #follow(event) {
    switch (event.type) {
      case "input_audio_buffer.speech_started":
        if (this.#audible) this.channel.volume(STEP_BACK);
        this.#set("hearing");
        break;
      case "input_audio_buffer.speech_stopped":
        if (this.state === "hearing") this.#set(this.#audible ? "speaking" : "thinking");
        if (this.state === "speaking") this.channel.volume(1);
        break;
      case "conversation.item.input_audio_transcription.completed":
        if (this.state === "thinking" && !event.transcript.trim() && !this.#responding) this.#set("listening");
        break;
      case "response.created":
        this.#responding = event.response.id;
        this.channel.volume(1);
        this.#set("thinking");
        break;
      case "output_audio_buffer.started":
      case "blab.playout.started":
        this.#reportsPlayout = true;
        this.#speak();
        break;
      case "response.output_audio_transcript.delta":
      case "response.audio_transcript.delta":
        if (this.#responding) this.#speak();
        break;
      case "blab.playout.held":
        this.channel.flush();
        this.#emit("onInterrupt");
        this.#set("held");
        break;
      case "blab.playout.resumed":
        this.channel.volume(1);
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

  /** @param {boolean} audible */
  #setAudible(audible) {
    if (audible === this.#audible) return;
    this.#audible = audible;
    this.#emit("onAudible", audible);
  }

  #speak() {
    this.#setAudible(true);
    if (this.state === "thinking" || this.state === "listening") this.#set("speaking");
  }

  #silent() {
    this.#setAudible(false);
    if (this.state === "speaking" || this.state === "held") this.#set("listening");
  }

  #cutShort() {
    if (!this.#audible) return;
    this.channel.flush();
    if (this.state !== "held") this.#emit("onInterrupt");
    this.#setAudible(false);
    if (this.state === "held") this.#set("hearing");
    if (this.state === "speaking") this.#set("listening");
  }

  /** @param {{ id: string, status: string }} response */
  #done(response) {
    if (this.#responding === response.id) this.#responding = null;
    if (response.status === "cancelled") this.#cutShort();
    // Without word about the playout, the end of the response has to do as its end.
    else if (!this.#reportsPlayout || !this.#audible) this.#silent();
    if (this.state === "thinking") this.#set("listening");
  }

  /** @param {AgentState} state */
  #set(state) {
    if (state === this.state) return;
    this.state = state;
    this.#emit("onState", state);
  }
}
