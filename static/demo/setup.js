// What the caller has set up: who answers, voice, language, turn taking, devices. Kept in this browser,
// sent with session.update, changed during a call, too.

import { devices } from "/sdk/blab.js";

const KEPT = "blab-setup";
const PLAIN = { agent: "", instructions: "", voice: "", language: "", pace: "auto", interrupts: true, microphone: "", speaker: "", announces: false };
const OF_THE_SESSION = ["instructions", "voice", "language", "pace", "interrupts"];

const $ = (id) => document.getElementById(id);

export class Setup {
  #dialog = $("setup");
  #form = $("setup-form");
  #values = { ...PLAIN, ...kept() };
  #onChange;
  #onOpen;
  #offered = false; // what the server can do is known
  #voices = [];

  /** `onChange` is called with the names of the values that have changed; `onPreview` with all values;
   *  `onOpen` where it is not known yet what the server can do. */
  constructor({ onChange, onPreview, onOpen }) {
    this.#onChange = onChange;
    this.#onOpen = onOpen;
    $("set-up").addEventListener("click", () => this.#open());
    this.#form.addEventListener("change", () => this.#save());
    this.#form.addEventListener("submit", () => this.#save());
    $("preview").addEventListener("click", () => onPreview(this.#values));
    $("code-kind").addEventListener("change", () => this.#showCode());
    $("code-details").addEventListener("toggle", () => this.#showCode());
    $("copy-code").addEventListener("click", () => this.#copyCode());
    navigator.mediaDevices?.addEventListener("devicechange", () => this.#listDevices());
  }

  get values() {
    return this.#values;
  }

  get pushesToTalk() {
    return this.#values.pace === "push";
  }

  /** The part of the session object that differs from the server's defaults; with the names of what has
   *  changed, that which sets those, defaults included. */
  session(names = []) {
    const { agent, instructions, voice, language, pace, interrupts } = this.#values;
    const changed = (...some) => some.some((name) => names.includes(name));
    const session = {};
    if (!agent && (instructions.trim() || changed("instructions"))) session.instructions = instructions;
    const input = {
      ...((language || changed("language")) && { transcription: { language: language || "auto" } }),
      ...((pace !== "auto" || !interrupts || changed("pace", "interrupts")) && { turn_detection: turnDetection(pace, interrupts) }),
    };
    const audio = { ...(Object.keys(input).length && { input }), ...(voice && { output: { voice } }) };
    if (Object.keys(audio).length) session.audio = audio;
    return session;
  }

  /** What the server can do: `{voices: [{id, name, language}], languages: [tag], agents: [{id, name}]}`. */
  offer({ voices = [], languages = [], agents = [], chat } = {}) {
    const { elements } = this.#form;
    fill(elements.language, languages.map((tag) => [tag, languageName(tag)]), this.#values.language);
    fill(elements.voice, voices.map(({ id, name, language }) => [id, language ? `${name || id} (${languageName(language)})` : name || id]), this.#values.voice);
    fill(elements.agent, agents.map(({ id, name }) => [id, name]), this.#values.agent);
    $("agent-field").hidden = !agents.length && !this.#values.agent;
    this.#voices = voices;
    this.#offered = true;
    $("brain").textContent = chat ? `${chat.model} answers. ${chat.note ?? ""}` : "";
  }

  /** The language in which the chosen voice is heard; empty: not known. */
  get spokenLanguage() {
    const { language, voice } = this.#values;
    return language || (this.#voices.find(({ id }) => id === voice)?.language ?? "");
  }

  /** Something that the caller should know while the form is open; empty: no more. */
  say(text) {
    $("setup-problem").textContent = text;
  }

  #open() {
    for (const [name, value] of Object.entries(this.#values)) {
      const field = this.#form.elements[name];
      if (field.type === "checkbox") field.checked = value;
      else field.value = value;
    }
    this.say("");
    this.#render();
    this.#listDevices();
    this.#dialog.showModal();
    if (!this.#offered) this.#onOpen();
  }

  #save() {
    const before = this.#values;
    const read = (name) => {
      const field = this.#form.elements[name];
      return field.type === "checkbox" ? field.checked : field.value;
    };
    this.#values = Object.fromEntries(Object.keys(PLAIN).map((name) => [name, read(name)]));
    try {
      localStorage.setItem(KEPT, JSON.stringify(this.#values));
    } catch {
      // A browser that keeps nothing still makes calls.
    }
    this.say("");
    this.#render();
    const changed = Object.keys(PLAIN).filter((name) => before[name] !== this.#values[name]);
    if (changed.length) this.#onChange(changed, changed.filter((name) => OF_THE_SESSION.includes(name)));
  }

  #render() {
    $("instructions-field").hidden = Boolean(this.#values.agent);
    this.#showCode();
  }

  async #showCode() {
    if (!$("code-details").open) return;
    const { CODE } = await import("./code.js");
    $("code").textContent = CODE[$("code-kind").value](this.session(), this.#values.agent);
  }

  async #copyCode() {
    try {
      await navigator.clipboard.writeText($("code").textContent);
      this.say("Copied.");
    } catch {
      getSelection().selectAllChildren($("code"));
      this.say("The browser does not let this page copy: the code is selected.");
    }
  }

  async #listDevices() {
    const { microphones, speakers, canChooseSpeaker } = await devices();
    for (const [name, known] of [["microphone", microphones], ["speaker", speakers]]) {
      const select = this.#form.elements[name];
      fill(select, known.map(({ id, label }) => [id, label]), this.#values[name]);
      select.closest("label").hidden = name === "speaker" && !canChooseSpeaker;
    }
  }
}

function turnDetection(pace, interrupts) {
  if (pace === "push") return null;
  return { type: "semantic_vad", eagerness: pace, interrupt_response: interrupts };
}

/** The first option stays: it is the server's, or the system's, own choice. */
function fill(select, options, chosen) {
  select.replaceChildren(select.options[0], ...options.map(([value, text]) => new Option(text, value)));
  if (chosen && !options.some(([value]) => value === chosen)) select.append(new Option(`${chosen} (not available)`, chosen));
  select.value = chosen;
}

/** What the browser's user calls a language: "Spanish" for `es`. */
export function languageName(tag) {
  try {
    return new Intl.DisplayNames([navigator.language, "en"], { type: "language" }).of(tag);
  } catch {
    return tag;
  }
}

function kept() {
  try {
    const values = JSON.parse(localStorage.getItem(KEPT) ?? "{}");
    return Object.fromEntries(Object.entries(values).filter(([name, value]) => typeof value === typeof PLAIN[name]));
  } catch {
    return {};
  }
}
