// A recording from the microphone or a file: dropped, chosen, or recorded here.

import { clock } from "/shared/el.js";
import { Recorder, microphoneProblem } from "/shared/recorder.js";

export class ClipInput extends EventTarget {
  #view;
  #name;
  #longest;
  #recorder = null;

  /** `view`: {drop, file, record, recording, level, recorded}; `longest`: seconds. Events: `clip` with {file, recorded}, `fault` with a text. */
  constructor(view, name, longest) {
    super();
    [this.#view, this.#name, this.#longest] = [view, name, longest];
    view.file.addEventListener("change", () => {
      this.#take(view.file.files[0], false);
      view.file.value = "";
    });
    view.record.addEventListener("click", () => (this.#recorder ? this.#stop() : this.#start()));
    for (const name of ["dragenter", "dragover"]) view.drop.addEventListener(name, (event) => (event.preventDefault(), view.drop.classList.add("over")));
    view.drop.addEventListener("dragleave", (event) => view.drop.contains(event.relatedTarget) || view.drop.classList.remove("over"));
    view.drop.addEventListener("drop", (event) => {
      event.preventDefault();
      view.drop.classList.remove("over");
      const { files } = event.dataTransfer;
      if (files.length > 1) this.#fault("One recording at a time: the first was taken.");
      if (!files.length) return this.#fault("That is no file. Drop an audio or video file.");
      this.#take(files[0], false);
    });
  }

  /** Forgets a recording in progress. */
  leave() {
    this.#recorder?.drop();
    this.#show(null);
  }

  async #start() {
    this.#view.record.disabled = true;
    try {
      const recorder = await Recorder.start(this.#longest);
      recorder.addEventListener("level", ({ detail }) => {
        this.#view.level.style.inlineSize = `${Math.min(100, detail * 130)}%`;
        this.#view.recorded.textContent = clock(recorder.ms, 0);
      });
      recorder.addEventListener("full", () => this.#stop());
      this.#show(recorder);
      this.dispatchEvent(new Event("recording"));
    } catch (error) {
      this.#fault(microphoneProblem(error));
    }
    this.#view.record.disabled = false;
  }

  #stop() {
    const recorder = this.#recorder;
    this.#show(null);
    const moment = new Date().toLocaleString("sv").slice(0, 16).replace(" ", "-").replace(":", ""); // as the local clock shows it
    this.#take(recorder.stop(`${this.#name}-${moment}.wav`), true);
  }

  #show(recorder) {
    this.#recorder = recorder;
    this.#view.recording.hidden = !recorder;
    this.#view.record.textContent = recorder ? "Stop recording" : "Record";
    this.#view.record.classList.toggle("danger", Boolean(recorder));
  }

  #take(file, recorded) {
    if (file) this.dispatchEvent(new CustomEvent("clip", { detail: { file, recorded } }));
  }

  #fault(text) {
    this.dispatchEvent(new CustomEvent("fault", { detail: text }));
  }
}
