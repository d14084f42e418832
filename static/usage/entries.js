// Every single piece of work that was booked, newest first, a page at a time.

import { el, moment } from "/shared/el.js";
import { TYPE_NAMES, duration, typeName } from "./words.js";

const PAGE = 25;

export class Entries {
  #access;
  #cursor;
  #costs;
  #rows = el("tbody");
  #more = el("button", { class: "button more", type: "button" }, "More entries");
  #empty = el("p", { class: "empty", hidden: true });
  #fault = el("p", { class: "fault", role: "alert" });
  #form;
  #latest = 0;

  /** `models`: those that can be chosen; `costs`: whether there are any. */
  constructor(access, models, costs) {
    this.#access = access;
    this.#costs = costs;
    const select = (name, label, pairs) => el("label", {}, label, el("select", { name }, el("option", { value: "" }, "All"), ...pairs.map(([value, text]) => el("option", { value }, text))));
    this.#form = el("form", { class: "fields entry-filters" }, select("type", "Type", TYPE_NAMES), select("model", "Model", models.map((model) => [model, model])));
    this.#form.addEventListener("submit", (event) => event.preventDefault());
    this.#form.addEventListener("change", () => this.show());
    this.#more.addEventListener("click", () => this.#next());
  }

  get root() {
    const head = ["When", "Type", "Model"].map((name) => el("th", { scope: "col" }, name));
    const figures = ["Audio", "Tokens", ...(this.#costs ? ["Cost"] : [])].map((name) => el("th", { scope: "col", class: "number" }, name));
    const table = el("table", { class: "table stacked entries" }, el("caption", { class: "visually-hidden" }, "Entries"), el("thead", {}, el("tr", {}, ...head, ...figures)), this.#rows);
    return el("section", { "aria-labelledby": "entries" }, el("h2", { id: "entries" }, "Entries"), this.#form, this.#fault, table, this.#empty, this.#more);
  }

  show() {
    this.#cursor = undefined;
    return this.#next(true);
  }

  async #next(fresh = false) {
    const mine = ++this.#latest;
    const { type, model } = this.#form.elements;
    try {
      const { data, meta } = await this.#access.list("/api/usage/events", { query: { type: type.value, model: model.value, limit: PAGE, cursor: this.#cursor } });
      if (mine !== this.#latest) return;
      if (fresh) this.#rows.replaceChildren();
      this.#rows.append(...data.map((one) => this.#row(one)));
      this.#cursor = meta.nextCursor;
      this.#more.hidden = !meta.hasMore;
      this.#empty.hidden = this.#rows.childElementCount > 0;
      this.#empty.textContent = type.value || model.value ? "No entry fits." : "Nothing has been booked yet.";
      this.#fault.textContent = "";
    } catch (error) {
      this.#fault.textContent = error.message;
    }
  }

  #row(one) {
    const figure = (label, text) => el("td", { class: "number", data: { label } }, text);
    return el(
      "tr",
      {},
      el("td", { class: "note" }, moment(one.createdAt)),
      el("td", {}, typeName(one.type)),
      el("td", { class: "whole" }, one.model),
      figure("Audio:", one.audioMs ? duration(one.audioMs) : ""),
      figure("Tokens:", one.tokens ? one.tokens.toLocaleString() : ""),
      this.#costs && figure("Cost:", one.cost ? one.cost.toFixed(4) : ""),
    );
  }
}
