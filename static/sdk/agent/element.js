// <blab-agent embed="emb_…">: an agent on any web page, as a bubble in the corner or in its place (mode="inline").
//
// The page sees it by the events below, which bubble and leave the shadow DOM. Nothing here needs more of a
// content security policy than the server's origin in script-src and connect-src.

import { Call, Problem } from "../client/blab.js";
import { Embed } from "./embed.js";
import { languageOf, TEXTS } from "./texts.js";
import { View } from "./view.js";

/** @typedef {import("./embed.js").Widget} Widget */
/** @typedef {import("../blab.js").ConnectionChange} ConnectionChange */

const ATTRIBUTES = ["embed", "server", "mode", "text-only", "language", "heading", "greeting", "consent", "accent"];
const FALLBACK = ["media", "unsupported"]; // what WebSocket may still be good for
/** @type {Record<string, keyof import("./texts.js").Texts>} */
const SAYS = { "mic-refused": "mic", "mic-missing": "mic", "mic-busy": "mic", insecure: "mic", gone: "lost", closed: "failed" };
const COLOUR = /^#[0-9a-f]{6}$/i;

export class BlabAgent extends HTMLElement {
  static observedAttributes = ATTRIBUTES;
  #view;
  /** @type {Embed | null} */
  #embed = null;
  /** @type {Widget | null} */
  #widget = null;
  /** @type {Call | null} */
  #call = null;
  /** @type {Problem | null} */
  #problem = null;
  /** @type {{ reason: "busy" | "warming", place?: number } | null} */
  #wait = null;
  #asksMicrophone = false;
  #resumes = false;
  #ended = false;
  #accepted = false;
  #open = false;
  #fellBack = false;
  #announced = false; // that a call has started
  #speaks = true; // the call is to have a microphone
  #messages = new Set(); // ids of those that the page knows

