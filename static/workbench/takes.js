// The files of speech in this workspace: heard, downloaded, made again, deleted.

import { clock, el, moment } from "/shared/el.js";
import { download } from "/shared/dom.js";
import { JobRows, isActive, jobBar, jobState } from "./job-rows.js";
import { FilePlayer, playButton } from "./sound.js";
import { languageName } from "./voice-list.js";
import { deleted } from "./deletion.js";

const short = (text) => (text.length > 160 ? `${text.slice(0, 158).trimEnd()}…` : text);

export class Takes {
  #access;
  #voices;
  #rows;
  #fault;

  constructor(access, view, voices) {
    [this.#access, this.#voices, this.#fault] = [access, voices, view.takesFault];
    this.#rows = new JobRows(access, "tts", { rows: view.takes, none: view.noTakes, more: view.moreTakes, fault: view.takesFault }, (job) => this.#row(job));
  }

  show() {
    return this.#rows.show();
  }

  /** The job once it has ended; `play`: its sound, then. */
  async follow(id, { play = false } = {}) {
    const job = await this.#rows.follow(id);
    if (play && job.output) await new FilePlayer(job.output.audioUrl).ended;
    return job;
  }

  #row(job) {
    const take = job.output;
    if (!take) {
      return [el("p", { class: job.error ? "said fault" : "said" }, jobState(job)), isActive(job) ? jobBar(job) : "", el("p", { class: "note" }, moment(job.createdAt)), isActive(job) ? "" : this.#actions(job)];
    }
    const facts = [this.#voices.nameOf(take.voice), languageName(take.language), clock(take.durationMs), take.format.toUpperCase(), take.delivery !== "verbatim" && take.delivery, take.polished && "polished", moment(job.createdAt)];
    const warnings = job.warnings.map((warning) => warning.message).join(" ");
    return [el("p", { class: "said", dir: "auto" }, short(take.script)), el("p", { class: "note" }, facts.filter(Boolean).join(" · ")), warnings && el("p", { class: "note" }, warnings), this.#actions(job)];
  }

  #actions(job) {
    const button = (text, work) => {
      const made = el("button", { class: "button small", type: "button" }, text);
      if (work) made.addEventListener("click", () => work(made).catch((error) => (this.#fault.textContent = error.message)));
      return made;
    };
    const made = [];
    if (job.output) {
      const play = button("Play");
      playButton(play, () => new FilePlayer(job.output.audioUrl));
      made.push(play, button("Download", () => this.#download(job)), button("Make again", (pressed) => this.#again(job, pressed)));
    }
    if (!job.output) made.push(button("Try again", () => this.#rows.retry(job.id)));
    made.push(button("Delete", () => this.#delete(job)));
    return el("div", { class: "actions" }, ...made);
  }

  async #download(job) {
    const { format, audioUrl } = job.output;
    download(`speech-${job.createdAt.slice(0, 16).replace(":", "-")}.${format}`, [await this.#access.file(audioUrl)], `audio/${format}`);
  }

  async #again(job, pressed) {
    pressed.disabled = true;
    try {
      const { jobId } = await this.#access.post(`/api/tts/${job.id}/regenerate`);
      await this.follow(jobId);
    } finally {
      pressed.disabled = false;
    }
  }

  async #delete(job) {
    const what = job.output ? `“${short(job.output.script)}”` : `The job of ${moment(job.createdAt)}`;
    if (await deleted("Delete this file?", `${what} This cannot be undone.`, () => this.#access.delete(`/api/jobs/${job.id}`))) this.#rows.drop(job.id);
  }
}
