// The bench of voices: those of the workspace, made after recordings, and those that are built in.

import { el, moment, parts } from "/shared/el.js";
import { Cloning } from "./cloning.js";
import { deleted } from "./deletion.js";
import { FilePlayer, playButton, silence, spoken } from "./sound.js";
import { languageName, sentenceIn, voicesOf } from "./voice-list.js";

class VoicesBench {
  #access;
  #voices;
  #cloning; // what the server says of it
  #form = null;
  #view = parts("voices");
  #made = null; // id of the voice that was just made

  constructor(access, voices, cloning) {
    [this.#access, this.#voices, this.#cloning] = [access, voices, cloning];
    this.root = this.#view.root;
    const view = this.#view;
    view.new.addEventListener("click", () => this.#begin());
    view.new.disabled = !cloning.available;
    if (!cloning.available) view.fault.textContent = `Voices cannot be made now. ${cloning.reason ?? ""}`;
    const languages = [...new Set(voices.builtin.map((voice) => voice.language))].sort((a, b) => languageName(a).localeCompare(languageName(b)));
    view.language.append(el("option", { value: "" }, "All"), ...languages.map((tag) => el("option", { value: tag }, languageName(tag))));
    view.language.addEventListener("change", () => this.#catalogue());
    voices.addEventListener("change", () => this.#render());
    this.#render();
  }

  leave() {
    this.#form?.leave();
    silence();
  }

  #begin() {
    if (!this.#form) {
      this.#form = new Cloning(this.#access, this.#cloning, (id) => this.#finish(id));
      this.#view.cloning.replaceChildren(this.#form.root);
    }
    this.#view.new.hidden = this.#view.none.hidden = true;
    this.#form.root.querySelector("input").focus();
  }

  async #finish(id) {
    this.#form.leave();
    this.#form = null;
    this.#view.cloning.replaceChildren();
    this.#view.new.hidden = false;
    this.#view.none.hidden = this.#voices.own.length > 0;
    this.#view.new.focus();
    if (id === null) return;
    this.#made = id;
    await this.#voices.load().catch((error) => (this.#view.fault.textContent = error.message));
    this.#view.own.querySelector(`[data-id="${id}"] button`)?.focus();
  }

  #render() {
    const view = this.#view;
    view.own.replaceChildren(...this.#voices.own.map((voice) => this.#ownVoice(voice)));
    view.none.hidden = this.#voices.own.length > 0 || this.#form !== null;
    this.#catalogue();
  }

  #ownVoice(voice) {
    const hear = el("button", { class: "button small", type: "button", "aria-label": `Hear ${voice.name}` }, "Hear");
    playButton(hear, () => (voice.previewUrl ? new FilePlayer(voice.previewUrl) : this.#said(voice, voice.model)), (error) => this.#failed(error));
    const remove = el("button", { class: "button small", type: "button", "aria-label": `Delete ${voice.name}` }, "Delete");
    remove.addEventListener("click", () => this.#delete(voice));
    const facts = [voice.language && languageName(voice.language), typeof voice.similarity === "number" && `similarity to the recording ${voice.similarity.toFixed(2)} of 1`, moment(voice.createdAt)];
    return el(
      "li",
      { class: "card voice-card", data: { id: voice.id } },
      el("p", { class: "voice-name" }, voice.name, voice.id === this.#made ? el("span", { class: "chip good" }, "New") : null),
      el("p", { class: "note" }, facts.filter(Boolean).join(" · ")),
      el("div", { class: "actions" }, hear, this.#use(voice), remove),
    );
  }

  #catalogue() {
    const view = this.#view;
    const shown = this.#voices.builtin.filter((voice) => !view.language.value || voice.language === view.language.value);
    view.catalogue.replaceChildren(
      ...shown.map((voice) => {
        const hear = el("button", { class: "button small", type: "button", "aria-label": `Hear ${voice.name}` }, "Hear");
        playButton(hear, () => this.#said(voice, voice.models[0]), (error) => this.#failed(error));
        const facts = [languageName(voice.language), voice.gender, voice.engine, voice.quality !== "good" && voice.quality !== "unknown" && `${voice.quality} quality`];
        return el("li", { class: "card voice-card" }, el("p", { class: "voice-name" }, voice.name), el("p", { class: "note" }, facts.filter(Boolean).join(" · ")), el("div", { class: "actions" }, hear, this.#use(voice)));
      }),
    );
  }

  #use = (voice) => el("a", { class: "button small", href: `/workbench/speech?voice=${encodeURIComponent(voice.id)}`, "aria-label": `Speak with ${voice.name}` }, "Speak");

  async #said(voice, model) {
    const [language] = voice.language.split("-");
    return (await spoken(this.#access, { model, input: sentenceIn(language), voice: voice.id, language }))?.player;
  }

  async #delete(voice) {
    const gone = await deleted(`Delete ${voice.name}?`, "The voice, its recording and its preview. What was already spoken with it stays. This cannot be undone.", () => this.#access.delete(`/api/voices/${voice.id}`));
    if (gone) await this.#voices.load().catch((error) => this.#failed(error));
  }

  #failed(error) {
    this.#view.fault.textContent = error.message;
  }
}

export async function openVoices(access) {
  const [voices, capabilities] = await Promise.all([voicesOf(access), access.get("/api/capabilities")]);
  return new VoicesBench(access, voices, capabilities.voiceCloning);
}