  constructor() {
    super();
    this.#view = new View(this.attachShadow({ mode: "open" }), {
      toggle: () => (this.#open ? this.close() : this.open()),
      main: () => this.#press(),
      mute: () => this.#mute(),
      send: (text) => this.send(text),
    });
  }

  connectedCallback() {
    if (!this.#embed) this.#load();
  }

  /** An element that is moved on the page keeps its call; one that is removed ends it. */
  disconnectedCallback() {
    queueMicrotask(() => this.isConnected || this.#forget());
  }

  /** @param {string} name @param {string | null} before @param {string | null} now */
  attributeChangedCallback(name, before, now) {
    if (before === now || !this.isConnected) return;
    if (name === "embed" || name === "server") {
      this.#forget();
      this.#load();
    } else this.#dress();
  }

  // ------------------------------------------------------------------ what the page may call

  /** Shows the panel of a bubble. */
  open() {
    if (this.#open || this.#inline) return;
    this.#open = true;
    this.#show();
    (this.#view.main.hidden ? this.#view.close : this.#view.main).focus();
    this.#emit("blab-opened");
  }

  /** Hides the panel of a bubble; a call goes on. */
  close() {
    if (!this.#open) return;
    this.#open = false;
    this.#show();
    this.#view.open.focus();
    this.#emit("blab-closed");
  }

  /** Accepts the consent text for the visitor, who has agreed elsewhere on the page. */
  accept() {
    if (this.#accepted) return;
    this.#accepted = true;
    this.#emit("blab-consent-given");
    this.#show();
  }

  /** Calls, unless there is a consent text that the visitor has not accepted. */
  async start() {
    await this.#start(!this.#textOnly);
  }

  /** @param {boolean} speaks */
  async #start(speaks) {
    if (!this.#widget || this.#needsConsent || this.#isBusy) return;
    this.#speaks = speaks;
    this.#problem = this.#wait = null;
    this.#ended = this.#fellBack = this.#announced = false;
    this.#messages.clear();
    await this.#connect();
  }

  /** Ends the call, or stops waiting for it. */
  hangUp() {
    this.#call?.close();
  }

  /** Says something in writing; begins a call without a microphone if there is none.
   *  @param {string} text */
  send(text) {
    if (!this.#widget || this.#needsConsent) return;
    const idle = !this.#isBusy;
    if (idle) this.#newCall();
    this.#call?.sendMessage(text);
    if (idle) this.#start(false);
  }

  /** What the call does: "idle", "opening", "live", "shaky", "retrying" or "ended". */
  get state() {
    return this.#call?.state ?? "idle";
  }

  // ------------------------------------------------------------------ the owner's settings

  async #load() {
    const server = (this.getAttribute("server") ?? new URL(import.meta.url).origin).replace(/\/+$/, "");
    const embed = new Embed(server, this.getAttribute("embed") ?? "", (wait) => this.#waits(wait));
    this.#embed = embed;
    this.#dress();
    try {
      const widget = await embed.widget();
      if (embed === this.#embed) this.#widget = widget;
    } catch (error) {
      if (embed === this.#embed) this.#fail(error);
    }
    if (embed === this.#embed) this.#dress();
  }

  #forget() {
    this.#call?.close();
    this.#call = this.#embed = this.#widget = this.#problem = null;
    this.#accepted = this.#open = this.#ended = false;
  }

  get #inline() {
    return this.getAttribute("mode") === "inline";
  }

  get #textOnly() {
    return this.hasAttribute("text-only");
  }

  get #language() {
    const page = this.closest("[lang]")?.getAttribute("lang");
    return languageOf([this.getAttribute("language"), this.#widget?.texts.language, page, ...navigator.languages]);
  }

  get #texts() {
    return TEXTS[this.#language];
  }

  get #consent() {
    return (this.getAttribute("consent") ?? this.#widget?.texts.consent ?? "").trim();
  }

  get #needsConsent() {
    return Boolean(this.#consent) && !this.#accepted;
  }

  get #isBusy() {
    return !["idle", "ended"].includes(this.state);
  }

  #dress() {
    const owner = this.#widget?.texts ?? {};
    const accent = this.getAttribute("accent") ?? owner.accent ?? "";
    const texts = this.#texts;
    this.#view.dress({
      texts,
      language: this.#language,
      title: this.getAttribute("heading") ?? (owner.title || texts.title),
      greeting: this.getAttribute("greeting") ?? owner.greeting ?? "",
      accent: COLOUR.test(accent) ? accent : undefined,
      inline: this.#inline,
      textOnly: this.#textOnly,
    });
    this.#show();
  }

  // ------------------------------------------------------------------ the call

  #press() {
    if (this.#isBusy) return this.hangUp();
    const writes = this.#textOnly && this.#needsConsent;
    this.accept();
    if (writes) return this.#view.input.focus();
    return this.start();
  }

  /** Mutes the microphone, or opens one in a call that was begun in writing. */
  async #mute() {
    const call = this.#call;
    if (!call) return;
    if (call.hasMicrophone) call.mute(!call.muted);
    else await call.useMicrophone().catch((error) => this.#fail(error));
    this.#show();
  }

  #newCall() {
    if (this.#call) return;
    const session = this.#textOnly ? { output_modalities: ["text"] } : {};
    const websocket = isSecureContext && (this.#textOnly || this.getAttribute("transport") === "websocket");
    const call = (this.#call = new Call({
      server: this.#embed?.server,
      key: (signal) => this.#key(signal),
      transport: websocket ? "websocket" : "webrtc",
      session,
    }));
    call.on("connection_change", (change) => this.#changed(call, change));
    call.on("microphone_requested", () => this.#ask());
    call.on("agent_state", () => {
      this.#problem = null;
      this.#show();
    });
    call.on("history_updated", (items) => {
      this.#view.turns(items);
      this.#show();
      this.#publish(items);
    });
    call.on("transport_event", (event) => this.#emit("blab-server-event", event));
  }

  async #connect() {
    this.#newCall();
    try {
      await this.#call?.connect({ microphone: this.#speaks });
    } catch (error) {
      if (error instanceof Problem) this.#ends(error);
    }
  }

  /** A call that came to nothing. Where only the path of WebRTC is blocked, WebSocket is tried once.
   *  @param {Problem} problem */
  #ends(problem) {
    if (FALLBACK.includes(problem.kind) && !this.#fellBack && isSecureContext) {
      this.#fellBack = true;
      this.#call?.configure({ transport: "websocket" });
      this.#connect();
    } else this.#fail(problem);
  }

  /** @param {AbortSignal} signal */
  async #key(signal) {
    const voice = this.getAttribute("voice") ?? undefined;
    const language = this.getAttribute("spoken-language") ?? undefined;
    const asked = { voice, language, consent: this.#accepted };
    const key = await this.#embed?.key(asked, { resumes: this.#resumes, signal });
    this.#call?.configure({ agent: this.#embed?.agentId });
    this.#wait = null;
    this.#show();
    return key ?? "";
  }

  /** @param {{ reason: "busy" | "warming", place?: number }} wait */
  #waits(wait) {
    this.#wait = wait;
    this.#show();
    this.#emit("blab-call-waiting", wait);
  }

  #ask() {
    this.#asksMicrophone = true;
    this.#show();
  }

  /** @param {Call} call @param {ConnectionChange} change */
  #changed(call, { state, from, resumes = false, reason, seconds, problem }) {
    this.#resumes = resumes;
    this.#asksMicrophone = false;
    if (state === "live" && from !== "shaky" && !this.#announced) {
      this.#announced = true;
      this.#emit("blab-call-started", { transport: call.transport });
    }
    if (state === "ended") {
      this.#wait = this.#problem = null;
      this.#ended = this.#announced;
      this.#publish(call.history);
      if (problem && this.#announced) this.#fail(problem);
      if (this.#announced) this.#emit("blab-call-ended", { reason, seconds });
    }
    this.#show();
  }

  /** Shows the page, once each, the messages that do not change any more.
   *  @param {import("../blab.js").HistoryItem[]} items */
  #publish(items) {
    for (const item of items) {
      if (item.status === "in_progress" || this.#messages.has(item.itemId)) continue;
      this.#messages.add(item.itemId);
      this.#emit("blab-message", { ...item });
    }
  }

  /** @param {unknown} error */
  #fail(error) {
    this.#problem = error instanceof Problem ? error : new Problem("failed", String(error), "");
    const { kind, message } = this.#problem;
    if (["foreign", "absent", "unreachable"].includes(kind)) console.warn(`<blab-agent> ${location.origin}: ${message}`);
    this.#emit("blab-problem", { kind, message, text: this.#says });
    this.#show();
  }

  /** @param {string} name @param {object} [detail] */
  #emit(name, detail = {}) {
    this.dispatchEvent(new CustomEvent(name, { detail, bubbles: true, composed: true }));
  }

  // ------------------------------------------------------------------ what is seen

  /** The problem in words. */
  get #says() {
    const kind = this.#problem?.kind ?? "";
    const texts = this.#texts;
    const name = SAYS[kind] ?? kind;
    return name in texts ? texts[/** @type {keyof typeof texts} */ (name)] : texts.failed;
  }

  /** @returns {import("./view.js").Shown["phase"]} */
  get #phase() {
    if (!this.#widget) return this.#problem ? "unavailable" : "loading";
    if (this.#wait) return "waiting";
    const { state } = this;
    if (state === "live" || state === "shaky") return "live";
    return this.#isBusy ? "starting" : "ready";
  }

  /** @param {string} phase */
  #status(phase) {
    const texts = this.#texts;
    if (this.#wait) {
      const { reason, place } = this.#wait;
      if (reason === "warming") return texts.warming;
      return place ? texts.place.replace("{n}", String(place)) : texts.busy;
    }
    if (phase === "live") {
      if (this.#problem) return this.#says;
      if (this.state === "shaky") return texts.retrying;
      const agent = this.#call?.agentState;
      if (agent === "thinking" || agent === "speaking") return agent === "speaking" && this.#textOnly ? texts.thinking : texts[agent];
      if (this.#call?.muted) return texts.muted;
      return this.#call?.hasMicrophone ? texts.listening : texts.typing;
    }
    if (phase === "starting") return this.#asksMicrophone ? texts.microphone : this.#resumes || this.state === "retrying" ? texts.retrying : texts.starting;
    if (this.#problem) return this.#says;
    return this.#ended ? texts.ended : "";
  }

  /** @param {string} phase */
  #label(phase) {
    const texts = this.#texts;
    if (phase === "waiting") return texts.stop;
    if (phase === "starting" || phase === "live") return texts.hangUp;
    if (phase !== "ready") return "";
    if (this.#needsConsent) return this.#textOnly ? texts.agreeToWrite : texts.agree;
    return this.#textOnly ? "" : texts.call;
  }

  #show() {
    const phase = this.#phase;
    this.#view.show({
      phase,
      agent: this.#call?.agentState ?? "",
      status: this.#status(phase),
      problem: Boolean(this.#problem) && (phase === "live" || !this.#isBusy),
      main: this.#label(phase),
      consent: phase === "ready" && this.#needsConsent ? this.#consent : "",
      microphone: phase !== "live" || this.#textOnly ? "" : this.#call?.hasMicrophone ? this.#texts.mute : this.#texts.speak,
      muted: this.#call?.hasMicrophone ? this.#call.muted : null,
      open: this.#open || this.#inline,
    });
  }
}

if (!customElements.get("blab-agent")) customElements.define("blab-agent", BlabAgent);
