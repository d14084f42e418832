// The call page: wires its elements to one call.

import { Call, EphemeralKeys, asProblem, microphonePossible, problems } from "/sdk/blab.js";
import { wireThemeToggle } from "/shared/theme-toggle.js";
import { Meters } from "./meters.js";
import { Setup } from "./setup.js";
import { wireTalkKeys } from "./talk-keys.js";
import { Transcript } from "./transcript.js";
import { View } from "./view.js";

const EXTENDED = ["instructions", "voice", "language"]; // what changes the session

const $ = (id) => document.getElementById(id);

class App {
  #keys = new EphemeralKeys(location.origin);

  constructor() {
    this.call = new Call({ key: (signal) => this.#key(signal), audioElement: $("speaker") });
    this.transcript = new Transcript({ list: $("turns"), scroll: $("scroll"), empty: $("empty"), announcer: $("announcer"), medianText: $("median"), newest: $("newest") });
    this.meters = new Meters({ canvas: $("orb-canvas"), youMeter: $("you-meter"), blabMeter: $("blab-meter") });
    this.setup = new Setup({ dialog: $("setup"), form: $("setup-form"), opener: $("set-up"), onChange: (names) => this.#reconfigure(names) });
    this.view = new View(this.call, this.transcript);
    this.transcript.announces = this.setup.announces;
    this.transcript.language = this.setup.language;
    wireThemeToggle($("theme"));
    wireTalkKeys($("talk"));
    this.#wire();
    this.#follow();
    if (!microphonePossible()) this.view.problem(problems.insecure());
    this.#load();
  }

  async #load() {
    if ((await this.call.load()) && this.call.pending) this.#connect({ microphone: false });
  }

  #wire() {
    $("talk").addEventListener("click", () => this.#pressTalk());
    $("mute").addEventListener("click", () => this.#toggleMute());
    $("retry").addEventListener("click", () => this.#connect({ microphone: !this.call.pending }));
    $("dismiss").addEventListener("click", () => {
      this.call.dropPending();
      this.view.dismiss();
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
      this.#connect({ microphone: !this.call.pending });
    });
    for (const chip of document.querySelectorAll(".chip")) chip.addEventListener("click", () => this.#type(chip.textContent));
    addEventListener("beforeunload", (event) => this.view.phase === "live" && event.preventDefault());
  }

  #follow() {
    const { call, transcript, meters } = this;
    call.on("transport_event", (event) => transcript.handle(event));
    call.on("latency", ({ event, networkMs, heardMs }) => transcript.setLatency(event, networkMs, heardMs));
    call.on("agent_state", ({ state }) => (meters.held = state === "held"));
    call.on("audio_interrupted", () => this.#flinch());
    call.on("connection_change", ({ state }) => {
      if (state === "live") meters.start(call.input, call.output);
      else if (state !== "shaky") meters.stop();
    });
  }

  async #key(signal) {
    const { value, options } = await this.#keys.fresh(signal);
    if (options) {
      this.setup.offer(options);
      $("brain").textContent = options.chat ? `${options.chat.model} answers. ${options.chat.note ?? ""}` : "";
    }
    return value;
  }

  #pressTalk() {
    const { phase } = this.view;
    if (phase === "live" && !this.call.hasMicrophone) return this.#addMicrophone();
    if (phase === "idle") return this.#connect({ microphone: true });
    return this.call.close();
  }

  /** What comes of it is in the call's events. */
  #connect(options) {
    this.view.dismiss();
    const { microphone, speaker } = this.setup;
    this.call.configure({ transport: chosenTransport(), session: this.setup.session(), microphone, speaker });
    this.call.connect(options).catch(() => {});
  }

  async #reconfigure(names) {
    this.transcript.announces = this.setup.announces;
    this.transcript.language = this.setup.language;
    if (this.view.phase !== "live") return;
    if (names.some((name) => EXTENDED.includes(name))) this.call.updateSession(this.setup.session());
    if (names.includes("speaker")) await this.call.useSpeaker(this.setup.speaker);
    if (names.includes("microphone") && this.call.hasMicrophone) await this.#addMicrophone();
  }

  async #addMicrophone() {
    try {
      await this.call.useMicrophone(this.setup.microphone);
      this.meters.start(this.call.input, this.call.output);
    } catch (error) {
      this.view.problem(asProblem(error));
    }
    this.view.render();
  }

  #type(text) {
    if (!text) return;
    this.transcript.typed(this.call.sendMessage(text), text);
    if (this.view.phase === "idle") this.#connect({ microphone: false });
  }

  #flinch() {
    this.meters.interrupt();
    $("orb").classList.remove("flinch");
    requestAnimationFrame(() => $("orb").classList.add("flinch"));
    navigator.vibrate?.(15);
  }

  #toggleMute() {
    if (!this.call.hasMicrophone) return;
    this.call.mute(!this.call.muted);
    this.view.render();
  }
}

/** Where worklets are forbidden (http from afar), only WebRTC can carry sound. */
function chosenTransport() {
  return isSecureContext ? document.querySelector("[name=transport]:checked").value : "webrtc";
}

new App();
