// The bench of speech: a text is heard while it is made, or made into a file that is kept; two voices are
// compared on it.

import { parts, el, plural, span } from "/shared/el.js";
import { download } from "/shared/dom.js";
import { pcm16, wavFile } from "/shared/wav.js";
import { Comparison } from "./comparison.js";
import { playButton, silence, spoken } from "./sound.js";
import { Takes } from "./takes.js";
import { languageName, sentenceIn, speedOf, voicesOf } from "./voice-list.js";

const DELIVERIES = { verbatim: "As written", natural: "Natural: repairs punctuation", expressive: "Expressive: adds breaths and laughs" };
const START = "Good morning! Your table for two is booked for eight o'clock.";
const MODELS = { "blab-stable": "Stable: fast", "blab-expressive": "Expressive: emotional" };

class Speech {
  #access;
  #voices;
  #models; // what can speak now
  #view = parts("speech");

  constructor(access, voices, tts) {
    this.#access = access;
    this.#voices = voices;
    this.#models = tts.models.filter((model) => model.available);
    this.limit = tts.maxCharacters;
    this.root = this.#view.root;
    this.takes = new Takes(access, this.#view, voices, () => this.#view.text);
    this.comparison = new Comparison(access, this.#view, voices, () => this.#common());
    this.#fill(tts);
    this.#wire();
    voices.addEventListener("change", () => this.#fillVoices());
  }

  leave = silence;

  async enter() {
    const wanted = new URLSearchParams(location.search).get("voice");
    if (wanted && this.#voices.find(wanted)) this.#view.voice.value = wanted;
    await this.takes.show();
  }

  // ------------------------------------------------------------------ the form

  #fill(tts) {
    const view = this.#view;
    view.text.value = START;
    view.text.maxLength = this.limit;
    view.model.replaceChildren(...this.#models.map(({ id }) => el("option", { value: id }, MODELS[id] ?? id)));
    view.modelField.hidden = this.#models.length < 2;
    view.delivery.replaceChildren(...Object.entries(DELIVERIES).filter(([id]) => tts.delivery.includes(id)).map(([id, name]) => el("option", { value: id }, name)));
    view.polish.disabled = !tts.polish;
    this.#modelChosen();
    this.#count();
    if (this.#models.length) return;
    view.speak.disabled = view.take.disabled = true;
    this.comparison.allow(false);
    view.compareStatus.textContent = "";
    view.fault.textContent = "No voice is available on this server now. If it has just started, the models are still loading: reload in a moment.";
  }

  #wire() {
    const view = this.#view;
    view.text.addEventListener("input", () => this.#count());
    view.model.addEventListener("change", () => this.#modelChosen());
    view.speed.addEventListener("input", () => (view.speedValue.textContent = `${speedOf(view.speed)}×`));
    view.emotion.addEventListener("input", () => (view.emotionValue.textContent = view.emotion.value));
    view.root.querySelector("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#speak();
    });
    view.text.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) view.speak.click();
    });
    view.stop.addEventListener("click", silence);
    view.take.addEventListener("click", () => this.#makeTake());
    playButton(view.preview, () => this.#preview(), (error) => this.#failed(error));
  }

  get #model() {
    return this.#models.find(({ id }) => id === this.#view.model.value);
  }

  #modelChosen() {
    const [view, model] = [this.#view, this.#model];
    if (!model) return;
    const languages = Object.keys(model.languages).sort((a, b) => languageName(a).localeCompare(languageName(b)));
    const language = view.language.value;
    view.language.replaceChildren(el("option", { value: "" }, "From the text"), ...languages.map((tag) => el("option", { value: tag }, languageName(tag))));
    view.language.value = languages.includes(language) ? language : "";
    view.format.replaceChildren(...model.formats.map((format) => el("option", {}, format)));
    view.emotionField.hidden = !model.emotion;
    this.#fillVoices();
    this.comparison.allow(model.streaming);
  }

  #fillVoices() {
    this.#voices.fill(this.#view.voice, this.#view.model.value);
    this.comparison.fillVoices(this.#view.model.value);
  }

  #count() {
    const length = this.#view.text.value.length;
    this.#view.counted.textContent = length > this.limit * 0.8 ? `${length.toLocaleString()} of ${this.limit.toLocaleString()} characters` : "";
  }

  /** What both sides of a comparison have in common. */
  #common() {
    const view = this.#view;
    return { model: view.model.value, input: view.text.value.trim(), ...(view.language.value && { language: view.language.value }) };
  }

  #order() {
    const view = this.#view;
    return { ...this.#common(), voice: view.voice.value, speed: speedOf(view.speed), ...(this.#model?.emotion && { emotion: Number(view.emotion.value) }) };
  }

  // ------------------------------------------------------------------ speech

  async #speak() {
    const [view, order] = [this.#view, this.#order()];
    view.fault.textContent = "";
    if (!order.input) return this.#failed(new Error("Write something to say first."));
    if (!this.#model.streaming) return this.#makeTake({ play: true });
    this.#busy(true);
    view.status.textContent = "Waiting for the first sound…";
    const since = performance.now();
    let waits = true;
    try {
      const speech = await spoken(this.#access, order, () => {
        if (waits) view.status.textContent = `First audio after ${span(performance.now() - since)}. Speaking…`;
        waits = false;
      });
      if (speech) this.#report(speech.made, speech.player);
      else view.status.textContent = "Stopped.";
      await speech?.player.ended;
    } catch (error) {
      view.status.textContent = "";
      this.#failed(error);
    }
    this.#busy(false);
  }

  #report({ firstMs, totalMs, done, samples, rate }, player) {
    const view = this.#view;
    const save = el("button", { class: "button small", type: "button" }, "Download WAV");
    save.addEventListener("click", () => download("speech.wav", [wavFile([pcm16(samples)], rate)], "audio/wav"));
    const facts = [`First audio after ${span(firstMs)}`, `${span(done.durationMs)} of speech made in ${span(totalMs)}`, languageName(done.language)];
    if (player.underruns) facts.push(`${plural(player.underruns, "gap")}: it was made more slowly than it is heard`);
    view.status.replaceChildren(`${facts.join(" · ")} `, save);
    view.fault.textContent = done.warnings.map((warning) => warning.message).join(" ");
  }

