// What one sees of the call: the state beside the button, the connection, problems, lines of the page's own.

import { clockText } from "/shared/dom.js";
import { languageName } from "./setup.js";

const $ = (id) => document.getElementById(id);

const AGENT = {
  listening: ["Listening", "Speak whenever you like."],
  hearing: ["Hearing you", "Take your time, pauses are fine."],
  thinking: ["Thinking…", ""],
  speaking: ["Speaking", "Cut in whenever you like."],
  held: ["Go on", "Blab paused to listen."],
};
const PHASES = { shaky: "live", ended: "idle" };
const LABELS = { loading: "Start talking", idle: "Start talking", opening: "Cancel", live: "Hang up", retrying: "Stop waiting" };
const SERVER = { full: "All lines are busy", warming: "The server is loading", unreachable: "Waiting for the server…" };

export class View {
  #call;
  #transcript;
  #setup;
  #clock = null;
  #busy = false; // every line was in use when it was last looked at

  constructor(call, transcript, setup) {
    this.#setup = setup;
    this.#call = call;
    this.#transcript = transcript;
    call.on("connection_change", (change) => this.#changed(change));
    call.on("connection_lost", (loss) => this.#lost(loss));
    call.on("waiting", (waiting) => this.#waiting(waiting));
    call.on("microphone_requested", () => this.phase === "opening" && say("Microphone…", "Please allow it when the browser asks."));
    call.on("agent_state", () => this.#showAgent());
    call.on("error", ({ error }) => transcript.note(error?.message ?? "The server reported an error.", "error"));
  }

  /** The call's state as the page shows it: one that is shaky goes on, one that has ended can be made again. */
  get phase() {
    return PHASES[this.#call.state] ?? this.#call.state;
  }

  problem(problem) {
    document.body.classList.add("has-problem");
    $("problem").hidden = false;
    $("problem").dataset.kind = problem.kind;
    $("problem-title").textContent = problem.title;
    $("problem-advice").textContent = problem.advice;
    $("key-form").hidden = problem.action !== "key";
    $("retry").hidden = problem.action !== "retry";
    if (problem.action === "key") $("api-key").focus();
  }

  dismiss() {
    document.body.classList.remove("has-problem");
    $("problem").hidden = true;
  }

  // ------------------------------------------------------------------ the call's events

  #changed(change) {
    this.#busy = change.server === "full";
    this.render();
    if (change.state === "live") this.#live(change);
    if (change.state === "shaky") this.#showConnection();
    if (change.state === "opening") this.#opening(change);
    if (change.state === "retrying") this.#retrying(change);
    if (change.state === "ended") this.#ended(change);
  }

  #opening({ resumes }) {
    if (resumes) return sayReconnecting();
    say("Connecting…", "");
    return connection("Connecting…", "warming");
  }

  #live({ from, resumed, again }) {
    this.#showAgent();
    this.#showConnection();
    if (from === "shaky") return;
    const text = resumed ? "Reconnected" : again ? "Reconnected: this is a new conversation" : "";
    this.#transcript.note(text || `Call over ${this.#call.transport}`);
    announce(text || "Call started");
    this.#clock = setInterval(() => this.#showConnection(), 1000);
  }

  #lost({ problem, resumable }) {
    if (resumable) this.#transcript.suspend();
    else this.#transcript.endCall();
    this.#transcript.note(problem.title, "error");
    announce(problem.title);
  }

  #retrying({ problem, seconds, attempt, attempts, resumes }) {
    if (resumes) return sayReconnecting();
    say(problem.title, attempt ? `Trying again in ${seconds} s (attempt ${attempt} of ${attempts}).` : problem.advice);
    return connection(attempt ? "Reconnecting…" : problem.title, attempt ? "shaky" : "warming");
  }

