// A call from key to hang-up: the machine of its states, the connections that carry it one after another,
// the microphone and the loudspeaker, and what is measured on the way.

import { Connection } from "./connection.js";
import { Emitter } from "./emitter.js";
import { History } from "./history.js";
import { LostConnection } from "./lost-connection.js";
import { STATUS, TABLE } from "./machine.js";
import { asProblem, Problem, problems } from "./problems.js";
import { untilReady } from "./readiness.js";
import { Sound } from "./sound.js";
import { Stopwatch } from "./stopwatch.js";
import { toolEvents } from "./tools.js";

/** @typedef {import("../blab.js").Call} Declared */
/** @typedef {import("../blab.js").CallOptions} CallOptions */
/** @typedef {import("../blab.js").CallState} CallState */
/** @typedef {import("../blab.js").ServerEvent} ServerEvent */

const RETRY_SECONDS = [1, 2, 4, 8, 8];
const STABLE_MS = 10_000; // a call of this length has used up no attempts
const MOST_PENDING = 16; // messages that wait for a connection; beyond it, the oldest is dropped
const QUIET_CODES = ["response_cancel_not_active", "conversation_already_has_active_response"];

/** @implements {Declared} */
export class Call extends Emitter {
  /** @type {CallState} */
  #state = "idle";
  #options;
  #server;
  #sound;
  /** @type {Connection | null} */
  #connection = null;
  /** @type {LostConnection | null} */
  #lost = null; // the one whose call is to be resumed
  #withMicrophone = true;
  #retries = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {AbortController | null} */
  #attempt = null;
  /** @type {AbortController | null} */
  #waiting = null; // aborts the wait for a server or a line
  /** @type {AbortController | null} */
  #scope = null; // of the listeners on the page, while the call is on
  /** @type {{ resolve: () => void, reject: (problem: unknown) => void } | null} */
  #outcome = null; // of `connect`
  /** @type {[id: string, text: string][]} */
  #pending = []; // typed before the call was open; outlives a failed attempt
  #stopwatch = new Stopwatch();
  #frame = 0;
  #history = new History((item, added) => {
    if (added) this.emit("history_added", item);
    this.emit("history_updated", this.#history.items);
  });

  /** @param {CallOptions} options */
  constructor(options = {}) {
    super();
    this.#options = { transport: /** @type {const} */ ("webrtc"), microphone: "", speaker: "", session: {}, ...options };
    this.#server = (options.server ?? new URL(import.meta.url).origin).replace(/\/$/, "");
    this.#sound = new Sound({ element: options.audioElement, audio: options.audioContext });
  }

  // ------------------------------------------------------------------ what it is

  get state() {
    return this.#state;
  }

  get agentState() {
    return this.#connection?.state ?? "listening";
  }

  get transport() {
    return this.#connection?.name ?? null;
  }

  get seconds() {
    const startedAt = (this.#connection ?? this.#lost?.connection)?.startedAt;
    return startedAt ? Math.round((Date.now() - startedAt) / 1000) : 0;
  }

  get hasMicrophone() {
    return Boolean(this.#sound.microphone);
  }

  get muted() {
    return this.#sound.muted;
  }

  get history() {
    return this.#history.items;
  }

  get pending() {
    return this.#pending.length;
  }

  /** What the microphone hears, as an AnalyserNode of the call. */
  get input() {
    return this.#sound.input;
  }

  /** What the agent says, as an AnalyserNode of the call. */
  get output() {
    return this.#connection?.channel.output ?? null;
  }

  // ------------------------------------------------------------------ before the call

  async load() {
    if (!this.#step("load")) return null;
    const waiting = (this.#waiting = new AbortController());
    const state = await untilReady(this.#server, (server, detail) => this.emit("waiting", { server, detail }), waiting.signal, ["ready", "full"]);
    if (state) this.#step("loaded", { server: state });
    return state;
  }

  /** @param {Partial<CallOptions>} changes */
  configure(changes) {
    Object.assign(this.#options, changes);
  }

  /** @returns {Promise<void>} */
  connect({ microphone = true } = {}) {
    if (!TABLE[this.#state].dial || this.#outcome) return Promise.reject(new Error(`The call is ${this.#state} already.`));
    this.#withMicrophone = microphone;
    return new Promise((resolve, reject) => {
      this.#outcome = { resolve, reject };
      this.#history.clear();
      this.#begin();
      this.#dial();
    });
  }

  /** Tries again at once, where the call waits for another attempt. */
  retry() {
    if (this.#state === "retrying") this.#dial();
  }

  // ------------------------------------------------------------------ the call

  /** @param {import("../blab.js").ClientEvent} event */
  sendEvent(event) {
    this.#connection?.send(event);
  }

  /** @param {string} text */
  sendMessage(text) {
    const id = `msg_${crypto.getRandomValues(new Uint32Array(3)).join("").slice(0, 24)}`;
    if (this.#isOpen) {
      this.#stopwatch.forget();
      this.#connection?.type(id, text);
    } else {
      this.#pending.push([id, text]);
      if (this.#pending.length > MOST_PENDING) this.#pending.shift();
    }
    return id;
  }

  /** Drops what was typed and is not sent yet. */
  dropPending() {
    this.#pending = [];
  }

  interrupt() {
    this.#connection?.interrupt();
  }

  /** @param {string} digit */
  pressKey(digit) {
    this.sendEvent({ type: "blab.dtmf", digit });
  }

  /** @param {object} session */
  updateSession(session) {
    this.#options.session = session;
    if (this.#isOpen) this.#connection?.configure(session);
  }

  /** @param {string} callId @param {string} output */
  sendFunctionCallOutput(callId, output, { respond = true } = {}) {
    this.sendEvent({ type: "conversation.item.create", item: { type: "function_call_output", call_id: callId, output } });
    if (respond) this.sendEvent({ type: "response.create" });
    this.emit("agent_tool_end", { callId, output });
  }

  /** @param {boolean} muted */
  mute(muted) {
    this.#sound.muted = muted;
  }

  /** The turn of a caller who pushes to talk ends here. */
  commit() {
    this.sendEvent({ type: "input_audio_buffer.commit" });
    this.sendEvent({ type: "response.create" });
  }

  /** @param {string | MediaStream} [which] */
  async useMicrophone(which = this.#options.microphone) {
    this.#options.microphone = which;
    if (!this.#isOpen) return;
    const connection = this.#connection;
    const stream = await this.#openMicrophone();
    if (connection !== this.#connection) return;
    await connection?.channel.attach(stream);
    this.#measure();
  }

  /** @param {string} id */
  async useSpeaker(id) {
    this.#options.speaker = id;
    await this.#sound.useSpeaker(id);
  }

  async stats() {
    return (await this.#connection?.channel.stats()) ?? [];
  }

  get roundTripMs() {
    return this.#connection?.roundTripMs ?? null;
  }

  close() {
    this.#pending = [];
    this.#end({ reason: "hung_up" });
  }

  // ------------------------------------------------------------------ connecting

  get #isOpen() {
    return this.#state === "live" || this.#state === "shaky";
  }

  /** What happens to the call: the state that the table gives, or none.
   *  @param {import("./machine.js").Input} input @param {object} [detail] */
  #step(input, detail = {}) {
    const from = this.#state;
    const state = TABLE[from][input];
    if (!state) return false;
    this.#state = state;
    this.emit("connection_change", { state, from, status: STATUS[state], ...detail });
    return true;
  }

  /** The listeners on the page that a call needs, until its end. */
  #begin() {
    this.#scope = new AbortController();
    const scope = { signal: this.#scope.signal };
    addEventListener("pagehide", () => this.close(), scope);
    addEventListener("online", () => this.retry(), scope);
  }

  async #dial() {
    clearTimeout(this.#timer);
    this.#waiting?.abort();
    this.#attempt?.abort();
    if (this.#lost?.isOver) return this.#giveUp(problems.gone());
    const attempt = (this.#attempt = new AbortController());
    if (!this.#step("dial", { resumes: Boolean(this.#lost) })) return undefined;
    try {
      const audio = await this.#sound.open();
      if (this.#withMicrophone && !this.#sound.microphone) await this.#openMicrophone(attempt.signal);
      attempt.signal.throwIfAborted();
      await this.#connect(audio, attempt.signal);
    } catch (error) {
      if (!attempt.signal.aborted) this.#fail(error);
    }
    return undefined;
  }

  /** Opens a connection; a key that expired while the browser asked for the microphone is renewed once.
   *  @param {AudioContext} audio @param {AbortSignal} signal */
  async #connect(audio, signal) {
    const { key } = this.#options;
    for (const last of [typeof key !== "function", true]) {
      const value = typeof key === "function" ? await key(signal) : (key ?? "");
      signal.throwIfAborted();
      try {
        return await this.#open(value, audio, signal);
      } catch (error) {
        if (last || !(error instanceof Problem) || error.kind !== "key") throw error;
      }
    }
    return undefined;
  }

  /** @param {AbortSignal} [signal] */
  #openMicrophone(signal) {
    this.emit("microphone_requested", {});
    return this.#sound.openMicrophone(this.#options.microphone, () => this.#microphoneGone(), signal);
  }

  /** @param {string} key @param {AudioContext} audio @param {AbortSignal} signal */
  async #open(key, audio, signal) {
    const { transport, agent, session, speaker } = this.#options;
    /** @type {Record<string, string>} */
    const query = agent ? { agent_id: agent } : {};
    const connection = new Connection(
      transport,
      { server: this.#server, query, audio, speaker: this.#sound.element },
      {
        onEvent: (event) => this.#receive(event),
        onSend: (event) => this.emit("client_event", event),
        onState: (state) => this.#follow(state),
        onInterrupt: () => this.emit("audio_interrupted", {}),
        onAudible: (audible) => this.emit(audible ? "audio_start" : "audio_stopped", {}),
        onEnd: (problem) => this.#lose(problem),
        onShaky: (shaky) => this.#step(shaky ? "quiet" : "heard"),
      },
      this.#lost?.connection,
    );
    try {
      await this.#sound.useSpeaker(speaker);
      await connection.open(key, this.#sound.microphone, signal, session);
      signal.throwIfAborted();
    } catch (error) {
      connection.close({ moved: Boolean(this.#lost) });
      throw error;
    }
    this.#live(connection);
  }

  /** @param {Connection} connection */
  #live(connection) {
    this.#connection = connection;
    const resumed = Boolean(this.#lost);
    this.#lost?.connection.close({ moved: true });
    this.#lost = null;
    this.#measure();
    this.#step("opened", { resumed, again: !resumed && this.#retries > 0 });
    this.#outcome?.resolve();
    this.#outcome = null;
    for (const [id, text] of this.#pending.splice(0)) connection.type(id, text);
  }

  // ------------------------------------------------------------------ what comes in

  /** @param {ServerEvent} event */
  #receive(event) {
    this.#history.handle(event);
    this.emit("transport_event", event);
    for (const [name, payload] of toolEvents(event)) this.emit(name, payload);
    const { type, response } = event;
    if (type === "response.created") this.emit("agent_start", { responseId: response.id });
    if (type === "response.done") {
      const output = this.#history.find(response.output?.[0]?.id)?.text ?? "";
      this.emit("agent_end", { responseId: response.id, status: response.status, output });
    }
    if (type === "response.output_audio_transcript.delta") {
      this.emit("audio_transcript_delta", { itemId: event.item_id, responseId: event.response_id, delta: event.delta });
    }
    if (type === "blab.latency") this.#latency(event);
    if (type === "error" && !QUIET_CODES.includes(event.error?.code)) this.emit("error", { type: "error", error: event.error });
  }

  /** @param {import("../blab.js").AgentState} state */
  #follow(state) {
    if (state !== "speaking") this.#stopwatch.hold(state === "held");
    this.emit("agent_state", { state });
  }

  /** The stopwatch looks at the microphone and at what the call puts out, frame by frame. */
  #measure() {
    this.#stopwatch.start(this.input, this.output);
    cancelAnimationFrame(this.#frame);
    const tick = () => {
      this.#stopwatch.tick(performance.now());
      this.#frame = requestAnimationFrame(tick);
    };
    this.#frame = requestAnimationFrame(tick);
  }

  /** First as the server knows it; again as soon as this end has measured its own part.
   *  @param {ServerEvent} event */
  async #latency(event) {
    const connection = this.#connection;
    this.emit("latency", { event, networkMs: null, heardMs: null });
    const [networkMs, heardMs] = await Promise.all([connection?.networkMs() ?? null, this.#stopwatch.answer()]);
    if (connection && connection === this.#connection) this.emit("latency", { event, networkMs, heardMs });
  }

  // ------------------------------------------------------------------ losing it

  /** The server or the network ended a connection that was open.
   *  @param {Problem | null} problem */
  #lose(problem) {
    const connection = this.#connection;
    if (this.seconds * 1000 > STABLE_MS) this.#retries = 0;
    if (!problem) return this.#end({ reason: "server" });
    const resumption = problem.again ? connection?.resumption : null;
    if (connection && resumption) this.#lost = new LostConnection(connection, resumption.window);
    if (problem.again) this.#loses(problem, Boolean(resumption));
    this.#release();
    return this.#fail(problem);
  }

  /** @param {Problem} problem @param {boolean} resumable */
  #loses(problem, resumable) {
    if (!resumable) this.#history.settle();
    this.emit("connection_lost", { problem, resumable });
  }

  /** @param {unknown} error */
  #fail(error) {
    const problem = asProblem(error);
    if (problem.kind === "gone" && this.#lost) return this.#forgetLost();
    if (["full", "warming"].includes(problem.kind)) return this.#waitFor(problem);
    const lostBefore = this.#retries > 0 && problem.kind !== "mic-refused" && problem.action === "retry";
    if (this.#lost && problem.action === "retry") return this.#resume(problem);
    const seconds = problem.again || lostBefore ? RETRY_SECONDS[this.#retries] : undefined;
    if (seconds !== undefined) return this.#retryIn(seconds, problem);
    return this.#giveUp(problem);
  }

  /** Tries to go on with the call that has lost its connection, until it can no longer be resumed.
   *  @param {Problem} problem */
  #resume(problem) {
    const seconds = this.#lost?.nextAttempt();
    if (seconds === undefined) return this.#giveUp(problems.gone());
    this.#step("wait", { problem, seconds, resumes: true });
    this.#timer = setTimeout(() => this.#dial(), seconds * 1000);
    return undefined;
  }

  /** @param {number} seconds @param {Problem} problem */
  #retryIn(seconds, problem) {
    this.#retries += 1;
    if (this.#state === "opening" && this.#retries === 1) this.#loses(problem, false);
    this.#step("wait", { problem, seconds, attempt: this.#retries, attempts: RETRY_SECONDS.length });
    this.#timer = setTimeout(() => this.#dial(), seconds * 1000);
  }

  /** The server knows nothing of the call any more: the next one is a new conversation. */
  #forgetLost() {
    this.#lost?.connection.close({ moved: true });
    this.#lost = null;
    this.#retries = Math.max(1, this.#retries);
    this.#loses(problems.gone(), false);
    this.#dial();
  }

  /** A server that loads, or has no line free, is asked until a call would be answered: then it begins
   *  by itself, with the microphone and what was typed.
   *  @param {Problem} problem */
  async #waitFor(problem) {
    const waiting = (this.#waiting = new AbortController());
    const again = this.#retries > 0 || Boolean(this.#lost);
    this.#step("wait", { problem, again });
    const show = (/** @type {string} */ server, /** @type {string} */ detail) => server !== "ready" && this.emit("waiting", { server, detail, again });
    if (await untilReady(this.#server, show, waiting.signal)) this.retry();
  }

  #microphoneGone() {
    this.#giveUp(new Problem("mic-missing", "The microphone was disconnected", "It was unplugged or its permission was revoked. Connect it and try again."));
  }

  // ------------------------------------------------------------------ the end

  /** @param {Problem} problem */
  #giveUp(problem) {
    this.#end({ reason: "problem", problem });
  }

  /** The one way to the end: nothing runs or listens afterwards.
   *  @param {{ reason: "hung_up" | "server" | "problem", problem?: Problem }} detail */
  #end(detail) {
    if (!TABLE[this.#state].end) return;
    const { seconds } = this;
    clearTimeout(this.#timer);
    this.#attempt?.abort();
    this.#waiting?.abort();
    this.#scope?.abort();
    this.#goodbye();
    this.#lost = null;
    this.#retries = 0;
    this.#release();
    this.#sound.close();
    this.#history.settle();
    const outcome = this.#outcome;
    this.#outcome = null;
    this.#step("end", { ...detail, seconds });
    outcome?.reject(detail.problem ?? new DOMException("The call was ended before it was open.", "AbortError"));
  }

  #goodbye() {
    this.#connection?.close();
    this.#lost?.connection.close({ moved: this.#lost.isOver });
  }

  /** Nothing follows the connection any more. */
  #release() {
    cancelAnimationFrame(this.#frame);
    this.#connection = null;
    this.#stopwatch.stop();
  }
}
