// A voice made after a recording. The person whose voice it is agrees: aloud, at the beginning of the
// recording, and by a tick, without which the server makes none.

import { el, parts } from "/shared/el.js";
import { jobEnded } from "/shared/event-stream.js";
import { ClipInput } from "./clip-input.js";
import { languageName } from "./voice-list.js";

const LONGEST = 300; // seconds, as the server takes
const METHODS = {
  style_match: "The engine on this server does not copy a voice. It mixes its own voices so that they come as near to yours as they can, and says how near that is.",
};
const READINGS = {
  de: ["Ich bin einverstanden, dass nach meiner Stimme eine Stimme für Blab gemacht wird.", "Am frühen Morgen liegt der See noch still. Ein Boot fährt langsam hinaus, und am Ufer bellt irgendwo ein Hund. Um zehn nach sieben öffnet die Bäckerei."],
  en: ["I agree that a voice for Blab is made after my voice.", "Early in the morning the lake is still. A boat goes slowly out, and somewhere on the shore a dog is barking. At ten past seven the bakery opens."],
  es: ["Estoy de acuerdo en que se haga una voz para Blab a partir de mi voz.", "Por la mañana temprano el lago está en calma. Una barca sale despacio y en la orilla ladra un perro. A las siete y diez abre la panadería."],
  fr: ["J'accepte qu'une voix pour Blab soit faite d'après ma voix.", "Tôt le matin, le lac est encore calme. Une barque s'éloigne lentement, et un chien aboie quelque part sur la rive. À sept heures dix, la boulangerie ouvre."],
  it: ["Accetto che dalla mia voce sia fatta una voce per Blab.", "La mattina presto il lago è ancora calmo. Una barca esce piano e sulla riva un cane abbaia. Alle sette e dieci apre il panificio."],
  pt: ["Concordo que se faça uma voz para o Blab a partir da minha voz.", "De manhã cedo o lago ainda está calmo. Um barco sai devagar e na margem um cão ladra. Às sete e dez abre a padaria."],
};

export class Cloning {
  #access;
  #view = parts("cloning");
  #clips;
  #clip = null; // {file, recorded}
  #url = "";
  #jobId = null; // of the voice that is being made
  #done;

  /** `done(voiceId)`: a voice was made; null: it was given up. */
  constructor(access, cloning, done) {
    [this.#access, this.#done] = [access, done];
    this.root = this.#view.root;
    const view = this.#view;
    view.method.textContent = METHODS[cloning.method] ?? "";
    view.language.replaceChildren(...cloning.languages.map((tag) => el("option", { value: tag }, languageName(tag))));
    view.language.value = cloning.languages.includes("en") ? "en" : cloning.languages[0];
    view.language.addEventListener("change", () => this.#read());
    view.kept.textContent =
      "With the voice: the recording, with the consent if you read it aloud; that the consent was ticked, by which account or key, and when; what the voice is mixed from; and a preview. All of it stays in this server's storage until the voice is deleted. Blab does not check what is said in the recording: the tick is your word for it.";
    this.#clips = new ClipInput(view, "voice", LONGEST);
    this.#clips.addEventListener("clip", ({ detail }) => this.#choose(detail));
    this.#clips.addEventListener("fault", ({ detail }) => (view.fault.textContent = detail));
    this.#clips.addEventListener("recording", () => (view.fault.textContent = ""));
    view.cancel.addEventListener("click", () => this.#cancel());
    this.root.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#make();
    });
    this.#read();
  }

  leave() {
    this.#clips.leave();
    this.#view.audio.pause();
  }

  #read() {
    const language = this.#view.language.value.split("-")[0];
    const [consent, text] = READINGS[language] ?? READINGS.en;
    this.#view.reading.lang = language in READINGS ? language : "en";
    this.#view.reading.replaceChildren(el("b", {}, consent), ` ${text}`);
  }

  #choose(clip) {
    const view = this.#view;
    this.#clip = clip;
    view.fault.textContent = "";
    URL.revokeObjectURL(this.#url);
    view.audio.src = this.#url = URL.createObjectURL(clip.file);
    view.chosen.hidden = false;
    view.clip.textContent = clip.recorded ? "Listen to it. Record again if it is noisy." : clip.file.name;
  }

  async #make() {
    const view = this.#view;
    view.fault.textContent = "";
    if (!this.#clip) return void (view.fault.textContent = "Record the text above first, or choose a clip.");
    view.make.disabled = true;
    view.progress.hidden = false;
    view.progress.removeAttribute("value");
    try {
      view.status.textContent = "Sending the recording…";
      const sample = await this.#upload();
      const { jobId } = await this.#access.post("/api/voices/clone", { name: view.name.value.trim(), sampleStorageKey: sample.storageKey, language: view.language.value, consent: view.consent.checked });
      this.#jobId = jobId;
      view.status.textContent = "Waiting for a worker…";
      const job = await jobEnded(this.#access, jobId, (percent) => {
        view.progress.value = percent;
        view.status.textContent = `Comparing voices, ${percent} %. This can take a minute.`;
      });
      if (job.status === "cancelled") return this.#done(null);
      if (job.error) throw new Error(job.error.message);
      this.#done(job.output.voiceId);
    } catch (error) {
      view.fault.textContent = error.message;
    }
    this.#jobId = null;
    view.status.textContent = "";
    view.make.disabled = false;
    view.progress.hidden = true;
  }

  /** Ends what is being made; before that, gives up. */
  async #cancel() {
    if (!this.#jobId) return this.#done(null);
    try {
      await this.#access.post(`/api/jobs/${this.#jobId}/cancel`);
    } catch (error) {
      this.#view.fault.textContent = error.message;
    }
  }

  async #upload() {
    const { file, recorded } = this.#clip;
    const form = new FormData();
    form.append("language", this.#view.language.value);
    form.append("label", recorded ? "recorded in the workbench, with the consent to be read aloud" : "a file; the consent was ticked");
    form.append("file", file);
    const response = await this.#access.fetch("/api/voices/samples", { method: "POST", body: form });
    return (await response.json()).data;
  }
}
