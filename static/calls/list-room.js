// The room with all calls (/calls): those in progress on top, below them the others, newest first.

import { clock, day, el, parts, plural, time } from "/shared/el.js";
import { LiveCalls } from "./live.js";
import { REASON_NAMES, agentName, channelName, reasonName } from "./names.js";

const PAGE = 40;
const NAMES = ["q", "agentId", "channel", "from", "to", "recorded", "endReason"];
const CHANNELS = ["webrtc", "websocket", "twilio", "telnyx", "vonage", "plivo", "genesys", "audiosocket", "rest"];

export async function openList(access, room) {
  const list = new List(access, parts("list"));
  await list.show(room);
}

class List {
  #access;
  #view;
  #query;
  #cursor = null;
  #day = null;
  #asked = null; // aborts what was asked before
  #compared = new URLSearchParams(location.search).get("compare");

  constructor(access, view) {
    this.#access = access;
    this.#view = view;
    this.#query = new URLSearchParams(location.search);
  }

  async show(room) {
    const { form, more, compareNote } = this.#view;
    const agents = await this.#agents();
    form.elements.agentId.append(...agents.map((agent) => el("option", { value: agent.id }, agent.name)));
    form.elements.channel.append(...CHANNELS.map((name) => el("option", { value: name }, channelName(name))));
    form.elements.endReason.append(...REASON_NAMES.map(([name, text]) => el("option", { value: name }, text.charAt(0).toUpperCase() + text.slice(1))));
    for (const name of NAMES) form.elements[name].value = this.#query.get(name) ?? "";
    compareNote.hidden = !this.#compared;
    let typing = 0;
    form.addEventListener("input", (event) => {
      clearTimeout(typing);
      typing = setTimeout(() => this.#search(), event.target.name === "q" ? 250 : 0);
    });
    form.addEventListener("submit", (event) => (event.preventDefault(), this.#search()));
    form.addEventListener("reset", () => setTimeout(() => this.#search()));
    more.addEventListener("click", () => this.#next());
    document.addEventListener("keydown", (event) => this.#key(event));
    room.replaceChildren(this.#view.root);
    this.#mark();
    new LiveCalls(this.#access, this.#view, new Map(agents.map((agent) => [agent.id, agent.name])), () => this.#search());
    await this.#fresh();
  }

  async #agents() {
    const found = [];
    let cursor;
    do {
      const { data, meta } = await this.#access.list("/api/agents", { query: { limit: 100, cursor } });
      found.push(...data);
      cursor = meta?.hasMore ? meta.nextCursor : undefined;
    } while (cursor && found.length < 1000);
    return found.sort((a, b) => a.name.localeCompare(b.name));
  }

  /** What is looked for, as the server takes it: days are those of this machine's clock. */
  #filters() {
    const { elements } = this.#view.form;
    const given = Object.fromEntries(NAMES.map((name) => [name, elements[name].value.trim()]));
    const { from, to } = given;
    const midnight = (text, days) => {
      const [year, month, date] = text.split("-").map(Number);
      return new Date(year, month - 1, date + days).toISOString();
    };
    return { given, asked: { ...given, from: from && midnight(from, 0), to: to && midnight(to, 1) } };
  }

  #mark() {
    const { given } = this.#filters();
    const count = Object.entries(given).filter(([name, value]) => value && name !== "q").length;
    this.#view.count.textContent = count || "";
    this.#view.reset.hidden = !Object.values(given).some(Boolean);
  }

  #search() {
    const { given } = this.#filters();
    const query = new URLSearchParams(Object.entries(given).filter(([, value]) => value));
    if (this.#compared) query.set("compare", this.#compared);
    history.replaceState(null, "", query.size ? `/calls?${query}` : "/calls");
    this.#mark();
    return this.#fresh();
  }

  #fresh() {
    this.#cursor = null;
    return this.#next(true);
  }

  async #next(fresh = false) {
    const { rows, more, empty, fault, form } = this.#view;
    this.#asked?.abort();
    this.#asked = new AbortController();
    const { signal } = this.#asked;
    const { asked } = this.#filters();
    rows.setAttribute("aria-busy", "true");
    try {
      const { data, meta } = await this.#access.list("/api/calls", { query: { ...asked, limit: PAGE, cursor: fresh ? undefined : this.#cursor }, signal });
      if (signal.aborted) return;
      if (fresh) {
        rows.replaceChildren();
        this.#day = null;
      }
      const ended = data.filter((call) => call.status === "ended");
      for (const call of ended) this.#append(rows, call);
      this.#cursor = meta?.nextCursor ?? null;
      more.hidden = !meta?.hasMore;
      empty.hidden = rows.childElementCount > 0 || Boolean(meta?.hasMore);
      empty.textContent = Object.values(asked).some(Boolean) ? "No call fits." : "No calls yet. Those that end appear here.";
      fault.textContent = "";
    } catch (error) {
      if (signal.aborted) return;
      fault.textContent = error.message;
    }
    rows.removeAttribute("aria-busy");
  }

  #append(rows, call) {
    const today = day(call.startedAt);
    if (today !== this.#day) rows.append(el("li", { class: "day" }, el("h2", {}, today)));
    this.#day = today;
    rows.append(el("li", {}, this.#row(call)));
  }

  #row(call) {
    const href = this.#compared ? `/calls/compare?${new URLSearchParams({ a: this.#compared, b: call.id })}` : `/calls/${call.id}`;
    const recorded = call.recording && el("span", { class: "recorded", title: call.recording.state === "complete" ? "Recorded" : "Recorded, incomplete" }, el("span", { class: "visually-hidden" }, "Recorded"));
    return el(
      "a",
      { class: "row", href },
      el("span", { class: "when" }, time(call.startedAt)),
      el("span", { class: "agent", dir: "auto", title: agentName(call) }, agentName(call)),
      el("span", { class: "excerpt", dir: "auto" }, call.excerpt ?? ""),
      el("span", { class: "via" }, channelName(call.channel), el("span", { class: "reason" }, reasonName(call.endReason ?? "ended"))),
      el("span", { class: "turns" }, plural(call.turnCount, "turn")),
      el("span", { class: "lasted" }, recorded, clock(call.durationMs, 0)),
    );
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.closest("input, select, textarea");
    if (event.key === "/" && !typing) {
      event.preventDefault();
      this.#view.form.elements.q.focus();
    }
    const links = [...this.#view.root.querySelectorAll("a.row")];
    const index = links.indexOf(document.activeElement);
    const inSearch = event.target.name === "q";
    if (event.key === "ArrowDown" && (index >= 0 || inSearch)) links[index + 1]?.focus();
    else if (event.key === "ArrowUp" && index >= 0) (links[index - 1] ?? this.#view.form.elements.q).focus();
    else return;
    event.preventDefault();
  }
}
