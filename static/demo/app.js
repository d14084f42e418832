// The demo page: wires the elements to one call at a time, by the phases below.

import { Call } from "/sdk/connection.js";
import { EphemeralKeys } from "/sdk/keys.js";
import { LostCall } from "/sdk/lost-connection.js";
import { Meters } from "./meters.js";
import { closeMicrophone, microphonePossible, openMicrophone } from "/sdk/sound.js";
import { asProblem, Problem, problems } from "/sdk/problems.js";
import { untilReady } from "/sdk/readiness.js";
import { languageName, Setup } from "./setup.js";
import { LABELS, PHASES, STATES } from "./states.js";
import { clockText, Status } from "./view.js";
import { Stopwatch } from "/sdk/stopwatch.js";
import { wireTalkKeys } from "./talk-keys.js";
import { wireThemeToggle } from "/shared/theme-toggle.js";
import { Transcript } from "./transcript.js";

const RETRY_SECONDS = [1, 2, 4, 8, 8];
const STABLE_MS = 10_000; // a call of this length has used up no attempts
const QUIET_CODES = new Set(["response_cancel_not_active", "conversation_already_has_active_response"]);

const $ = (id) => document.getElementById(id);

class App {
  #phase = "loading";
  #call = null;
  #lost = null; // the LostCall that is to be resumed
  #microphone = null;
  #audio = null;
  #micAnalyser = null;
  #micSource = null;
  #attempt = null;
  #retries = 0;
  #retryTimer = null;
  #clock = null;
  #shaky = false;
  #busy = false; // every line was in use when it was last looked at
  #waiting = null; // aborts the wait for a server or a line
  #keys = new EphemeralKeys();
  #pending = []; // [item id, text] typed before the call was open; outlives a failed attempt

