// The bench of transcription: a recording is sent, its job followed, its transcript read and heard. Every
// transcript has an address, /workbench/transcription/ID.

import { clock, el, moment, parts, plural } from "/shared/el.js";
import { ClipInput } from "./clip-input.js";
import { deleted } from "./deletion.js";
import { JobRows, isActive, jobBar, jobState } from "./job-rows.js";
import { silence } from "./sound.js";
import { TranscriptView } from "./transcript-view.js";
import { languageName } from "./voice-list.js";

const LONGEST = 1800; // seconds of a recording made here
const ROOT = "/workbench/transcription";
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;

class Transcription {
  #access;
  #go;
  #view = parts("transcription");
  #clips;
  #rows;
  #file = null;
  #jobId = null; // what is being made
  #sent = new Map(); // files by the job that they became
  #shown = null; // {id, view}

  constructor(access, go, stt, limits) {
    [this.#access, this.#go] = [access, go];
    this.root = this.#view.root;
    this.limits = limits;
    const view = this.#view;
    this.#rows = new JobRows(access, "stt", { rows: view.rows, none: view.none, more: view.more, fault: view.listFault }, (job) => this.#row(job));
    this.#clips = new ClipInput(view, "recording", LONGEST);
    this.#clips.addEventListener("clip", ({ detail }) => this.#choose(detail.file));
    this.#clips.addEventListener("fault", ({ detail }) => this.#failed(detail));
    this.#clips.addEventListener("recording", () => this.#failed(""));
    this.#fill(stt);
  }

  leave() {
    this.#clips.leave();
    silence();
    this.#close();
  }

  async enter(id) {
    if (id) await this.#open(id);
    else this.#close();
    await this.#rows.show();
  }

  #fill(stt) {
    const view = this.#view;
    const languages = [...stt.languages].sort((a, b) => languageName(a).localeCompare(languageName(b)));
    view.language.append(...languages.map((tag) => el("option", { value: tag }, languageName(tag))));
    view.model.append(el("option", { value: "" }, "Default"), ...stt.models.map((model) => el("option", {}, model)));
    view.modelField.hidden = stt.models.length < 2;
    this.root.querySelector("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    view.cancel.addEventListener("click", () => this.#cancel());
    if (!stt.available) this.#failed(stt.reason ?? "Nothing transcribes recordings on this server now.");
  }

  #choose(file) {
    const view = this.#view;
    this.#failed("");
    if (this.limits.maxUploadBytes && file.size > this.limits.maxUploadBytes) {
      return this.#failed(`${file.name} has ${megabytes(file.size)}: this server takes ${megabytes(this.limits.maxUploadBytes)} at most. Send a part of it.`);
    }
    this.#file = file;
    view.dropText.replaceChildren(el("b", {}, file.name), ` ${megabytes(file.size)}`);
    view.start.disabled = false;
    view.start.focus();
  }

  async #send() {
    const [view, file] = [this.#view, this.#file];
    if (!file || this.#jobId) return;
    this.#failed("");
    const form = new FormData();
    for (const name of ["language", "model", "label"]) if (view[name].value.trim()) form.append(name, view[name].value.trim());
    form.append("file", file);
    this.#busy(true, "Sending the recording…");
    try {
      const response = await this.#access.fetch("/api/stt", { method: "POST", body: form });
      const { data, meta } = await response.json();
      const job = await this.#follow(data.jobId, file);
      if (job.error) throw new Error(job.error.message);
      if (job.status === "completed") {
        this.#forget();
        if (location.pathname.startsWith(ROOT)) await this.#go(`${ROOT}/${job.id}`);
        view.status.textContent = (meta?.warnings ?? []).map((warning) => warning.message).join(" ");
      }
    } catch (error) {
      this.#failed(error.message);
    }
    this.#jobId = null;
    this.#busy(false);
  }

  async #follow(id, file) {
    const view = this.#view;
    this.#jobId = id;
    this.#sent.set(id, file);
    view.cancel.hidden = false;
    view.status.textContent = "Waiting for a worker…";
    const progress = (percent) => {
      view.progress.value = percent;
      view.status.textContent = `Transcribing, ${percent} %`;
    };
    const job = await this.#rows.follow(id, { progress });
    view.status.textContent = job.status === "cancelled" ? "Cancelled." : "";
    return job;
  }

