// The element's inside: built once, and written to from then on. It decides nothing.

import { sheet } from "./style.js";

/** @typedef {import("./texts.js").Texts} Texts */
/** @typedef {import("../blab.js").HistoryItem} HistoryItem */

/** What is shown now. `main`: the label of the one big button, `microphone`: of the one beside it; `muted`: null
 *  without a microphone. @typedef {{
 *    phase: "loading" | "unavailable" | "ready" | "starting" | "waiting" | "live", agent: string,
 *    status: string, problem: boolean, main: string, consent: string, microphone: string, muted: boolean | null, open: boolean,
 *  }} Shown */

const SVG = "http://www.w3.org/2000/svg";
const PHONE = "M6.6 3H4.8A1.8 1.8 0 0 0 3 4.9 16.2 16.2 0 0 0 19.1 21a1.8 1.8 0 0 0 1.9-1.8v-2.4a1 1 0 0 0-.8-1l-3.6-.9a1 1 0 0 0-1 .3l-1.3 1.6a13 13 0 0 1-7.1-7.1l1.6-1.3a1 1 0 0 0 .3-1l-.9-3.6a1 1 0 0 0-1.6-.8Z";
const CROSS = "M6 6l12 12M18 6 6 18";
const SENDS = "M12 19V5M6 11l6-6 6 6";

export class View {
  /** @type {Map<string, { element: HTMLLIElement, words: HTMLElement }>} */
  #turns = new Map();

  /** @param {ShadowRoot} root
   *  @param {{ toggle: () => void, main: () => void, mute: () => void, send: (text: string) => void }} actions */
  constructor(root, { toggle, main, mute, send }) {
    this.root = root;
    this.open = button("open", icon(PHONE));
    this.title = node("h2");
    this.title.id = "title";
    this.close = button("close", icon(CROSS));
    this.greeting = node("p", "greeting");
    this.list = node("ol");
    this.log = node("div", "log", this.list);
    this.consent = node("p", "consent");
    this.consent.tabIndex = 0; // it may be long, and scrolls
    this.status = node("p", "status");
    this.main = button("main");
    this.mute = button("mute");
    this.input = node("input");
    this.send = button("send", icon(SENDS));
    this.send.type = "submit";
    this.form = node("form", "", this.input, this.send);
    this.panel = node("div", "panel", node("div", "head", this.title, this.close), this.greeting, this.log, this.consent, this.status, node("div", "actions", this.main, this.mute), this.form);
    this.panel.setAttribute("aria-labelledby", "title");
    this.status.setAttribute("role", "status");
    this.log.tabIndex = 0;
    this.log.hidden = true;
    this.input.type = "text";
    this.input.maxLength = 2000;
    this.input.autocomplete = "off";
    this.input.dir = "auto";
    this.frame = node("div", "frame", this.panel, this.open);
    this.open.addEventListener("click", toggle);
    this.close.addEventListener("click", toggle);
    this.main.addEventListener("click", main);
    this.mute.addEventListener("click", mute);
    this.panel.addEventListener("keydown", (event) => event.key === "Escape" && !this.open.hidden && toggle());
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      const text = this.input.value.trim();
      this.input.value = "";
      if (text) send(text);
    });
    root.append(this.frame);
  }

  /** What changes with the page's attributes and the owner's texts.
   *  @param {{ texts: Texts, language: string, title: string, greeting: string, accent?: string, inline: boolean, textOnly: boolean }} setting */
  dress({ texts, language, title, greeting, accent, inline, textOnly }) {
    this.root.adoptedStyleSheets = [sheet(accent)];
    this.texts = texts;
    this.frame.lang = language;
    this.open.hidden = this.close.hidden = inline;
    this.panel.setAttribute("role", inline ? "group" : "dialog");
    this.title.textContent = title;
    this.greeting.textContent = greeting;
    this.greeting.hidden = !greeting;
    this.open.setAttribute("aria-label", texts.open);
    this.close.setAttribute("aria-label", texts.close);
    this.log.setAttribute("aria-label", texts.conversation);
    // A voice has been heard already; what is only written is read out.
    this.log.setAttribute("role", textOnly ? "log" : "region");
    this.input.placeholder = texts.message;
    this.input.setAttribute("aria-label", texts.message);
    this.send.setAttribute("aria-label", texts.send);
  }

  /** @param {Shown} shown */
  show({ phase, agent, status, problem, main, consent, microphone, muted, open }) {
    const { dataset } = this.frame;
    dataset.phase = phase;
    dataset.agent = phase === "live" ? agent : "";
    if (problem) dataset.problem = "";
    else delete dataset.problem;
    this.panel.hidden = !open;
    this.open.setAttribute("aria-expanded", String(open));
    if (this.status.textContent !== status) this.status.textContent = status;
    this.consent.textContent = consent;
    this.consent.hidden = !consent;
    if (consent) this.main.setAttribute("aria-describedby", (this.consent.id = "consent"));
    else this.main.removeAttribute("aria-describedby");
    this.main.textContent = main;
    this.main.hidden = !main;
    this.mute.hidden = !microphone;
    this.mute.textContent = microphone;
    if (muted === null) this.mute.removeAttribute("aria-pressed");
    else this.mute.setAttribute("aria-pressed", String(muted));
    this.form.hidden = phase === "loading" || phase === "unavailable" || Boolean(consent);
  }

  /** @param {HistoryItem[]} items */
  turns(items) {
    const known = new Set(items.map(({ itemId }) => itemId));
    for (const [id, { element }] of this.#turns) {
      if (known.has(id)) continue;
      element.remove();
      this.#turns.delete(id);
    }
    for (const item of items) this.#turn(item);
    this.log.hidden = !this.#turns.size;
    this.log.scrollTop = this.log.scrollHeight;
  }

  /** @param {HistoryItem} item */
  #turn({ itemId, role, text }) {
    let turn = this.#turns.get(itemId);
    if (!text.trim() && !turn) return;
    if (!turn) {
      const words = node("span");
      words.dir = "auto";
      const name = node("span", "name");
      name.textContent = `${role === "user" ? this.texts?.you : this.texts?.agent}: `;
      turn = { words, element: node("li", role, name, words) };
      this.#turns.set(itemId, turn);
      this.list.append(turn.element);
    }
    turn.element.hidden = !text.trim(); // nothing of it was heard
    if (turn.words.textContent !== text) turn.words.textContent = text;
  }
}

/** @template {keyof HTMLElementTagNameMap} Tag
 *  @param {Tag} tag @param {string} [className] @param {Node[]} children
 *  @returns {HTMLElementTagNameMap[Tag]} */
function node(tag, className = "", ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

/** @param {string} className @param {Node[]} children */
function button(className, ...children) {
  const made = node("button", className, ...children);
  made.type = "button";
  return made;
}

/** @param {string} path */
function icon(path) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("width", "22");
  svg.setAttribute("height", "22");
  svg.setAttribute("aria-hidden", "true");
  const drawn = document.createElementNS(SVG, "path");
  drawn.setAttribute("d", path);
  svg.append(drawn);
  return svg;
}
