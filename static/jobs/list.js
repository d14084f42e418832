// The list of jobs (/jobs): newest first, with the progress of those that run.

import { ago, day, el } from "/shared/el.js";
import { follow } from "./follow.js";
import { OWN, STATUSES, TYPES, isActive, statusKind, summary } from "./words.js";

const PAGE = 40;
const MOST_PAGES = 5;
const REFRESH_MS = 10_000;
/** Streams at once: a browser opens six connections to a server, and other requests need some. */
const STREAMS = 3;

export class JobList {
  #access;
  #rows = new Map(); // by the job's id: {job, link, followed}
  #cursor = null;
  #filters;
  #list = el("ol", { class: "jobs" });
  #more = el("button", { class: "button more", type: "button", hidden: true }, "More jobs");
  #empty = el("div", { class: "empty", hidden: true });
  #fault = el("p", { class: "fault", role: "alert" });
  #following = new AbortController();

  constructor(access) {
    this.#access = access;
    this.#filters = this.#form();
    this.#more.addEventListener("click", () => this.#next());
  }

  async open(room, ...actions) {
    room.replaceChildren(
      el("div", { class: "head" }, el("h1", {}, "Jobs"), el("div", { class: "actions" }, ...actions)),
      this.#filters,
      this.#fault,
      this.#list,
      this.#empty,
      this.#more,
    );
    await this.#fresh(true);
    setInterval(() => document.visibilityState === "visible" && this.#refresh(), REFRESH_MS);
  }

  #form() {
    const given = new URLSearchParams(location.search);
    const select = (name, label, names) => {
      const options = [el("option", { value: "" }, "All"), ...Object.entries(names).map(([value, text]) => el("option", { value }, text))];
      const made = el("select", { name }, ...options);
      made.value = given.get(name) ?? "";
      return el("label", {}, label, made);
    };
    const own = el("input", { type: "checkbox", name: "own", checked: given.has("own") });
    const form = el("form", { class: "filters fields", role: "search", "aria-label": "Jobs" }, select("type", "Type", TYPES), select("status", "Status", STATUSES), el("label", { class: "own" }, own, "Deliveries and clean-ups too"));
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("change", () => {
      const { type, status } = this.#asked();
      const query = new URLSearchParams(Object.entries({ type, status, own: own.checked ? "yes" : "" }).filter(([, value]) => value));
      history.replaceState(null, "", query.size ? `/jobs?${query}` : "/jobs");
      this.#fresh();
    });
    return form;
  }

  #asked() {
    const { type, status, own } = this.#filters.elements;
    return { type: type.value, status: status.value, own: own.checked };
  }

  #shown(job) {
    const { type, own } = this.#asked();
    return type || own || !OWN.includes(job.type);
  }

  #page(cursor) {
    const { type, status } = this.#asked();
    return this.#access.list("/api/jobs", { query: { type, status, limit: PAGE, cursor } });
  }

  /** `opening`: a refusal is the frame's to show. */
  async #fresh(opening = false) {
    this.#following.abort();
    this.#following = new AbortController();
    this.#cursor = null;
    this.#rows.clear();
    await this.#next(opening);
  }

  /** The next jobs; more than a page of them where what the server does for itself is left out. */
  async #next(opening = false) {
    const { signal } = this.#following;
    this.#list.setAttribute("aria-busy", "true");
    try {
      for (let page = 0, found = 0; page < MOST_PAGES && found < PAGE / 2; page += 1) {
        const { data, meta } = await this.#page(this.#cursor);
        if (signal.aborted) return;
        const jobs = data.filter((job) => this.#shown(job));
        for (const job of jobs) this.#put(job);
        found += jobs.length;
        this.#cursor = meta.nextCursor ?? null;
        this.#more.hidden = !meta.hasMore;
        if (!meta.hasMore) break;
      }
      this.#fault.textContent = "";
    } catch (error) {
      if (opening) throw error;
      this.#fault.textContent = error.message;
    }
    this.#list.removeAttribute("aria-busy");
    this.#render();
  }

  /** What is new or has changed since. */
  async #refresh() {
    const { signal } = this.#following;
    try {
      const { data } = await this.#page();
      if (signal.aborted) return;
      for (const job of data.filter((one) => this.#shown(one))) this.#put(job);
      this.#fault.textContent = "";
      this.#render();
    } catch (error) {
      this.#fault.textContent = error.message;
    }
  }

  #put(job) {
    const known = this.#rows.get(job.id);
    if (known) Object.assign(known.job, job);
    else this.#rows.set(job.id, { job, link: el("a", { class: "job", href: `/jobs/${job.id}` }), followed: false });
    fill(this.#rows.get(job.id));
  }

  #render() {
    const rows = [...this.#rows.values()].sort((a, b) => (a.job.id < b.job.id ? 1 : -1));
    const items = [];
    let last = "";
    for (const { job, link } of rows) {
      const today = day(job.createdAt);
      if (today !== last) items.push(el("li", { class: "day" }, el("h2", {}, today)));
      last = today;
      items.push(link.parentElement ?? el("li", {}, link));
    }
    const focused = document.activeElement;
    this.#list.replaceChildren(...items);
    if (this.#list.contains(focused)) focused.focus();
    const { type, status } = this.#asked();
    this.#empty.hidden = rows.length > 0;
    this.#empty.textContent = type || status ? "No job fits." : "No jobs yet. Speech, transcripts, voices, batches and dubs that somebody asks for appear here.";
    this.#follow(rows);
  }

  #follow(rows) {
    const running = rows.filter((row) => isActive(row.job));
    const open = running.filter((row) => row.followed).length;
    for (const row of running.filter((one) => !one.followed).slice(0, Math.max(0, STREAMS - open))) this.#one(row);
  }

  async #one(row) {
    const { signal } = this.#following;
    row.followed = true;
    try {
      const happened = (_, { status, progress }) => (Object.assign(row.job, { status, progress }), fill(row));
      await follow(this.#access, row.job.id, { signal, happened });
      if (signal.aborted) return;
      Object.assign(row.job, await this.#access.get(`/api/jobs/${row.job.id}`));
      fill(row);
    } catch (error) {
      if (error.status === 404) this.#rows.delete(row.job.id);
    }
    row.followed = false;
    if (!signal.aborted) this.#render();
  }
}

function fill({ job, link }) {
  const active = isActive(job);
  const state = active
    ? el("span", { class: "state" }, el("progress", { max: 100, value: job.progress, "aria-label": `${STATUSES[job.status]}, ${job.progress} %` }), el("span", { class: "note" }, job.status === "queued" ? STATUSES.queued : `${job.progress} %`))
    : el("span", { class: `chip ${statusKind(job.status)}` }, STATUSES[job.status]);
  const warned = job.warnings?.length ? el("span", { class: "chip warned", title: job.warnings.map((one) => one.message).join("\n") }, "with a warning") : null;
  link.dataset.status = job.status;
  link.replaceChildren(
    el("span", { class: "job-type" }, TYPES[job.type] ?? job.type),
    el("span", { class: "excerpt", dir: "auto" }, summary(job)),
    el("span", { class: "states" }, warned, state),
    el("span", { class: "note when" }, ago(job.createdAt)),
  );
}
