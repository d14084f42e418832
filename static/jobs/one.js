// One job (/jobs/ID): how far it is, what it made, why it failed, and what can be done with it.

import { confirmed } from "/shared/confirm.js";
import { ago, el, moment, span } from "/shared/el.js";
import { follow } from "./follow.js";
import { results } from "./results.js";
import { STATUSES, TYPES, advice, isActive, statusKind } from "./words.js";

const ITEMS_MS = 1500;
const RENEWED_MS = 60_000;

export class OneJob {
  #access;
  #job;
  #head = el("div", { class: "head" });
  #said = el("p", { class: "said", role: "status" });
  #progress = el("div", { class: "progress" });
  #facts = el("dl", { class: "facts" });
  #made = el("div", { class: "made" });
  #looked = 0;
  #renewed = Date.now();

  constructor(access, job) {
    this.#access = access;
    this.#job = job;
  }

  async open(room) {
    room.replaceChildren(el("p", { class: "back" }, el("a", { href: "/jobs" }, "All jobs")), this.#head, this.#said, this.#progress, this.#facts, this.#made);
    document.title = `${TYPES[this.#job.type]} – Blab`;
    this.#made.addEventListener("error", () => this.#renew(), true);
    await this.#show();
  }

  /** Addresses of sound hold for a quarter of an hour: where one is refused, there are new ones. */
  async #renew() {
    if (Date.now() - this.#renewed < RENEWED_MS) return;
    this.#renewed = Date.now();
    await this.#reload().catch(() => {});
    this.#said.textContent = "The address of the sound had expired. It is renewed: play it again.";
  }

  async #show() {
    this.#render();
    this.#made.replaceChildren(...(await this.#outcome()));
    if (isActive(this.#job)) this.#follow();
  }

  async #outcome() {
    const job = this.#job;
    const parts = [];
    if (job.error) {
      parts.push(el("section", { class: "card why", "aria-label": "Why it failed" }, el("h2", {}, "Why it failed"), el("p", { dir: "auto" }, job.error.message), el("p", { class: "note" }, advice(job)), el("p", { class: "note" }, el("code", {}, job.error.code))));
    }
    if (job.warnings?.length) {
      const list = job.warnings.map((one) => el("li", {}, one.message));
      parts.push(el("section", { class: "card why", "aria-label": "Warnings" }, el("h2", {}, "What did not have its full effect"), el("ul", {}, ...list)));
    }
    parts.push(...(await results(this.#access, job)));
    return parts;
  }

  #render() {
    const job = this.#job;
    const chip = el("span", { class: `chip ${statusKind(job.status)}` }, STATUSES[job.status]);
    this.#head.replaceChildren(el("h1", {}, TYPES[job.type] ?? job.type, " ", chip), el("div", { class: "actions" }, ...this.#actions()));
    const active = isActive(job);
    const bar = () => el("progress", { max: 100, value: job.progress, "aria-label": "Progress" });
    this.#progress.replaceChildren(...(active ? [bar(), el("span", { class: "note" }, job.status === "queued" ? "Waits for a worker" : `${job.progress} %`)] : []));
    const took = job.startedAt && job.finishedAt ? span(new Date(job.finishedAt) - new Date(job.startedAt)) : null;
    const facts = [["Asked for", el("span", { title: moment(job.createdAt) }, ago(job.createdAt))], ["Took", took], ["Id", el("code", {}, job.id)]];
    this.#facts.replaceChildren(...facts.filter(([, value]) => value).map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
  }

  #actions() {
    const job = this.#job;
    const path = `/api/jobs/${job.id}`;
    const button = (text, work, kind = "") => {
      const made = el("button", { class: `button ${kind}`, type: "button" }, text);
      made.addEventListener("click", async () => {
        made.disabled = true;
        this.#said.textContent = "";
        try {
          await work();
        } catch (error) {
          this.#said.textContent = error.message;
        }
        made.disabled = false;
      });
      return made;
    };
    if (isActive(job)) {
      const cancel = async () => {
        await this.#access.post(`${path}/cancel`);
        this.#said.textContent = "It stops as soon as its worker notices, within a second.";
        await this.#reload();
      };
      return [button("Cancel", cancel)];
    }
    const retry = async () => {
      await this.#access.post(`${path}/retry`);
      await this.#reload();
    };
    const remove = async () => {
      const text = "What it made is deleted with it. This cannot be undone.";
      const done = await confirmed({ title: "Delete this job?", text, action: "Delete the job", work: () => this.#access.delete(path) });
      if (done) location.href = "/jobs";
    };
    return [job.status === "completed" ? null : button("Retry", retry, "primary"), button("Delete", remove, "danger")].filter(Boolean);
  }

  async #reload() {
    Object.assign(this.#job, { error: null, output: null }, await this.#access.get(`/api/jobs/${this.#job.id}`));
    await this.#show();
  }

  #following = null;
  async #follow() {
    if (this.#following) return;
    this.#following = new AbortController();
    try {
      await follow(this.#access, this.#job.id, { signal: this.#following.signal, happened: (_, data) => this.#happened(data) });
      this.#following = null;
      this.#said.textContent = "";
      await this.#reload();
    } catch (error) {
      this.#following = null;
      this.#said.textContent = error.status === 404 ? "The job has been deleted." : error.message;
    }
  }

  async #happened({ status, progress }) {
    Object.assign(this.#job, { status, progress });
    this.#render();
    if (this.#job.type !== "batch" || Date.now() - this.#looked < ITEMS_MS) return;
    this.#looked = Date.now();
    this.#made.replaceChildren(...(await this.#outcome().catch(() => [])));
  }
}