  async #cancel() {
    try {
      await this.#access.post(`/api/jobs/${this.#jobId}/cancel`);
    } catch (error) {
      this.#failed(error.message);
    }
  }

  #forget() {
    const view = this.#view;
    this.#file = null;
    view.dropText.textContent = "Drop a recording here: audio, or video with sound.";
    view.label.value = "";
  }

  #busy(busy, text = this.#view.status.textContent) {
    const view = this.#view;
    view.start.disabled = busy || !this.#file;
    view.progress.hidden = !busy;
    if (busy) view.progress.removeAttribute("value");
    view.cancel.hidden = true;
    view.status.textContent = text;
  }

  // ------------------------------------------------------------------ a transcript

  async #open(id) {
    if (this.#shown?.id === id) return;
    this.#close();
    try {
      const job = await this.#access.get(`/api/stt/${encodeURIComponent(id)}`);
      if (!job.output) throw new Error(job.error?.message ?? `This transcription is ${job.status}.`);
      const segments = job.output.segments ?? JSON.parse(new TextDecoder().decode(await this.#access.file(job.output.transcriptUrl)));
      const view = new TranscriptView(this.#access, job, segments);
      this.#shown = { id, view };
      this.#view.result.replaceChildren(view.root);
      await view.open(this.#sent.get(id) ?? job.output.sourceUrl);
    } catch (error) {
      this.#view.result.replaceChildren(el("p", { class: "fault", role: "alert" }, `This transcript cannot be shown. ${error.message}`));
    }
  }

  #close() {
    this.#shown?.view.close();
    this.#shown = null;
    this.#view.result.replaceChildren();
  }

  #row(job) {
    const { output } = job;
    if (!output) {
      return [el("p", { class: job.error ? "said fault" : "said" }, jobState(job)), isActive(job) ? jobBar(job) : "", el("p", { class: "note" }, moment(job.createdAt)), isActive(job) ? "" : this.#actions(job, "this transcription")];
    }
    const title = output.label || output.fileName;
    const facts = [output.label && output.fileName, output.language && languageName(output.language), clock(output.durationMs, 0), plural(output.wordCount, "word"), moment(job.createdAt)];
    const excerpt = output.text ? output.text.slice(0, 160) + (output.text.length > 160 ? "…" : "") : "No speech was found.";
    return [
      el("p", { class: "said" }, el("a", { href: `${ROOT}/${job.id}` }, title)),
      el("p", { class: "excerpt", dir: "auto" }, excerpt),
      el("p", { class: "note" }, facts.filter(Boolean).join(" · ")),
      this.#actions(job, title),
    ];
  }

  #actions(job, title) {
    const button = el("button", { class: "button small", type: "button", "aria-label": `Delete ${title}` }, "Delete");
    button.addEventListener("click", async () => {
      const gone = await deleted(`Delete ${title}?`, "The transcript and its recording. This cannot be undone.", () => this.#access.delete(`/api/jobs/${job.id}`));
      if (!gone) return;
      this.#rows.drop(job.id);
      if (this.#shown?.id === job.id) this.#go(ROOT);
    });
    const again = el("button", { class: "button small", type: "button" }, "Try again");
    again.addEventListener("click", () => this.#rows.retry(job.id).catch((error) => (this.#view.listFault.textContent = error.message)));
    return el("div", { class: "actions" }, job.output ? null : again, button);
  }

  #failed(text) {
    this.#view.fault.textContent = text;
  }
}

export async function openTranscription(access, go) {
  const { stt, limits } = await access.get("/api/capabilities");
  return new Transcription(access, go, stt, limits);
}
