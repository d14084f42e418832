// The room of usage: totals of a period, charted by day, model or type, as a table and as CSV.

import { download } from "/shared/dom.js";
import { el } from "/shared/el.js";
import { openRoom } from "/shared/room.js";
import { DayChart } from "./chart.js";
import { Entries } from "./entries.js";
import { MOST_DAYS, daysAgo, usageIn } from "./period.js";
import { MEASURES, date, duration, typeName } from "./words.js";

const SPANS = [7, 30, 90];
const VIEWS = [["day", "By day"], ["model", "By model"], ["type", "By type"]];

class Usage {
  #access;
  #given = new URLSearchParams(location.search);
  #found = null;
  #measures = MEASURES;
  #chart = new DayChart();
  #figures = el("div", { class: "figures", role: "group", "aria-label": "What is charted" });
  #view = el("div", { class: "view" });
  #fault = el("p", { class: "fault", role: "alert" });
  #spans = el("div", { class: "segments", role: "group", "aria-label": "Period" });
  #views = el("div", { class: "segments", role: "group", "aria-label": "Chart" });
  #dates;
  #latest = 0;

  constructor(access) {
    this.#access = access;
    this.#dates = this.#dateFields();
  }

  async open(room) {
    const [all, known] = await Promise.all([this.#access.get("/api/usage"), this.#access.get("/api/usage/breakdown", { query: { days: MOST_DAYS } })]);
    this.#measures = MEASURES.filter(({ field }) => field !== "cost" || all.cost > 0);
    await this.#load();
    const csv = el("button", { class: "button", type: "button" }, "Download CSV");
    csv.addEventListener("click", () => this.#download());
    const entries = new Entries(this.#access, Object.keys(known.byModel), all.cost > 0);
    await entries.show();
    const ever = `Since the beginning: ${all.count.toLocaleString()} pieces of work, ${duration(all.audioSeconds * 1000)} of audio, ${all.tokens.toLocaleString()} tokens and characters.`;
    const price = all.cost > 0 ? "" : " There is no cost, because this server has no price table (BLAB_PRICES).";
    room.replaceChildren(
      el("div", { class: "head" }, el("h1", {}, "Usage"), this.#spans),
      this.#dates,
      this.#fault,
      this.#figures,
      el("div", { class: "view-head" }, this.#views, csv),
      this.#view,
      el("p", { class: "note ever" }, ever + price),
      entries.root,
    );
    this.#show();
  }

  /** The period: the last days, or from one day to another; and what is shown of it. */
  get #period() {
    const [from, to] = [this.#given.get("from"), this.#given.get("to")];
    if (from || to) return { from: from ?? daysAgo(29), to: to ?? daysAgo(0), days: null };
    const days = Number(this.#given.get("days")) || 30;
    return { from: daysAgo(days - 1), to: daysAgo(0), days };
  }
  get #measure() {
    return this.#measures.find(({ field }) => field === this.#given.get("of")) ?? this.#measures[0];
  }
  get #by() {
    return VIEWS.some(([name]) => name === this.#given.get("by")) ? this.#given.get("by") : "day";
  }

  #set(changes) {
    for (const [name, value] of Object.entries(changes)) value ? this.#given.set(name, value) : this.#given.delete(name);
    history.replaceState(null, "", this.#given.size ? `/usage?${this.#given}` : "/usage");
  }

  async #load() {
    const mine = ++this.#latest;
    const { from, to } = this.#period;
    this.#fault.textContent = "";
    if (from > to || from < daysAgo(MOST_DAYS - 1) || to > daysAgo(0)) {
      this.#fault.textContent = `The period must end today or before, and begin at most ${MOST_DAYS} days ago.`;
      return;
    }
    try {
      const found = await usageIn(this.#access, from, to);
      if (mine === this.#latest) this.#found = found;
    } catch (error) {
      if (!this.#found) throw error;
      this.#fault.textContent = error.message;
    }
  }

  #dateFields() {
    const field = (name, label) => el("label", {}, label, el("input", { type: "date", name, min: daysAgo(MOST_DAYS - 1), max: daysAgo(0) }));
    const form = el("form", { class: "fields dates", hidden: true }, field("from", "First day (UTC)"), field("to", "Last day (UTC)"));
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("change", async () => {
      const { from, to } = form.elements;
      if (!from.value || !to.value) return;
      this.#set({ days: "", from: from.value, to: to.value });
      await this.#load();
      this.#show();
    });
    return form;
  }

  #show() {
    const { from, to, days } = this.#period;
    this.#dates.hidden = days !== null;
    this.#dates.elements.from.value = from;
    this.#dates.elements.to.value = to;
    const spans = SPANS.map((one) => choice(`${one} days`, days === one, () => this.#change({ days: String(one), from: "", to: "" })));
    refill(this.#spans, ...spans, choice("Custom", days === null, () => this.#change({ days: "", from, to })));
    refill(this.#views, ...VIEWS.map(([name, text]) => choice(text, name === this.#by, () => (this.#set({ by: name }), this.#show()))));
    if (!this.#found) return;
    refill(this.#figures, ...this.#measures.map((measure) => this.#figure(measure)));
    this.#view.replaceChildren(...this.#content());
    if (this.#by === "day" && this.#found.total.count) this.#chart.show(this.#found.byDay, this.#measure);
  }

  async #change(changes) {
    this.#set(changes);
    await this.#load();
    this.#show();
  }

  #figure(measure) {
    const figure = el("button", { class: "figure", type: "button", "aria-pressed": String(measure === this.#measure) }, el("span", { class: "figure-name" }, measure.name), el("b", {}, measure.text(this.#found.total[measure.field])));
    figure.addEventListener("click", () => (this.#set({ of: measure.field }), this.#show()));
    return figure;
  }

  #content() {
    if (!this.#found.total.count) return [el("div", { class: "empty" }, el("p", {}, "Nothing was used in these days."), el("p", {}, "Calls, speech, transcripts, voices and dubs are counted here as soon as they are done: ", el("a", { href: "/" }, "make a call"), "."))];
    if (this.#by === "day") {
      const table = el("details", { class: "as-table" }, el("summary", {}, "As a table"), el("div", { class: "table-scroll", tabIndex: 0, role: "group", "aria-label": "Table" }, this.#table("Day", this.#rows().map(({ name, one }) => [date(name), one]))));
      return [this.#chart.root, table];
    }
    return [el("div", { class: "table-scroll", tabIndex: 0, role: "group", "aria-label": "Table" }, this.#table(this.#by === "model" ? "Model" : "Type", this.#rows().map(({ name, one }) => [this.#by === "type" ? typeName(name) : name, one]), true))];
  }

  /** What is shown: by day from the oldest, else the most first. */
  #rows() {
    if (this.#by === "day") return this.#found.byDay.map((one) => ({ name: one.day, one }));
    const { field } = this.#measure;
    const named = this.#by === "model" ? this.#found.byModel : this.#found.byType;
    return Object.entries(named).map(([name, one]) => ({ name, one })).sort((a, b) => b.one[field] - a.one[field]);
  }

  #table(title, rows, bars = false) {
    const { field } = this.#measure;
    const most = Math.max(...rows.map(([, one]) => one[field]), 1e-9);
    const row = ([name, one]) => el("tr", {}, el("th", { scope: "row" }, name), bars && el("td", { class: "bar-cell" }, bar(one[field] / most)), ...this.#measures.map((measure) => el("td", { class: "number" }, measure.text(one[measure.field]))));
    const head = [el("th", { scope: "col" }, title), bars && el("th", { scope: "col" }, el("span", { class: "visually-hidden" }, "Share")), ...this.#measures.map(({ name }) => el("th", { scope: "col", class: "number" }, name))];
    return el("table", { class: "table usage-table" }, el("caption", { class: "visually-hidden" }, `Usage by ${title.toLowerCase()}`), el("thead", {}, el("tr", {}, ...head.filter(Boolean))), el("tbody", {}, ...rows.map(row)));
  }

  #download() {
    const { from, to } = this.#period;
    const lines = this.#rows().map(({ name, one }) => [name, one.count, one.audioMs, one.tokens, one.cost]);
    const text = [[this.#by, "count", "audio_ms", "tokens", "cost"], ...lines].map((cells) => cells.map(csvCell).join(",")).join("\r\n");
    download(`usage-${from}-${to}-by-${this.#by}.csv`, [`${text}\r\n`], "text/csv");
  }
}

function choice(text, pressed, work) {
  const button = el("button", { type: "button", "aria-pressed": String(pressed) }, text);
  button.addEventListener("click", work);
  return button;
}

/** Replaces buttons by others of the same order; the one that had the focus keeps it. */
function refill(group, ...buttons) {
  const index = [...group.children].indexOf(document.activeElement);
  group.replaceChildren(...buttons);
  if (index >= 0) buttons[index]?.focus();
}

function bar(share) {
  const filled = el("span", { class: "bar" });
  filled.style.width = `${Math.max(1, 100 * share)}%`;
  return filled;
}

/** Text cannot become a formula in a spreadsheet. */
function csvCell(value) {
  const text = String(value);
  const safe = typeof value === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

openRoom((access, room) => new Usage(access).open(room), { scopes: ["usage:read"] });
