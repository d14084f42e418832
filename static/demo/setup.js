// What the caller has set up: instructions, voice, language, devices. Kept in this browser, sent with
// session.update, changed in the middle of a call, too.

import { devices } from "/sdk/blab.js";

const KEPT = "blab-setup";
const PLAIN = { instructions: "", voice: "", language: "", microphone: "", speaker: "", announces: false };

export class Setup {
  #dialog;
  #form;
  #values = { ...PLAIN, ...kept() };
  #onChange;

  /** `onChange` is called with the names of the values that have changed. */
  constructor({ dialog, form, opener, onChange }) {
    this.#dialog = dialog;
    this.#form = form;
    this.#onChange = onChange;
    opener.addEventListener("click", () => this.#open());
    form.addEventListener("submit", () => this.#save());
    form.querySelector("[data-close]").addEventListener("click", () => dialog.close());
    navigator.mediaDevices?.addEventListener("devicechange", () => this.#listDevices());
  }

  get microphone() {
    return this.#values.microphone;
  }

  get speaker() {
    return this.#values.speaker;
  }

  get announces() {
    return this.#values.announces;
  }

  get language() {
    return this.#values.language;
  }

  /** The part of the session object that differs from the server's defaults. */
  session() {
    const { instructions, voice, language } = this.#values;
    const session = {};
    if (instructions.trim()) session.instructions = instructions;
    const input = language ? { transcription: { language } } : undefined;
    const output = voice ? { voice } : undefined;
    if (input || output) session.audio = { ...(input && { input }), ...(output && { output }) };
    return session;
  }

  /** What the server can do: `{voices: [{id, name, language}], languages: [tag]}`. */
  offer({ voices = [], languages = [] } = {}) {
    fill(this.#form.elements.language, languages.map((tag) => [tag, languageName(tag)]), this.#values.language);
    fill(
      this.#form.elements.voice,
      voices.map(({ id, name, language }) => [id, language ? `${name || id} (${languageName(language)})` : name || id]),
      this.#values.voice,
    );
  }

  #open() {
    for (const [name, value] of Object.entries(this.#values)) {
      const field = this.#form.elements[name];
      if (field.type === "checkbox") field.checked = value;
      else field.value = value;
    }
    this.#listDevices();
    this.#dialog.showModal();
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
    const changed = Object.keys(PLAIN).filter((name) => before[name] !== this.#values[name]);
    if (changed.length) this.#onChange(changed);
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