  async #preview() {
    const { voice } = this.#view;
    const model = this.#models.find(({ streaming }) => streaming) ?? this.#model;
    const [language] = (this.#voices.find(voice.value)?.language ?? "en").split("-");
    return (await spoken(this.#access, { model: model.id, input: sentenceIn(language), voice: voice.value, language }))?.player;
  }

  async #makeTake({ play = false } = {}) {
    const [view, order] = [this.#view, this.#order()];
    view.fault.textContent = "";
    if (!order.input) return this.#failed(new Error("Write something to say first."));
    view.take.disabled = true;
    view.status.textContent = "Making the file…";
    try {
      const { jobId } = await this.#access.post("/api/tts", { ...order, response_format: view.format.value, delivery: view.delivery.value, polish: view.polish.checked });
      const job = await this.takes.follow(jobId, { play });
      view.status.textContent = job.status === "completed" ? "The file is below." : "";
      if (job.error) this.#failed(job.error);
    } catch (error) {
      view.status.textContent = "";
      this.#failed(error);
    }
    view.take.disabled = false;
  }

  #busy(busy) {
    this.#view.stop.hidden = !busy;
    this.#view.speak.disabled = busy;
  }

  #failed(error) {
    this.#view.fault.textContent = error.message;
  }
}

export async function openSpeech(access) {
  const [voices, capabilities] = await Promise.all([voicesOf(access), access.get("/api/capabilities")]);
  return new Speech(access, voices, capabilities.tts);
}
