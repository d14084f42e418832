// The demo page: wires the elements to one call at a time, by the phases below.

import { Call } from "./call.js";
import { EphemeralKeys } from "./keys.js";
import { Meters } from "./meters.js";
import { closeMicrophone, microphonePossible, openMicrophone } from "./microphone.js";
import { asProblem, Problem, problems } from "./problems.js";
import { untilReady } from "./readiness.js";
import { languageName, Setup } from "./setup.js";
import { Stopwatch } from "./stopwatch.js";
import { wireThemeToggle } from "./theme-toggle.js";
import { Transcript } from "./transcript.js";

/** Where each phase may lead. `retrying` is every wait for a call that is to come by itself: after a
 *  loss, for a server that loads, for a line that is free. */
const PHASES = {
  loading: ["idle", "starting"],
  idle: ["starting"],
  starting: ["live", "retrying", "idle"],
  live: ["idle", "retrying", "live"],
  retrying: ["starting", "idle", "retrying"],
};
const RETRY_SECONDS = [1, 2, 4, 8, 8];
const STABLE_MS = 10_000; // a call of this length has used up no attempts
const QUIET_CODES = new Set(["response_cancel_not_active", "conversation_already_has_active_response"]);
const STATES = {
  listening: ["Listening", "Speak whenever you like."],
  hearing: ["Hearing you", "Take your time, pauses are fine."],
  thinking: ["Thinking…", ""],
  speaking: ["Speaking", "Cut in whenever you like."],
  held: ["Go on", "Blab paused to listen."],
};
const LABELS = { loading: "Start talking", idle: "Start talking", starting: "Cancel", live: "Hang up", retrying: "Stop waiting" };

const $ = (id) => document.getElementById(id);

