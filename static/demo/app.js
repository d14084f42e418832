// The call page: wires its elements to one call.

import { Call, EphemeralKeys, asProblem, microphonePossible, problems } from "/sdk/blab.js";
import { wireHeader } from "/shared/header.js";
import { Inspector } from "./inspect/inspector.js";
import { Meters } from "./meters.js";
import { Setup } from "./setup.js";
import { wireHold, wireTalkKeys } from "./talk-keys.js";
import { Transcript } from "./transcript.js";
import { View } from "./view.js";

const TAIL_MS = 150; // what is under way when the button is let go still belongs to the turn

const $ = (id) => document.getElementById(id);

class App {
  #keys = new EphemeralKeys(location.origin);
  #previewing = false;

  constructor() {
    this.call = new Call({ key: (signal) => this.#key(signal), audioElement: $("speaker") });
    this.transcript = new Transcript({ list: $("turns"), scroll: $("scroll"), empty: $("empty"), announcer: $("announcer"), medianText: $("median"), newest: $("newest") });
    this.meters = new Meters({ canvas: $("orb-canvas"), youMeter: $("you-meter"), blabMeter: $("blab-meter") });
    this.setup = new Setup({ onChange: (names, session) => this.#reconfigure(names, session), onPreview: (values) => this.#preview(values), onOpen: () => this.#learn() });
    this.view = new View(this.call, this.transcript, this.setup);
    this.inspector = new Inspector(this.call);
    this.#keys.use(sessionStorage.getItem("blab.key") ?? "");
    this.#takeSetup();
    wireHeader();
    wireTalkKeys($("talk"), $("push"));
    wireHold($("push"), (on) => this.#push(on));
    this.#wireTranscriptTools();
    this.#wire();
    this.#follow();
    if (!microphonePossible()) this.view.problem(problems.insecure());
    this.#load();
    this.#showAccount();
  }

  async #showAccount() {
    const session = await fetch("/session").then((response) => response.json(), () => null);
    if (session?.data?.user) (await import("./account.js")).showAccount(session.data);
  }

  async #load() {
    if ((await this.call.load()) && this.call.pending) this.#connect({ microphone: false });
  }

  #wire() {
    $("talk").addEventListener("click", () => this.#pressTalk());
    $("mute").addEventListener("click", () => this.#toggleMute());
    $("dial").addEventListener("click", () => this.#openDialPad());
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

  #wireTranscriptTools() {
    const { transcript } = this;
    const buttons = ["copy", "save"].map((name) => {
      const button = $(`${name}-transcript`);
      button.addEventListener("click", async () => (await import("./transcript-tools.js"))[name](transcript.text(), button));
      return button;
    });
    const enable = () => buttons.forEach((button) => (button.disabled = !transcript.text().length));
    new MutationObserver(enable).observe(transcript.list, { childList: true, subtree: true, characterData: true });
  }

  #follow() {
    const { call, transcript, meters } = this;
    call.on("transport_event", (event) => transcript.handle(event));
    call.on("latency", ({ event, networkMs, heardMs }) => transcript.setLatency(event, networkMs, heardMs));
    call.on("agent_state", ({ state }) => (meters.held = state === "held"));
    call.on("audio_interrupted", () => this.#flinch());
    call.on("connection_change", ({ state, from }) => {
      if (state === "live" && from !== "shaky") this.#listen();
      else if (!["live", "shaky"].includes(state)) meters.stop();
    });
  }

  /** Meters and recording follow the microphone and what the call puts out. */
  #listen() {
    this.meters.start(this.call.input, this.call.output);
    if (this.setup.pushesToTalk) this.call.mute(true);
    this.inspector.listen();
    this.view.render();
  }

  async #key(signal) {
    const { value, options } = await this.#keys.fresh(signal);
    if (options) this.setup.offer(options);
    return value;
  }

  /** What the server can do, for the form; without a key it stays unknown. */
  #learn() {
    this.#key().catch(() => this.setup.say("Voices, languages and agents are listed once the server has a key."));
  }

  // ------------------------------------------------------------------ the call

  #pressTalk() {
    const { phase } = this.view;
    if (phase === "live" && !this.call.hasMicrophone) return this.#addMicrophone();
    if (phase === "idle") return this.#connect({ microphone: true });
    return this.call.close();
  }

  /** What comes of it is in the call's events. */
  #connect(options) {
    this.view.dismiss();
    const { microphone, speaker, agent } = this.setup.values;
    this.call.configure({ transport: chosenTransport(), session: this.setup.session(), microphone, speaker, agent });
    this.call.connect(options).catch(() => {});
  }

  async #reconfigure(names, ofTheSession) {
    this.#takeSetup();
    const live = this.view.phase === "live";
    if (live && names.includes("agent")) this.setup.say("Another agent answers from the next call on.");
    if (live && names.includes("voice") && !this.setup.values.voice) this.setup.say("The default voice speaks from the next call on.");
    this.view.render();
    if (!live) return;
    if (ofTheSession.length) this.call.updateSession(this.setup.session(ofTheSession));
    if (names.includes("pace")) this.call.mute(this.setup.pushesToTalk);
    if (names.includes("speaker")) await this.call.useSpeaker(this.setup.values.speaker);
    if (names.includes("microphone") && this.call.hasMicrophone) await this.#addMicrophone();
    this.view.render();
  }

  #takeSetup() {
    this.transcript.announces = this.setup.values.announces;
    this.transcript.language = this.setup.values.language;
  }

  async #addMicrophone() {
    try {
      await this.call.useMicrophone(this.setup.values.microphone);
      this.#listen();
    } catch (error) {
      this.view.problem(asProblem(error));
    }
    this.view.render();
  }

  async #preview(values) {
    if (this.#previewing) return;
    this.#previewing = true;
    $("preview").setAttribute("aria-busy", "true");
    this.setup.say("");
    try {
      const { preview } = await import("/shared/preview.js");
      await preview({ key: (signal) => this.#key(signal), transport: chosenTransport(), speaker: values.speaker }, { voice: values.voice, language: this.setup.spokenLanguage });
    } catch (error) {
      this.setup.say(asProblem(error).title);
    }
    $("preview").removeAttribute("aria-busy");
    this.#previewing = false;
  }

  #type(text) {
    if (!text) return;
    this.transcript.typed(this.call.sendMessage(text), text);
    if (this.view.phase === "idle") this.#connect({ microphone: false });
  }

  /** The first time; from then on the button opens and closes it by itself. */
  async #openDialPad() {
    const { DialPad } = await import("./dial-pad.js");
    if (!$("dial").popoverTargetElement) new DialPad(this.call, $("dial"), (text) => this.#type(text)).element.showPopover();
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

  /** Push to talk: the turn is what is said while the button is held. */
  #push(on) {
    if (!this.call.hasMicrophone || this.view.phase !== "live") return;
    if (on) {
      this.call.interrupt();
      this.call.sendEvent({ type: "input_audio_buffer.clear" });
      this.call.mute(false);
    } else {
      setTimeout(() => {
        if (this.view.phase !== "live") return;
        this.call.mute(true);
        this.call.commit();
        this.view.render();
      }, TAIL_MS);
    }
    this.view.render();
  }
}

/** Where worklets are forbidden (http from afar), only WebRTC can carry sound. */
function chosenTransport() {
  return isSecureContext ? document.querySelector("[name=transport]:checked").value : "webrtc";
}

new App();
