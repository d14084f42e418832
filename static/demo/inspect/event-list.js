// The events of a call: filtered, as JSON, to be saved as JSON lines. Only the rows in view are on the page.

import { node } from "/shared/dom.js";

const ROW = 28; // px

export class EventList {
  #journal = null;
  #shown = []; // the entries that the filter lets through
  #looked = 0; // so many events were looked at, dropped ones included
  #chosen = null;
  #pinned = true;

  /** Elements of the page; `onSeek` gets the time of an event that is chosen. */
  constructor({ scroll, rows, filter, count, detail, onSeek }) {
    Object.assign(this, { scroll, rows, filter, count, detail, onSeek });
    filter.addEventListener("input", () => this.#refilter());
    scroll.addEventListener("scroll", () => {
      this.#pinned = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < ROW;
      this.#draw();
    });
    scroll.addEventListener("keydown", (event) => this.#key(event));
    rows.addEventListener("click", ({ target }) => this.#choose(this.#shown[Number(target.closest("[data-place]")?.dataset.place)]));
    new ResizeObserver(() => this.#draw()).observe(scroll);
  }

  follow(journal) {
    this.#journal = journal;
    this.#choose(null);
    this.#refilter();
  }

  /** Takes in what has come since. */
  update() {
    const { events, dropped } = this.#journal;
    if (this.#looked === events.length + dropped) return;
    for (const entry of events.slice(Math.max(0, this.#looked - dropped))) if (this.#matches(entry)) this.#shown.push(entry);
    this.#looked = events.length + dropped;
    if (this.#shown.length > events.length) this.#shown.splice(0, this.#shown.length - events.length);
    this.#draw();
  }

  #refilter() {
    this.#shown = [];
    this.#looked = 0;
    this.update();
    this.#draw();
  }

  /** All words of the filter are in the event's JSON, or in "sent" and "received". */
  #matches({ from, event }) {
    const words = this.filter.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    if (!words.length) return true;
    const text = `${from === "client" ? "sent" : "received"} ${JSON.stringify(event)}`.toLowerCase();
    return words.every((word) => text.includes(word));
  }

  #draw() {
    const { scroll, rows } = this;
    const { events = [], dropped = 0 } = this.#journal ?? {};
    this.count.textContent = `${this.#shown.length} of ${events.length}${dropped ? ` (${dropped} older ones are gone)` : ""}`;
    rows.style.height = `${this.#shown.length * ROW}px`;
    if (this.#pinned) scroll.scrollTop = scroll.scrollHeight;
    const first = Math.max(0, Math.floor(scroll.scrollTop / ROW) - 4);
    const last = Math.min(this.#shown.length, Math.ceil((scroll.scrollTop + scroll.clientHeight) / ROW) + 4);
    rows.replaceChildren(...this.#shown.slice(first, last).map((entry, place) => this.#row(entry, first + place)));
  }

  #row(entry, place) {
    const { time, from, event } = entry;
    const row = node("div", `event ${from}`);
    row.style.top = `${place * ROW}px`;
    row.dataset.place = place;
    row.setAttribute("role", "option");
    row.setAttribute("aria-selected", String(entry === this.#chosen));
    row.id = `event-${place}`;
    const direction = node("span", "event-from", from === "client" ? "↑" : "↓");
    direction.setAttribute("aria-label", from === "client" ? "sent" : "received");
    direction.setAttribute("role", "img");
    row.append(node("span", "event-time", time.toFixed(2)), direction, node("span", "event-type", event.type), node("span", "event-gist", gist(event)));
    return row;
  }

  #key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity }[event.key];
    if (!step || !this.#shown.length) return;
    event.preventDefault();
    const place = this.#shown.indexOf(this.#chosen);
    const next = Math.min(this.#shown.length - 1, Math.max(0, place + step));
    this.#choose(this.#shown[next]);
    this.#pinned = false;
    const top = next * ROW;
    if (top < this.scroll.scrollTop) this.scroll.scrollTop = top;
    if (top + ROW > this.scroll.scrollTop + this.scroll.clientHeight) this.scroll.scrollTop = top + ROW - this.scroll.clientHeight;
    this.#draw();
    this.scroll.setAttribute("aria-activedescendant", `event-${next}`);
  }

  #choose(entry) {
    this.#chosen = entry ?? null;
    if (entry) this.#pinned = false;
    this.detail.hidden = !entry;
    this.detail.textContent = entry ? JSON.stringify(entry.event, null, 2) : "";
    if (entry) this.onSeek(entry.time);
    this.#draw();
  }
}

/** What tells two events of a type apart at a glance. */
function gist(event) {
  const text = event.delta ?? event.transcript ?? event.text ?? event.heard ?? event.error?.message ?? event.item?.type ?? event.response?.status ?? event.language ?? event.name;
  return typeof text === "string" ? text : "";
}
