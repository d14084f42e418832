// Two voices or speeds on the same text, equally loud; blind, if wished: which is which is seen only
// after the choice.

import { el, parts, span } from "/shared/el.js";
import { loudness, played, playButton, streamed } from "./sound.js";
import { speedOf } from "./voice-list.js";

const LETTERS = ["A", "B"];

class Side {
  view = parts("side");
  made = null;

  constructor(number) {
    this.number = number;
    const { speed, speedValue } = this.view;
    speed.addEventListener("input", () => (speedValue.textContent = `${speedOf(speed)}×`));
    this.name(LETTERS[number]);
  }

  get order() {
    return { voice: this.view.voice.value, speed: speedOf(this.view.speed) };
  }

  /** What it is: the voice, and its speed unless that is the voice's own. */
  described(voices) {
    const { voice, speed } = this.order;
    return `${voices.nameOf(voice)}${speed === 1 ? "" : ` at ${speed}×`}`;
  }

  name(text) {
    this.view.name.textContent = text;
    this.view.play.setAttribute("aria-label", `Play ${text}`);
  }

  hide(hidden) {
    this.view.settings.hidden = hidden;
    this.view.hidden.hidden = !hidden;
  }
}

export class Comparison {
  #access;
  #view;
  #voices;
  #common;
  #sides = [new Side(0), new Side(1)];
  #order = [0, 1]; // which side stands at each place
  #hidden = false;
  #tally = new Map();
  #streams = true;
  #making = false;
  #filled = false;

  /** `common()`: what both orders share. */
  constructor(access, view, voices, common) {
    [this.#access, this.#view, this.#voices, this.#common] = [access, view, voices, common];
    view.sides.append(...this.#sides.map((side) => side.view.root));
    for (const [place, side] of this.#sides.entries()) {
      playButton(side.view.play, () => this.#play(place));
      for (const control of [side.view.voice, side.view.speed]) control.addEventListener("change", () => this.#changed(side));
    }
    view.both.addEventListener("click", () => this.#make());
    playButton(view.sequence, () => this.#play(0, 1));
    view.matched.addEventListener("change", () => this.#ready());
    view.blind.addEventListener("change", () => this.#arrange(view.blind.checked));
    view.preferFirst.addEventListener("click", () => this.#choose(0));
    view.preferSecond.addEventListener("click", () => this.#choose(1));
    view.preferNone.addEventListener("click", () => this.#choose(null));
  }

  /** `streams`: whether the chosen model can be compared, which is done with streams. */
  allow(streams) {
    this.#streams = streams;
    this.#ready();
    this.#view.compareStatus.textContent = streams ? "" : "This model does not stream: choose another one to compare.";
  }

  fillVoices(model) {
    for (const side of this.#sides) {
      const before = side.order.voice;
      this.#voices.fill(side.view.voice, model);
      if (side.order.voice !== before) side.made = null;
    }
    const { voice } = this.#sides[1].view;
    if (!this.#filled && voice.options.length > 2) voice.selectedIndex = 2; // another one than A's
    this.#filled = true;
  }

  #at = (place) => this.#sides[this.#order[place]];

  #changed(side) {
    side.made = null;
    this.#ready();
  }

  async #make() {
    const view = this.#view;
    const common = this.#common();
    view.compareFault.textContent = view.verdict.textContent = "";
    if (!common.input) return void (view.compareFault.textContent = "Write something to say above first.");
    this.#making = true;
    for (const side of this.#sides) side.made = null;
    this.#arrange(view.blind.checked);
    try {
      for (const [number, side] of this.#sides.entries()) {
        view.compareStatus.textContent = `Making ${number + 1} of 2…`;
        const made = await streamed(this.#access, { ...common, ...side.order });
        side.made = { ...made, lufs: loudness(made.samples, made.rate) };
      }
      view.compareStatus.textContent = "";
    } catch (error) {
      view.compareStatus.textContent = "";
      view.compareFault.textContent = error.message;
      this.#arrange(false);
    }
    this.#making = false;
    this.#ready();
  }

  /** Hides which is which, in an order left to chance, or shows it. */
  #arrange(hidden) {
    this.#hidden = hidden && (this.#making || this.#sides.every(({ made }) => made));
    this.#order = this.#hidden && Math.random() < 0.5 ? [1, 0] : [0, 1];
    this.#ready();
  }

  /** Shows what can be done with what is there. */
  #ready() {
    const view = this.#view;
    const all = this.#sides.every(({ made }) => made);
    view.both.disabled = this.#making || !this.#streams;
    view.sequence.disabled = !all;
    view.choice.hidden = !all;
    for (const [place, side] of this.#sides.entries()) {
      const shown = this.#at(place);
      const name = this.#hidden ? `Number ${place + 1}` : LETTERS[place];
      side.name(name);
      side.hide(this.#hidden);
      side.view.play.disabled = !shown.made;
      side.view.facts.textContent = shown.made && !this.#hidden ? this.#facts(shown) : "";
      view[place ? "preferSecond" : "preferFirst"].textContent = name;
    }
  }

  #facts({ made }) {
    const gain = 20 * Math.log10(this.#gain(made));
    const facts = [span(made.done.durationMs), `first audio after ${span(made.firstMs)}`];
    if (Math.abs(gain) >= 0.1) facts.push(`turned down by ${(-gain).toFixed(1)} dB`);
    return facts.join(" · ");
  }

  /** The louder one is turned down to the other: never up, so that nothing distorts. */
  #gain(made) {
    const levels = this.#sides.map((side) => side.made?.lufs).filter((level) => level !== null && level !== undefined);
    if (!this.#view.matched.checked || made.lufs === null || levels.length < 2) return 1;
    return 10 ** ((Math.min(...levels) - made.lufs) / 20);
  }

  #play(...places) {
    const sides = places.map((place) => this.#at(place));
    return played(sides.map(({ made }) => ({ samples: made.samples, rate: made.rate, gain: this.#gain(made) })));
  }

  #choose(place) {
    const view = this.#view;
    const names = this.#sides.map((side) => side.described(this.#voices));
    const chosen = place === null ? "No difference" : names[this.#order[place]];
    this.#tally.set(chosen, (this.#tally.get(chosen) ?? 0) + 1);
    view.verdict.textContent = place === null ? (this.#hidden ? `Number 1 was ${names[this.#order[0]]}, number 2 ${names[this.#order[1]]}.` : "Noted: no difference.") : `You chose ${chosen}${this.#hidden ? `, over ${names[this.#order[1 - place]]}` : ""}.`;
    view.tally.replaceChildren(...[...this.#tally].map(([name, count]) => el("li", { class: "chip" }, `${name}: ${count}`)));
    this.#arrange(false);
    view.choice.hidden = true;
  }
}