  constructor() {
    this.status = new Status();
    this.transcript = new Transcript({ list: $("turns"), scroll: $("scroll"), empty: $("empty"), announcer: $("announcer"), medianText: $("median"), newest: $("newest") });
    this.meters = new Meters({ canvas: $("orb-canvas"), youMeter: $("you-meter"), blabMeter: $("blab-meter") });
    this.stopwatch = new Stopwatch();
    this.meters.onFrame = () => this.stopwatch.tick(performance.now());
    this.setup = new Setup({ dialog: $("setup"), form: $("setup-form"), opener: $("set-up"), onChange: (names) => this.#reconfigure(names) });
    this.transcript.announces = this.setup.announces;
    this.transcript.language = this.setup.language;
    wireThemeToggle($("theme"));
    this.#wire();
    if (!microphonePossible()) this.status.show(problems.insecure());
    this.#awaitReady();
  }

  #wire() {
    $("talk").addEventListener("click", () => this.#pressTalk());
    $("mute").addEventListener("click", () => this.#toggleMute());
    $("retry").addEventListener("click", () => this.#start(!this.#pending.length));
    $("dismiss").addEventListener("click", () => {
      this.#pending = [];
      this.status.dismiss();
    });
    $("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#type($("message").value.trim());
      $("message").value = "";
    });
    $("key-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#keys.use($("api-key").value);
      $("api-key").value = "";
      this.#start(!this.#pending.length);
    });
    for (const chip of document.querySelectorAll(".chip")) chip.addEventListener("click", () => this.#type(chip.textContent));
    wireTalkKeys($("talk"));
    addEventListener("pagehide", () => (this.#call ?? this.#lost?.call)?.close());
    addEventListener("beforeunload", (event) => this.#phase === "live" && event.preventDefault());
    addEventListener("online", () => this.#phase === "retrying" && this.#start(Boolean(this.#microphone)));
  }

  // ------------------------------------------------------------------ before the call

  /** Waits, once, until the server answers calls, or would but for its lines. */
  async #awaitReady() {
    const state = await untilReady(
      (state, detail) => {
        if (this.#phase !== "loading") return;
        if (state === "warming") this.status.say("Loading models…", detail || "The first start takes a little longer.");
        if (state === "unreachable") this.status.say("Waiting for the server…", "It cannot be reached at the moment.");
        this.status.connection(state === "warming" ? "Warming up" : state === "unreachable" ? "Offline" : "Ready", state);
      },
      new AbortController().signal,
      ["ready", "full"],
    );
    if (this.#phase !== "loading") return;
    this.#busy = state === "full";
    if (this.#pending.length) this.#start(false);
    else this.#setPhase("idle");
  }

  #pressTalk() {
    if (this.#phase === "live" && !this.#microphone) return this.#addMicrophone();
    if (this.#phase === "live") return this.#hangUp();
    if (this.#phase === "starting" || this.#phase === "retrying") return this.#cancel();
    if (this.#phase === "idle") return this.#start(true);
    return undefined;
  }

  async #start(withMicrophone) {
    clearTimeout(this.#retryTimer);
    this.#waiting?.abort();
    this.#attempt?.abort();
    if (this.#lost?.isOver) return this.#giveUp(problems.gone());
    const attempt = (this.#attempt = new AbortController());
    this.status.dismiss();
    this.#setPhase("starting");
    try {
      await this.#openAudio();
      if (withMicrophone && !this.#microphone) await this.#openMicrophone(attempt.signal);
      if (!this.#lost) this.status.say("Connecting…", "");
      await this.#connect(attempt.signal);
    } catch (error) {
      if (!attempt.signal.aborted) this.#fail(error);
    }
    return undefined;
  }

  /** Opens a call; a key that expired while the browser asked for the microphone is renewed once. */
  async #connect(signal) {
    for (const last of [false, true]) {
      const { value, options } = await this.#keys.fresh(signal);
      signal.throwIfAborted();
      this.#offer(options);
      try {
        return await this.#openCall(value, signal);
      } catch (error) {
        if (last || error.kind !== "key") throw error;
      }
    }
    return undefined;
  }

  #offer(options) {
    if (!options) return;
    this.setup.offer(options);
    $("brain").textContent = options.chat ? `${options.chat.model} answers. ${options.chat.note ?? ""}` : "";
  }

  async #openAudio() {
    this.#audio ??= new AudioContext({ latencyHint: "interactive" });
    // Not awaited for ever: without a gesture the browser leaves it pending.
    await Promise.race([this.#audio.resume(), new Promise((resolve) => setTimeout(resolve, 500))]);
  }

  async #openMicrophone(signal) {
    this.status.say("Microphone…", "Please allow it when the browser asks.");
    const stream = await openMicrophone(this.setup.microphone);
    if (signal?.aborted) {
      closeMicrophone(stream);
      signal.throwIfAborted();
    }
    this.#microphone = stream;
    this.#micSource?.disconnect();
    this.#micAnalyser = this.#audio.createAnalyser();
    this.#micSource = this.#audio.createMediaStreamSource(stream);
    this.#micSource.connect(this.#micAnalyser);
    const [track] = stream.getAudioTracks();
    track.addEventListener("ended", () => this.#microphone === stream && this.#microphoneGone());
  }

  async #openCall(key, signal) {
    const call = new Call(this.#transport(), {
      audio: this.#audio,
      speaker: $("speaker"),
      resumes: this.#lost?.call,
      onEvent: (event) => this.#receive(event),
      onState: (state) => this.#showState(state),
      onInterrupt: () => this.#interrupted(),
      onEnd: (problem) => this.#ended(problem),
      onShaky: (shaky) => this.#setShaky(shaky),
    });
    try {
      await this.#chooseSpeaker();
      await call.open(key, this.#microphone, signal, this.setup.session());
    } catch (error) {
      call.close({ moved: Boolean(this.#lost) });
      throw error;
    }
    this.#live(call);
  }

  /** Where the browser lets a page choose; a device that is gone is the system's own again. */
  async #chooseSpeaker() {
    const id = this.setup.speaker;
    await Promise.allSettled([$("speaker").setSinkId?.(id), this.#audio.setSinkId?.(id)]);
  }

  /** Where worklets are forbidden (http from afar), only WebRTC can carry sound. */
  #transport() {
    return isSecureContext ? document.querySelector("[name=transport]:checked").value : "webrtc";
  }

  // ------------------------------------------------------------------ the call

  #live(call) {
    this.#call = call;
    this.#shaky = this.#busy = false;
    const again = this.#lost ? "Reconnected" : this.#retries && "Reconnected: this is a new conversation";
    this.#lost?.call.close({ moved: true });
    this.#lost = null;
    this.transcript.note(again || `Call over ${call.name}`);
    this.#setPhase("live");
    this.status.announce(again || "Call started");
    this.#showState(call.state);
    this.#follow();
    this.#clock = setInterval(() => this.#showConnection(), 1000);
    this.#showConnection();
    for (const [id, text] of this.#pending.splice(0)) call.type(id, text);
  }

  /** Meters and stopwatch look at the microphone and at what the call puts out. */
  #follow() {
    this.meters.start(this.#micAnalyser, this.#call.transport.output);
    this.stopwatch.start(this.#micAnalyser, this.#call.transport.output);
  }

  async #reconfigure(names) {
    this.transcript.announces = this.setup.announces;
    this.transcript.language = this.setup.language;
    if (this.#phase !== "live") return;
    if (names.some((name) => ["instructions", "voice", "language"].includes(name))) this.#call.configure(this.setup.session());
    if (names.includes("speaker")) await this.#chooseSpeaker();
    if (names.includes("microphone") && this.#microphone) {
      closeMicrophone(this.#microphone);
      await this.#addMicrophone();
    }
  }

  async #addMicrophone() {
    try {
      await this.#openMicrophone();
      await this.#call.transport.attach(this.#microphone);
      this.#follow();
      this.#setPhase("live");
      this.#showState(this.#call.state);
    } catch (error) {
      this.status.show(asProblem(error));
      this.#showState(this.#call.state);
    }
  }

  #receive(event) {
    this.transcript.handle(event);
    if (event.type === "blab.latency") this.#measure(event);
    if (event.type === "error" && !QUIET_CODES.has(event.error?.code)) this.transcript.note(event.error?.message ?? "The server reported an error.", "error");
  }

  async #measure(event) {
    const call = this.#call;
    this.transcript.setLatency(event, null, null);
    const [network, heard] = await Promise.all([call?.networkMs(), this.stopwatch.answer()].map((wait) => Promise.resolve(wait).catch(() => null)));
    if (this.#call === call) this.transcript.setLatency(event, typeof network === "number" ? network : null, heard);
  }

  #type(text) {
    if (!text) return;
    const id = `msg_${crypto.getRandomValues(new Uint32Array(3)).join("").slice(0, 24)}`;
    this.transcript.typed(id, text);
    if (this.#phase === "live") {
      this.stopwatch.forget();
      this.#call.type(id, text);
      return;
    }
    this.#pending.push([id, text]);
    if (this.#phase === "idle") this.#start(false);
  }

  #interrupted() {
    this.meters.interrupt();
    $("orb").classList.remove("flinch");
    requestAnimationFrame(() => $("orb").classList.add("flinch"));
    navigator.vibrate?.(15);
  }

  #toggleMute() {
    const [track] = this.#microphone?.getAudioTracks() ?? [];
    if (!track) return;
    track.enabled = !track.enabled;
    $("mute").setAttribute("aria-pressed", String(!track.enabled));
    $("mute-label").textContent = track.enabled ? "Mute" : "Muted";
    document.body.classList.toggle("muted", !track.enabled);
    if (this.#call) this.#showState(this.#call.state);
  }

  // ------------------------------------------------------------------ the end

  #hangUp() {
    const seconds = this.#liveSeconds();
    this.#teardown();
    this.#pending = [];
    this.transcript.note(`Call ended after ${clockText(seconds)}`);
    this.status.announce("Call ended");
    this.#setPhase("idle");
  }

  #cancel() {
    this.#attempt?.abort();
    this.#waiting?.abort();
    clearTimeout(this.#retryTimer);
    this.#pending = [];
    this.#busy = false;
    this.#teardown();
    this.#setPhase("idle");
  }

  /** The server or the network ended a call that was open. */
  #ended(problem) {
    if (this.#liveSeconds() * 1000 > STABLE_MS) this.#retries = 0;
    if (problem?.again && (this.#lost || this.#call?.resumption)) this.#suspend(problem);
    else this.#teardown({ keepMicrophone: Boolean(problem?.again) });
    if (problem) this.#fail(problem);
    else {
      this.transcript.note("Blab ended the call");
      this.status.announce("Blab ended the call");
      this.#setPhase("idle");
    }
  }

  #fail(error) {
    const problem = asProblem(error);
    if (problem.kind === "gone" && this.#lost) {
      this.#forgetLost();
      return this.#start(Boolean(this.#microphone));
    }
    if (["full", "warming"].includes(problem.kind)) return this.#waitFor(problem);
    const lostBefore = this.#retries > 0 && problem.kind !== "mic-refused" && problem.action === "retry";
    if (this.#lost && problem.action === "retry") return this.#resume();
    const seconds = problem.again || lostBefore ? RETRY_SECONDS[this.#retries] : undefined;
    if (seconds !== undefined) return this.#retryIn(seconds, problem);
    return this.#giveUp(problem);
  }

  /** The call waits for another connection. */
  #suspend(problem) {
    if (!this.#call) return;
    this.#lost = new LostCall(this.#call);
    this.transcript.suspend();
    this.transcript.note(problem.title, "error");
    this.status.announce(problem.title);
    this.#release();
  }

  #giveUp(problem) {
    this.#teardown();
    this.#setPhase("idle");
    this.status.show(problem);
    this.status.connection(problem.title, "problem");
  }

  /** Tries to go on with the call that has lost its connection, until it can no longer be resumed. */
  #resume() {
    const seconds = this.#lost.nextAttempt();
    if (seconds === undefined) return this.#giveUp(problems.gone());
    this.#setPhase("retrying");
    this.#sayReconnecting();
    const withMicrophone = Boolean(this.#microphone);
    this.#retryTimer = setTimeout(() => this.#start(withMicrophone), seconds * 1000);
    return undefined;
  }

  #sayReconnecting() {
    this.status.say("Reconnecting…", "The conversation goes on as soon as the connection is back.");
    this.status.connection("Reconnecting…", "shaky");
  }

  /** The server knows nothing of the call any more: the next one is a new conversation. */
  #forgetLost() {
    this.#lost.call.close({ moved: true });
    this.#lost = null;
    this.#retries = Math.max(1, this.#retries);
    this.transcript.endCall();
    this.transcript.note(problems.gone().title, "error");
  }

  /** A server that loads, or has no line free, is asked until a call would be answered: then it begins
   *  by itself, with the microphone and what was typed. */
  async #waitFor(problem) {
    const waiting = (this.#waiting = new AbortController());
    const withMicrophone = Boolean(this.#microphone);
    this.#setPhase("retrying");
    const titles = { full: "All lines are busy", warming: "The server is loading", unreachable: "Waiting for the server…" };
    this.status.say(problem.title, problem.advice);
    this.status.connection(problem.title, "warming");
    const show = (state, detail) => {
      if (state === "ready") return;
      const again = state === "full" ? "You will be connected as soon as one is free. You can type meanwhile." : detail;
      this.status.say(this.#retries || this.#lost ? `Reconnecting… ${titles[state].toLowerCase()}` : titles[state], again);
      this.status.connection(titles[state], "warming");
    };
    if ((await untilReady(show, waiting.signal)) && this.#phase === "retrying") this.#start(withMicrophone);
  }

  #retryIn(seconds, problem) {
    const withMicrophone = Boolean(this.#microphone);
    this.#retries += 1;
    if (this.#retries === 1) this.transcript.note(problem.title, "error");
    this.#setPhase("retrying");
    this.status.announce(problem.title);
    this.status.say(problem.title, `Trying again in ${seconds} s (attempt ${this.#retries} of ${RETRY_SECONDS.length}).`);
    this.status.connection("Reconnecting…", "shaky");
    this.#retryTimer = setTimeout(() => this.#start(withMicrophone), seconds * 1000);
  }

  #microphoneGone() {
    this.#hangUp();
    this.status.show(new Problem("mic-missing", "The microphone was disconnected", "It was unplugged or its permission was revoked. Connect it and try again."));
  }

  /** Nothing on the page follows the call any more. */
  #release() {
    clearInterval(this.#clock);
    this.#call = null;
    this.meters.stop();
    this.stopwatch.stop();
  }

  #teardown({ keepMicrophone = false } = {}) {
    this.#call?.close();
    this.#lost?.call.close({ moved: this.#lost.isOver });
    this.#lost = null;
    this.#release();
    this.transcript.endCall();
    if (keepMicrophone) return;
    this.#retries = 0;
    this.#micSource?.disconnect();
    closeMicrophone(this.#microphone);
    this.#microphone = this.#micAnalyser = this.#micSource = null;
    $("mute").setAttribute("aria-pressed", "false");
    $("mute-label").textContent = "Mute";
    document.body.classList.remove("muted");
    this.#audio?.suspend();
  }

  // ------------------------------------------------------------------ what one sees

  #setPhase(phase) {
    if (phase !== this.#phase && !PHASES[this.#phase].includes(phase)) console.error(`no way from ${this.#phase} to ${phase}`);
    this.#phase = phase;
    document.body.dataset.phase = phase;
    const typing = phase === "live" && !this.#microphone;
    document.body.classList.toggle("typing-only", typing);
    $("talk-label").textContent = typing ? "Switch the microphone on" : LABELS[phase];
    $("talk").disabled = phase === "loading";
    document.title = phase === "live" ? "● In a call with Blab" : phase === "retrying" ? "Reconnecting… Blab" : "Talk to Blab";
    $("mute").disabled = !(phase === "live" && this.#microphone);
    $("transport").disabled = phase !== "idle" || !isSecureContext;
    document.body.dataset.state = "idle";
    if (phase === "idle" && this.#busy) {
      this.status.say("All lines are busy", "Press to connect as soon as one is free.");
      this.status.connection("All lines are busy", "warming");
    } else if (phase === "idle") {
      this.status.say("Press to talk", matchMedia("(hover: hover)").matches ? "Or hit the space bar." : "");
      this.status.connection("Ready", "ready");
    }
    if (phase === "starting" && this.#lost) this.#sayReconnecting();
    else if (phase === "starting") this.status.connection("Connecting…", "warming");
  }

  #showState(state) {
    const muted = document.body.classList.contains("muted") && (state === "listening" || state === "hearing");
    const [title, hint] = muted ? ["Muted", "Blab cannot hear you."] : STATES[state];
    document.body.dataset.state = state;
    this.meters.held = state === "held";
    this.status.say(title, this.#microphone || state !== "listening" ? hint : "Type, or press the button to speak.");
  }

  #setShaky(shaky) {
    if (shaky === this.#shaky) return;
    this.#shaky = shaky;
    this.#showConnection();
  }

  /** The one writer of the connection's state during a call. */
  #showConnection() {
    if (this.#phase === "live") this.status.connection(this.#shaky ? "Unstable…" : this.#liveText(), this.#shaky ? "shaky" : "live");
  }

  #liveSeconds() {
    return this.#call?.startedAt ? Math.round((Date.now() - this.#call.startedAt) / 1000) : 0;
  }

  #liveText() {
    const { language } = this.transcript;
    return [this.#call.name, clockText(this.#liveSeconds()), ...(language ? [languageName(language)] : [])].join(" · ");
  }
}
new App();