class App {
  #phase = "loading";
  #call = null;
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
    this.transcript = new Transcript({ list: $("turns"), scroll: $("scroll"), empty: $("empty"), announcer: $("announcer"), medianText: $("median"), newest: $("newest") });
    this.meters = new Meters({ canvas: $("orb-canvas"), youMeter: $("you-meter"), blabMeter: $("blab-meter") });
    this.stopwatch = new Stopwatch();
    this.meters.onFrame = () => this.stopwatch.tick(performance.now());
    this.setup = new Setup({ dialog: $("setup"), form: $("setup-form"), opener: $("set-up"), onChange: (names) => this.#reconfigure(names) });
    this.transcript.announces = this.setup.announces;
    this.transcript.language = this.setup.language;
    wireThemeToggle($("theme"));
    this.#wire();
    if (!microphonePossible()) this.#show(problems.insecure());
    this.#awaitReady();
  }

  #wire() {
    $("talk").addEventListener("click", () => this.#pressTalk());
    $("mute").addEventListener("click", () => this.#toggleMute());
    $("retry").addEventListener("click", () => this.#start(!this.#pending.length));
    $("dismiss").addEventListener("click", () => {
      this.#pending = [];
      this.#dismiss();
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
    document.addEventListener("keydown", (event) => this.#key(event));
    addEventListener("pagehide", () => this.#call?.close());
    addEventListener("beforeunload", (event) => this.#phase === "live" && event.preventDefault());
    addEventListener("online", () => this.#phase === "retrying" && this.#start(Boolean(this.#microphone)));
  }

  /** Space talks and hangs up from anywhere that does not use the key itself; Enter as well. */
  #key(event) {
    if (!["Space", "Enter", "NumpadEnter"].includes(event.code) || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("button, input, a, select, textarea, [role=region]")) return;
    event.preventDefault();
    $("talk").click();
  }

  // ------------------------------------------------------------------ before the call

  /** Waits, once, until the server answers calls, or would but for its lines. */
  async #awaitReady() {
    const state = await untilReady(
      (state, detail) => {
        if (this.#phase !== "loading") return;
        if (state === "warming") this.#say("Loading models…", detail || "The first start takes a little longer.");
        if (state === "unreachable") this.#say("Waiting for the server…", "It cannot be reached at the moment.");
        this.#setConnection(state === "warming" ? "Warming up" : state === "unreachable" ? "Offline" : "Ready", state);
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
    const attempt = (this.#attempt = new AbortController());
    this.#dismiss();
    this.#setPhase("starting");
    try {
      await this.#openAudio();
      if (withMicrophone && !this.#microphone) await this.#openMicrophone(attempt.signal);
      this.#say("Connecting…", "");
      await this.#connect(attempt.signal);
    } catch (error) {
      if (!attempt.signal.aborted) this.#fail(error);
    }
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
    this.#say("Microphone…", "Please allow it when the browser asks.");
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
      call.close();
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
    this.transcript.note(this.#retries ? "Reconnected: this is a new conversation" : `Call over ${call.name}`);
    this.#setPhase("live");
    this.#announce("Call started");
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
      this.#show(asProblem(error));
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
    this.#announce("Call ended");
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
    this.#teardown({ keepMicrophone: Boolean(problem?.again) });
    if (problem) this.#fail(problem);
    else {
      this.transcript.note("Blab ended the call");
      this.#announce("Blab ended the call");
      this.#setPhase("idle");
    }
  }

  #fail(error) {
    const problem = asProblem(error);
    if (["full", "warming"].includes(problem.kind)) return this.#waitFor(problem);
    const lostBefore = this.#retries > 0 && problem.kind !== "mic-refused" && problem.action === "retry";
    const seconds = problem.again || lostBefore ? RETRY_SECONDS[this.#retries] : undefined;
    if (seconds !== undefined) return this.#retryIn(seconds, problem);
    this.#teardown();
    this.#setPhase("idle");
    this.#show(problem);
    return this.#setConnection(problem.title, "problem");
  }

  /** A server that loads, or has no line free, is asked until a call would be answered: then it begins
   *  by itself, with the microphone and what was typed. */
  async #waitFor(problem) {
    const waiting = (this.#waiting = new AbortController());
    const withMicrophone = Boolean(this.#microphone);
    this.#setPhase("retrying");
    const titles = { full: "All lines are busy", warming: "The server is loading", unreachable: "Waiting for the server…" };
    this.#say(problem.title, problem.advice);
    this.#setConnection(problem.title, "warming");
    const show = (state, detail) => {
      if (state === "ready") return;
      const again = state === "full" ? "You will be connected as soon as one is free. You can type meanwhile." : detail;
      this.#say(this.#retries ? `Reconnecting… ${titles[state].toLowerCase()}` : titles[state], again);
      this.#setConnection(titles[state], "warming");
    };
    if ((await untilReady(show, waiting.signal)) && this.#phase === "retrying") this.#start(withMicrophone);
  }

  #retryIn(seconds, problem) {
    const withMicrophone = Boolean(this.#microphone);
    this.#retries += 1;
    if (this.#retries === 1) this.transcript.note(problem.title, "error");
    this.#setPhase("retrying");
    this.#announce(problem.title);
    this.#say(problem.title, `Trying again in ${seconds} s (attempt ${this.#retries} of ${RETRY_SECONDS.length}).`);
    this.#setConnection("Reconnecting…", "shaky");
    this.#retryTimer = setTimeout(() => this.#start(withMicrophone), seconds * 1000);
  }

  #microphoneGone() {
    this.#hangUp();
    this.#show(new Problem("mic-missing", "The microphone was disconnected", "It was unplugged or its permission was revoked. Connect it and try again."));
  }

  #teardown({ keepMicrophone = false } = {}) {
    clearInterval(this.#clock);
    this.#call?.close();
    this.#call = null;
    this.transcript.endCall();
    this.meters.stop();
    this.stopwatch.stop();
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
      this.#say("All lines are busy", "Press to connect as soon as one is free.");
      this.#setConnection("All lines are busy", "warming");
    } else if (phase === "idle") {
      this.#say("Press to talk", matchMedia("(hover: hover)").matches ? "Or hit the space bar." : "");
      this.#setConnection("Ready", "ready");
    }
    if (phase === "starting") this.#setConnection("Connecting…", "warming");
  }

  #showState(state) {
    const muted = document.body.classList.contains("muted") && (state === "listening" || state === "hearing");
    const [title, hint] = muted ? ["Muted", "Blab cannot hear you."] : STATES[state];
    document.body.dataset.state = state;
    this.meters.held = state === "held";
    this.#say(title, this.#microphone || state !== "listening" ? hint : "Type, or press the button to speak.");
  }

  #say(title, hint) {
    if ($("state-text").textContent !== title) $("state-text").textContent = title;
    $("hint").textContent = hint;
  }

  /** For screen readers: that a call begins or ends, no more. */
  #announce(text) {
    $("status").textContent = text;
  }

  #setShaky(shaky) {
    if (shaky === this.#shaky) return;
    this.#shaky = shaky;
    this.#showConnection();
  }

  /** The one writer of the connection's state during a call. */
  #showConnection() {
    if (this.#phase === "live") this.#setConnection(this.#shaky ? "Unstable…" : this.#liveText(), this.#shaky ? "shaky" : "live");
  }

  #setConnection(text, kind) {
    $("connection").dataset.kind = kind;
    if ($("connection-text").textContent !== text) $("connection-text").textContent = text;
  }

  #liveSeconds() {
    return this.#call?.startedAt ? Math.round((Date.now() - this.#call.startedAt) / 1000) : 0;
  }

  #liveText() {
    const { language } = this.transcript;
    return [this.#call.name, clockText(this.#liveSeconds()), ...(language ? [languageName(language)] : [])].join(" · ");
  }

  #show(problem) {
    document.body.classList.add("has-problem");
    $("problem").hidden = false;
    $("problem").dataset.kind = problem.kind;
    $("problem-title").textContent = problem.title;
    $("problem-advice").textContent = problem.advice;
    $("key-form").hidden = problem.action !== "key";
    $("retry").hidden = problem.action !== "retry";
    if (problem.action === "key") $("api-key").focus();
  }

  #dismiss() {
    document.body.classList.remove("has-problem");
    $("problem").hidden = true;
  }
}

function clockText(seconds) {
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

new App();