  /** While a page loads its server may load, too; later, a server is waited for to call it. */
  #waiting({ server, detail, again }) {
    if (this.phase === "loading") {
      if (server === "warming") say("Loading models…", detail || "The first start takes a little longer.");
      if (server === "unreachable") say("Waiting for the server…", "It cannot be reached at the moment.");
      return connection(server === "warming" ? "Warming up" : server === "unreachable" ? "Offline" : "Ready", server);
    }
    const hint = server === "full" ? "You will be connected as soon as one is free. You can type meanwhile." : detail;
    say(again ? `Reconnecting… ${SERVER[server].toLowerCase()}` : SERVER[server], hint);
    return connection(SERVER[server], "warming");
  }

  #ended({ reason, problem, seconds, from }) {
    const wasOpen = ["live", "shaky"].includes(from);
    this.#transcript.endCall();
    if (reason === "problem") {
      this.problem(problem);
      connection(problem.title, "problem");
    } else if (reason === "server") {
      this.#transcript.note("Blab ended the call");
      announce("Blab ended the call");
    } else if (wasOpen) {
      this.#transcript.note(`Call ended after ${clockText(seconds)}`);
      announce("Call ended");
    }
  }

  // ------------------------------------------------------------------ what one sees

  /** All that follows from the call's state alone. */
  render() {
    const { phase } = this;
    if (phase !== "live") clearInterval(this.#clock);
    const { body } = document;
    const { muted, hasMicrophone } = this.#call;
    const typing = phase === "live" && !hasMicrophone;
    body.dataset.phase = phase;
    body.dataset.state = phase === "live" ? this.#call.agentState : "idle";
    body.classList.toggle("typing-only", typing);
    body.classList.toggle("muted", muted);
    $("talk-label").textContent = typing ? "Switch the microphone on" : LABELS[phase];
    $("talk").disabled = phase === "loading";
    const { pushesToTalk } = this.#setup;
    $("push").hidden = !pushesToTalk;
    $("mute").hidden = pushesToTalk;
    $("mute").disabled = $("push").disabled = !(phase === "live" && hasMicrophone);
    $("dial").disabled = phase !== "live";
    $("mute").setAttribute("aria-pressed", String(muted));
    $("mute-label").textContent = muted ? "Muted" : "Mute";
    $("transport").disabled = phase !== "idle" || !isSecureContext;
    document.title = phase === "live" ? "● In a call with Blab" : phase === "retrying" ? "Reconnecting… Blab" : "Talk to Blab";
    if (phase === "idle") this.#showIdle();
    if (phase === "live") this.#showAgent();
  }

  #showIdle() {
    if (this.#busy) {
      say("All lines are busy", "Press to connect as soon as one is free.");
      connection("All lines are busy", "warming");
    } else {
      say("Press to talk", matchMedia("(hover: hover)").matches ? "Or hit the space bar." : "");
      connection("Ready", "ready");
    }
  }

  #showAgent() {
    if (this.phase !== "live") return undefined;
    const { agentState, muted, hasMicrophone } = this.#call;
    document.body.dataset.state = agentState;
    const pushes = this.#setup.pushesToTalk && hasMicrophone && ["listening", "hearing"].includes(agentState);
    if (pushes) return say(muted ? "Hold to talk" : "Hearing you", muted ? "The button below, or the space bar." : "Let go when you are done.");
    const [title, hint] = muted && ["listening", "hearing"].includes(agentState) ? ["Muted", "Blab cannot hear you."] : AGENT[agentState];
    return say(title, hasMicrophone || agentState !== "listening" ? hint : "Type, or press the button to speak.");
  }

  /** The one writer of the connection's state during a call. */
  #showConnection() {
    if (this.phase !== "live") return;
    const { language } = this.#transcript;
    const live = [this.#call.transport, clockText(this.#call.seconds), ...(language ? [languageName(language)] : [])].join(" · ");
    const shaky = this.#call.state === "shaky";
    connection(shaky ? "Unstable…" : live, shaky ? "shaky" : "live");
  }
}

function sayReconnecting() {
  say("Reconnecting…", "The conversation goes on as soon as the connection is back.");
  connection("Reconnecting…", "shaky");
}

function say(title, hint) {
  if ($("state-text").textContent !== title) $("state-text").textContent = title;
  $("hint").textContent = hint;
}

/** For screen readers: that a call begins or ends, no more. */
function announce(text) {
  $("status").textContent = text;
}

function connection(text, kind) {
  $("connection").dataset.kind = kind;
  if ($("connection-text").textContent !== text) $("connection-text").textContent = text;
}
