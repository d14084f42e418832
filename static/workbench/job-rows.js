// A list of the workspace's jobs of one type, newest first. What is made here is followed by its events; other jobs
// that run are looked after by reading the list again, for each stream takes one of a browser's six connections.

import { el } from "/shared/el.js";
import { jobEnded } from "/shared/event-stream.js";

const AT_ONCE = 8;
const MOST_AT_ONCE = 100;
const WATCH_MS = 2_000;
const ACTIVE = ["queued", "running"];

export class JobRows {
  #access;
  #type;
  #view;
  #row;
  #cursor;
  #followed = new Map(); // promises of jobs by their ids
  #watching = false;
  jobs = [];

  /** `view`: {rows, none, more, fault}; `row(job)`: the children of its <li>. */
  constructor(access, type, view, row) {
    [this.#access, this.#type, this.#view, this.#row] = [access, type, view, row];
    view.more.addEventListener("click", () => this.#load(this.#cursor));
  }

  /** Reads the newest. */
  show = () => this.#load();

  async #load(cursor) {
    const view = this.#view;
    view.fault.textContent = "";
    try {
      const { data, meta } = await this.#access.list("/api/jobs", { query: { type: this.#type, limit: AT_ONCE, cursor } });
      this.jobs = cursor ? [...this.jobs, ...data.filter(({ id }) => !this.jobs.some((job) => job.id === id))] : data;
      this.#cursor = meta?.nextCursor;
      view.more.hidden = !meta?.hasMore;
      this.#render();
      this.#watch();
    } catch (error) {
      this.#failed(error);
    }
  }

  /** Reads the list again while others' jobs run. */
  async #watch() {
    if (this.#watching) return;
    this.#watching = true;
    const watched = () => this.jobs.filter((job) => isActive(job) && !this.#followed.has(job.id));
    try {
      while (watched().length) {
        await new Promise((resolve) => setTimeout(resolve, WATCH_MS));
        if (!this.#view.rows.isConnected) break;
        const { data } = await this.#access.list("/api/jobs", { query: { type: this.#type, limit: Math.min(MOST_AT_ONCE, this.jobs.length) } });
        for (const job of watched()) this.#took(job, data.find(({ id }) => id === job.id) ?? (await this.#access.get(`/api/jobs/${job.id}`)));
      }
    } catch (error) {
      this.#failed(error);
    }
    this.#watching = false;
  }

  #took(before, job) {
    this.jobs = this.jobs.map((one) => (one.id === job.id ? job : one));
    if (job.status !== before.status) this.#render();
    else this.#progress(job.id, job.progress);
  }

  #progress(id, percent) {
    const bar = this.#view.rows.querySelector(`[data-id="${id}"] progress`);
    if (bar) bar.value = percent;
  }

  /** The job once it has ended; its row shows how far it is. */
  follow(id, { progress } = {}) {
    if (!this.#followed.has(id)) this.#followed.set(id, this.#ended(id, progress).finally(() => this.#followed.delete(id)));
    return this.#followed.get(id);
  }

  async #ended(id, progress) {
    if (!this.jobs.some((job) => job.id === id)) {
      this.jobs = [await this.#access.get(`/api/jobs/${id}`), ...this.jobs];
      this.#render();
    }
    const job = await jobEnded(this.#access, id, (percent) => {
      progress?.(percent);
      this.#progress(id, percent);
    });
    this.jobs = this.jobs.map((one) => (one.id === id ? job : one));
    this.#render();
    return job;
  }

  /** Runs a job again that failed or was cancelled. */
  async retry(id) {
    await this.#access.post(`/api/jobs/${id}/retry`);
    this.jobs = this.jobs.map((job) => (job.id === id ? { ...job, status: "queued", error: null } : job));
    this.#render();
    return this.follow(id);
  }

  drop(id) {
    this.jobs = this.jobs.filter((job) => job.id !== id);
    this.#render();
  }

  #render() {
    const { rows, none } = this.#view;
    rows.replaceChildren(...this.jobs.map((job) => el("li", { class: "row-of", data: { id: job.id, status: job.status } }, ...this.#row(job))));
    none.hidden = this.jobs.length > 0;
  }

  #failed(error) {
    this.#view.fault.textContent = error.message;
  }
}

/** What is to be said of a job without a result. */
export const jobState = (job) => job.error?.message ?? { queued: "Waiting…", running: "Being made…", cancelled: "Cancelled" }[job.status] ?? job.status;

/** Whether it has not ended. */
export const isActive = (job) => ACTIVE.includes(job.status);

/** A bar for a job that runs. */
export const jobBar = (job) => el("progress", { max: 100, value: job.progress, "aria-label": job.status === "queued" ? "Queued" : "In progress" });
